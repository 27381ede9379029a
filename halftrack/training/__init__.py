"""Training: the loop in sight, what moves the weights, checkpoints and the log. Knows no task."""

from halftrack.training.batches import Batch, BatchSource
from halftrack.training.checkpoint import read_checkpoint
from halftrack.training.config import Phase, Ramp, TrainingConfig
from halftrack.training.learner import Learner, StepSchedule, WeightAverage, total_loss
from halftrack.training.loop import train
from halftrack.training.run import TrainingResult
from halftrack.training.weights import LoadReport, load_weights

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
    "total_loss",
    "train",
]
