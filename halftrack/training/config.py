"""A recipe's training settings: length, rate and its schedule, steps, checkpoints, the log."""

from __future__ import annotations

from dataclasses import dataclass, field

from halftrack.errors import UserError
from halftrack.training.optimiser import Phase, Ramp

__all__ = ["TrainingConfig"]

# Metadata of a field on which no weight depends: a resumed run may change it.
_FREE = {"free": True}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length, speed and safeguards of a training run; a task's numbers have no default.

    Fields marked free (no weight depends on them) may change when a run is resumed.
    """

    epochs: int
    """Passes over the training set."""
    lr: float
    """Learning rate for a step of ``published_batches_per_step`` batches."""
    momentum: float
    """SGD's momentum."""
    weight_decay: float
    """SGD's weight decay, on every parameter."""
    max_grad_norm: float | None = None
    """Gradients are clipped to this norm after unscaling; None to leave them."""
    warmup_steps: int = 0
    """Taken steps of linear warm-up; 0 for none."""
    warmup_ratio: float = 1.0
    """Share of the rate at which the warm-up starts."""
    milestones: tuple[int, ...] = ()
    """Epochs, in taken steps, at which the rate decays; none keeps it as it is."""
    gamma: float = 1.0
    """Factor of the rate at each milestone."""
    ramps: tuple[Ramp, ...] = ()
    """Ramps of the rate, one after the other, in the place of warm-up and milestones."""
    lr_factors: tuple[tuple[str, float], ...] = ()
    """Patterns of parameter names, and what the rate of these is multiplied by."""
    published_batches_per_step: int
    """Batches in a step of the published run, e.g. 8 of 8 GPUs with one each."""
    scale_lr: bool = True
    """Scale the rate in proportion to the batches in a step."""
    accumulate: int = 1
    """Batches accumulated into one step."""
    evaluate_every: int = 1
    """Epochs between evaluations; the last epoch is always evaluated."""
    best_metric: str = field(metadata=_FREE)
    """The metric, higher is better, by which the best checkpoint is kept."""
    checkpoint_every: int | None = field(default=1000, metadata=_FREE)
    """Steps between checkpoints beside those at the end of each epoch; None for no others."""
    keep_checkpoints: int = field(default=2, metadata=_FREE)
    """Step checkpoints kept; the best one is kept apart."""
    ema_decay: float | None = None
    """Decay of the weight average that is evaluated and kept as the best; None for no average."""
    replay_bundles: int = field(default=1, metadata=_FREE)
    """Skipped steps kept for ``halftrack replay``, the run's first ones, and the one that ends it;
    each is as large as the weights and its batches (R50: 250 MB). The log names every skip's cause
    anyway."""
    workers: int = field(default=2, metadata=_FREE)
    """Processes that load data."""
    log_every: int = field(default=50, metadata=_FREE)
    """Steps between train lines in the log."""
    channels_last: bool = False
    """Keep convolution weights and images channels-last."""
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

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulate", "evaluate_every", "keep_checkpoints", "log_every"):
            if getattr(self, name) < 1:
                raise UserError(f"training.{name} must be at least 1, got {getattr(self, name)}")
        if self.milestones and self.gamma == 1:
            raise UserError(
                f"training.milestones={self.milestones!r} change nothing with training.gamma=1"
            )
        if self.replay_bundles < 0:
            raise UserError(
                f"training.replay_bundles must be at least 0, got {self.replay_bundles}"
            )
