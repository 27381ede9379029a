"""Half precision for any PyTorch model: policy, the step, culprits, ranges, memory, launches.

Names are imported when they are first used, so a policy is made and checked without torch; stated
here once more, for this folder lifts into any project.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from halftrack.precision.range_meter import RangeMeter
    from halftrack.precision.ranges import Ranges
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

_FILES = {
    "LossScaleAdvice": "advice",
    "Culprit": "culprit",
    "PrecisionError": "errors",
    "Histogram": "histogram",
    "Islands": "islands",
    "find_islands": "islands",
    "Launches": "launches",
    "DynamicLossScale": "loss_scale",
    "LossScale": "loss_scale",
    "NoLossScale": "loss_scale",
    "StaticLossScale": "loss_scale",
    "LiveBytes": "memory",
    "Precision": "policy",
    "fp32_island": "policy",
    "remove_islands": "policy",
    "RangeMeter": "range_meter",
    "Ranges": "ranges",
    "find_culprit": "rerun",
    "ShapesOnly": "shapes",
    "NonFiniteGradientError": "step",
    "StepReport": "step",
    "optimizer_step": "step",
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"{__name__} has no {name!r}; it has {', '.join(_FILES)}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_FILES)
