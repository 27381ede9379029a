"""Search for the modules of any model that must stay in fp32: its steps are rehearsed in fp16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from halftrack.precision import Islands, Precision, find_islands
from halftrack.precision.losses import loss_terms
from halftrack.precision.ops import is_finite
from halftrack.rehearsing.half_watch import ForwardOverflowError, HalfWatch
from halftrack.rehearsing.snapshot import Snapshot, learned_by
from halftrack.rehearsing.trained_step import Step, device_of

__all__ = ["islands_of_step"]


def islands_of_step(
    step: Step,
    batches: Sequence[Any],
    *,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    loss_scale: float,
) -> Islands:
    """The fp32 islands that a model needs to learn from these batches in fp16 at a loss scale.

    Clean is a rehearsal in which no op of a forward pass makes a half tensor that is not finite,
    and losses and gradients are finite. The weights stay as they are. The model itself is
    rehearsed, and put back each time: it need not be one that can be copied.

    Args:
        step: the user's own.
        batches: what is learned from, each alone.
        model: the model that the step is given; islands that it has already stay.
        optimizers: their parameters' gradients must be finite.
        loss_scale: the number that losses are multiplied by.
    """
    snapshot = Snapshot(model, optimizers)
    device = device_of(model)
    learned = learned_by(optimizers)

    def is_clean(keep_fp32: tuple[str, ...]) -> bool:
        precision = Precision("fp16", loss_scale, keep_fp32)
        try:
            precision.keep_in_fp32(model)
            return all(learns(precision, batch) for batch in batches)
        except ForwardOverflowError:
            return False
        finally:
            snapshot.put_back()

    def learns(precision: Precision, batch: Any) -> bool:
        for parameter in learned:
            parameter.grad = None
        with precision.arithmetic(device):
            with HalfWatch(), precision.autocast(device):
                terms = loss_terms(step(model, batch))
            loss = sum(terms.values())
            (loss * loss_scale).backward()  # type: ignore[union-attr]
        gradients = [parameter.grad for parameter in learned if parameter.grad is not None]
        return all(map(is_finite, (*terms.values(), *gradients)))

    return find_islands(model, is_clean)
