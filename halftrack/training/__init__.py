"""Training: the loop in sight, what moves the weights, checkpoints and the log. Knows no task."""

from halftrack.training.batches import Batch, BatchSource
from halftrack.training.checkpoint import LoadReport, load_weights, read_checkpoint
from halftrack.training.config import TrainingConfig
from halftrack.training.loop import total_loss, train
from halftrack.training.optimiser import Phase, Ramp, StepSchedule, WeightAverage
from halftrack.training.run import TrainingResult

__all__ = [
    "Batch",
    "BatchSource",
    "LoadReport",
    "Phase",
    "Ramp",
    "StepSchedule",
    "TrainingConfig",
    "TrainingResult",
    "WeightAverage",
    "load_weights",
    "read_checkpoint",
    "total_loss",
    "train",
]
