"""Half precision, usable alone: policy, loss scales, the step, the memory meter."""

from halftrack.precision.loss_scale import (
    DynamicLossScale,
    LossScale,
    NoLossScale,
    StaticLossScale,
)
from halftrack.precision.memory import LiveBytes
from halftrack.precision.policy import Precision, fp32_island
from halftrack.precision.step import NonFiniteGradientError, StepReport, optimizer_step

__all__ = [
    "DynamicLossScale",
    "LiveBytes",
    "LossScale",
    "NoLossScale",
    "NonFiniteGradientError",
    "Precision",
    "StaticLossScale",
    "StepReport",
    "fp32_island",
    "optimizer_step",
]
