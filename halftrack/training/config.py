"""A recipe's training settings: length, rate and its schedule, steps, checkpoints, the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.errors import UserError

__all__ = ["Phase", "Ramp", "TrainingConfig"]

# Metadata of a field on which no weight depends: a resumed run may change it.
_FREE = {"free": True}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """From an epoch on, which modules train."""

    first_epoch: Annotated[int, Bounds(least=0, most=100_000)]
    """0-based epoch at whose start the phase begins."""
    trainable: tuple[str, ...]
    """Patterns (``fnmatch``) of parameter names that train; all others are frozen."""
    batch_statistics: tuple[str, ...] = ()
    """Patterns of module names whose batch norms, frozen until then, take statistics again."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """Epochs over which the learning rate goes from one share of itself to another, as a power."""

    epochs: Annotated[int, Bounds(least=1, most=100_000)]
    """Length."""
    start: Annotated[float, Bounds(above=0, most=1000)]
    """Share of the rate in the first epoch."""
    end: Annotated[float, Bounds(above=0, most=1000)]
    """Share it goes to."""
    arrives: bool = True
    """The last epoch has the end's share; else the epoch after it would have."""

    def __post_init__(self) -> None:
        check_bounds(self)

    def factor(self, epoch: int) -> float:
        """The share in an epoch of the ramp, counted from 0."""
        way = self.epochs - 1 if self.arrives else self.epochs
        return float(self.start * (self.end / self.start) ** (epoch / max(way, 1)))


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length, speed and safeguards of a training run; a task's numbers have no default.

    Fields marked free (no weight depends on them) may change when a run is resumed.
    """

    epochs: Annotated[int, Bounds(least=1, most=100_000)]
    """Passes over the training set."""
    lr: Annotated[float, Bounds(least=0, most=1000)]
    """Learning rate for a step of ``published_batches_per_step`` batches."""
    momentum: Annotated[float, Bounds(least=0, below=1)]
    """SGD's momentum."""
    weight_decay: Annotated[float, Bounds(least=0, most=10)]
    """SGD's weight decay, on every parameter."""
    max_grad_norm: Annotated[float | None, Bounds(above=0, most=1e6)] = None
    """Gradients are clipped to this norm after unscaling; None to leave them."""
    warmup_steps: Annotated[int, Bounds(least=0, most=10_000_000)] = 0
    """Taken steps of linear warm-up; 0 for none."""
    warmup_ratio: Share = 1.0
    """Share of the rate at which the warm-up starts."""
    milestones: Annotated[tuple[int, ...], Bounds(least=1, most=100_000)] = ()
    """Epochs, in taken steps, at which the rate decays; none keeps it as it is."""
    gamma: Annotated[float, Bounds(above=0, most=10)] = 1.0
    """Factor of the rate at each milestone."""
    ramps: tuple[Ramp, ...] = ()
    """Ramps of the rate, one after the other, in the place of warm-up and milestones."""
    lr_factors: Annotated[tuple[tuple[str, float], ...], Bounds(least=0, most=1000)] = ()
    """Patterns of parameter names, and what the rate of these is multiplied by."""
    published_batches_per_step: Annotated[int, Bounds(least=1, most=100_000)]
    """Batches in a step of the published run, e.g. 8 of 8 GPUs with one each."""
    scale_lr: bool = True
    """Scale the rate in proportion to the batches in a step."""
    accumulate: Annotated[int, Bounds(least=1, most=10_000)] = 1
    """Batches in a step (of SELSA: clips), taken one after the other."""
    clips_per_pass: Annotated[int, Bounds(least=1, most=10_000)] = 1
    """Clips of one size among them that share a pass, which is faster on a GPU; only SELSA has
    clips."""
    evaluate_every: Annotated[int, Bounds(least=1, most=100_000)] = 1
    """Epochs between evaluations; the last epoch is always evaluated."""
    best_metric: str = field(metadata=_FREE)
    """The metric, higher is better, by which the best checkpoint is kept."""
    checkpoint_every: Annotated[int | None, Bounds(least=1, most=10**9)] = field(
        default=1000, metadata=_FREE
    )
    """Steps between checkpoints beside those at the end of each epoch; None for no others."""
    checkpoint_minutes: Annotated[float | None, Bounds(above=0, most=100_000)] = field(
        default=10.0, metadata=_FREE
    )
    """Minutes after which a checkpoint is written if none was; None to count steps alone."""
    keep_checkpoints: Annotated[int, Bounds(least=1, most=1000)] = field(default=2, metadata=_FREE)
    """Step checkpoints kept; the best one is kept apart."""
    ema_decay: Annotated[float | None, Bounds(above=0, below=1)] = None
    """Decay of the weight average that is evaluated and kept as the best; None for no average."""
    replay_bundles: Annotated[int, Bounds(least=0, most=1000)] = field(default=1, metadata=_FREE)
    """Skipped steps kept for ``halftrack replay``, the run's first ones, and the one that ends it;
    each is as large as the weights and its batches (R50: 250 MB). The log names every skip's cause
    anyway."""
    workers: Annotated[int, Bounds(least=0, most=256)] = field(default=2, metadata=_FREE)
    """Processes that load data."""
    log_every: Annotated[int, Bounds(least=1, most=10**9)] = field(default=50, metadata=_FREE)
    """Steps between train lines in the log."""
    gradient_compression: Literal["none", "fp16", "bf16"] = "none"
    """Type in which gradients travel between processes; none for the gradients' own. What
    overflows in fp16 skips the step everywhere, as another overflow does."""
    sync_batch_norm: bool = False
    """Normalise by the statistics of all processes' passes where batch norms take any (SyncBN);
    changes nothing in one process."""
    shard: Literal["none", "optimizer", "full"] = field(default="none", metadata=_FREE)
    """Part of the training state that several processes divide among them, to hold less each:
    optimizer for SGD's momentum, full for weights, gradients and the weight average too. What is
    learned and saved stays the same."""
    channels_last: bool | None = None
    """Keep convolution weights and images channels-last; None: in half precision on a GPU."""
    compile: Literal["none", "default", "reduce-overhead"] = "none"
    """Mode in which ``torch.compile`` takes backbone, neck, RPN and heads in training: minutes for
    each padded image size, of which there are few. Needs a C++ compiler, on a GPU Triton."""
    phases: tuple[Phase, ...] = ()
    """Phases: which parameters train from which epoch on; without one, the model says so."""

    @property
    def scaled_lr(self) -> float:
        """The learning rate for a step of ``accumulate`` batches: proportional to their number.

        Goyal et al. 2017 (arXiv 1706.02677), section 2.1; ``lr`` itself without ``scale_lr``.
        """
        if not self.scale_lr:
            return self.lr
        return self.lr * self.accumulate / self.published_batches_per_step

    @property
    def lr_rule(self) -> str:
        """The arithmetic of ``scaled_lr``, for the log."""
        return (
            f"learning rate {self.scaled_lr:g} = {self.lr:g} for "
            f"{self.published_batches_per_step} batches a step, "
            f"{'' if self.scale_lr else 'NOT '}scaled to {self.accumulate}"
        )

    @property
    def accumulates(self) -> bool:
        """True if gradients of several passes add up to a step's."""
        return self.accumulate > self.clips_per_pass

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.accumulate % self.clips_per_pass:
            raise UserError(
                f"training.accumulate={self.accumulate}, training.clips_per_pass="
                f"{self.clips_per_pass}: a step holds training.accumulate clips; expected a "
                "multiple of training.clips_per_pass"
            )
        if self.sync_batch_norm and (self.clips_per_pass > 1 or self.compile != "none"):
            raise UserError(
                "training.sync_batch_norm=True: all processes must take equally many passes, op by "
                "op; expected training.clips_per_pass=1 and training.compile='none'"
            )
        if self.shard == "full" and self.compile != "none":
            raise UserError(
                f"training.shard='full', training.compile={self.compile!r}: compiled code reads "
                "weights where they were; expected training.compile='none' or "
                "training.shard='optimizer'"
            )
        if list(self.milestones) != sorted(set(self.milestones)):
            raise UserError(f"training.milestones must increase, got {self.milestones}")
        if self.milestones and self.gamma == 1:
            raise UserError(
                f"training.milestones={self.milestones!r} change nothing with training.gamma=1"
            )
