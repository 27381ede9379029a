"""Training: the loop in sight, what moves the weights, checkpoints and the log. Knows no task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.training.batches import Batch, BatchSource
    from halftrack.training.config import Phase, Ramp, TrainingConfig
    from halftrack.training.files.checkpoint import read_checkpoint
    from halftrack.training.files.log_file import read_log
    from halftrack.training.files.weights import LoadReport, load_weights
    from halftrack.training.learner import Learner, StepSchedule, WeightAverage, total_loss
    from halftrack.training.loop import train
    from halftrack.training.run import TrainingResult

__all__ = [
    "Batch",
    "BatchSource",
    "Learner",
    "LoadReport",
    "Phase",
    "Ramp",
    "StepSchedule",
    "TrainingConfig",
    "TrainingResult",
    "WeightAverage",
    "load_weights",
    "read_checkpoint",
    "read_log",
    "total_loss",
    "train",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "batches": (
            "Batch",
            "BatchSource",
        ),
        "files.checkpoint": ("read_checkpoint",),
        "config": (
            "Phase",
            "Ramp",
            "TrainingConfig",
        ),
        "learner": (
            "Learner",
            "StepSchedule",
            "WeightAverage",
            "total_loss",
        ),
        "files.log_file": ("read_log",),
        "loop": ("train",),
        "run": ("TrainingResult",),
        "files.weights": (
            "LoadReport",
            "load_weights",
        ),
    },
)
