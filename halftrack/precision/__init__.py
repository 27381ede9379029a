"""Half precision for any PyTorch model: policy, the step, culprits, ranges, memory, launches."""

from halftrack.precision.advice import LossScaleAdvice
from halftrack.precision.culprit import Culprit
from halftrack.precision.errors import PrecisionError
from halftrack.precision.histogram import Histogram
from halftrack.precision.islands import Islands, find_islands
from halftrack.precision.launches import Launches
from halftrack.precision.loss_scale import (
    DynamicLossScale,
    LossScale,
    NoLossScale,
    StaticLossScale,
)
from halftrack.precision.memory import LiveBytes
from halftrack.precision.policy import Precision, fp32_island, remove_islands
from halftrack.precision.ranges import RangeMeter, Ranges
from halftrack.precision.rerun import find_culprit
from halftrack.precision.shapes import ShapesOnly
from halftrack.precision.step import NonFiniteGradientError, StepReport, optimizer_step

__all__ = [
    "Culprit",
    "DynamicLossScale",
    "Histogram",
    "Islands",
    "Launches",
    "LiveBytes",
    "LossScale",
    "LossScaleAdvice",
    "NoLossScale",
    "NonFiniteGradientError",
    "Precision",
    "PrecisionError",
    "RangeMeter",
    "Ranges",
    "ShapesOnly",
    "StaticLossScale",
    "StepReport",
    "find_culprit",
    "find_islands",
    "fp32_island",
    "optimizer_step",
    "remove_islands",
]
