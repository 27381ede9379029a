"""Traffic between the GPUs that share a training step: how much, and in what pieces."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch._C._distributed_c10d import _compute_bucket_assignment_by_size

from halftrack.precision import ShapesOnly
from halftrack.recipes import TrainedRecipe
from halftrack.training.optimiser import apply_phases
from halftrack.training.ranks import Ranks

__all__ = ["Traffic", "traffic"]

_WIDTHS = {"none": 1.0, "fp16": 0.5, "bf16": 0.5}
# DistributedDataParallel's, in bytes: a small first bucket lets the exchange begin early.
_BUCKETS = [2**20, 25 * 2**20]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The exchanges of a step in a recipe's last phase."""

    gpus: int
    """GPUs that share the step."""
    batches: int
    """Batches of the step that each takes."""
    buckets: tuple[int, ...]
    """Bytes of gradients in each bucket that is summed at once, as they travel."""
    weights: int
    """Bytes of the weights that move, which GPUs with sharded momentum tell each other."""
    gathered: int
    """Bytes of all weights, which GPUs that divide them make whole twice in each pass."""

    def lines(self, *, refusal: str | None = None) -> list[str]:
        """The same in words.

        Args:
            refusal: why the GPUs cannot divide everything; None if they can.
        """
        total, others = sum(self.buckets), self.gpus - 1
        in_pass = (2 * self.gathered + total) * others // self.gpus
        return [
            f"each of {self.gpus} GPUs takes {self.batches} of a step's batches and keeps its "
            "gradients all the time, in the buckets that are summed",
            f"a step sums {_mb(total)} of gradients in {len(self.buckets)} buckets of up to "
            f"{_mb(max(self.buckets))}; each GPU sends {_mb(2 * total * others // self.gpus)}, as "
            "in a ring",
            f"training.shard=optimizer: {_mb(self.weights)} of weights are told after that",
            refusal
            or "training.shard=full: of the weights that part is whole which a pass is in; a piece "
            "of the gradients is kept between the passes of a step, and none between steps; in "
            f"each pass every GPU sends about {_mb(in_pass)}",
        ]


def traffic(recipe: TrainedRecipe, gpus: int) -> Traffic:
    """Count what the GPUs that share a step of a recipe exchange.

    Args:
        recipe: with what only the data can tell filled in.
        gpus: how many.

    Raises:
        ValueError: if they cannot share the step evenly.
    """
    batches = Ranks(size=gpus).share(recipe.training.accumulate, of="training.accumulate")
    with ShapesOnly().making():
        model = recipe.build_model().train()
    apply_phases(model, recipe.training.phases, recipe.training.epochs)
    trained: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
    buckets, _ = _compute_bucket_assignment_by_size(trained, _BUCKETS)
    width = _WIDTHS[recipe.training.gradient_compression]
    sizes = (sum(trained[index].nbytes for index in bucket) for bucket in buckets)
    return Traffic(
        gpus=gpus,
        batches=batches,
        buckets=tuple(round(size * width) for size in sizes),
        weights=sum(p.nbytes for p in trained),
        gathered=sum(p.nbytes for p in model.parameters()),
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
