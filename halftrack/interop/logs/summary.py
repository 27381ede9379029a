"""The end of a training as its log tells it: last values, time a step, overflows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from halftrack.interop.logs.read import Line, TrainingLog
from halftrack.precision.loss_scale import scale_words

__all__ = ["Overflow", "default_keys", "final_values", "overflows", "seconds_a_step"]

_WATCHED = ("loss", "grad_norm")
_USUAL = ("loss", "lr", "grad_norm", "loss_scale")
_SCORES = ("bbox_mAP_50", "mAP", "MOTA", "success", "ap50", "rank1")


@dataclass(frozen=True, kw_only=True)
class Overflow:
    """A line of a log on which a loss or gradient norm is not finite."""

    line: Line
    """The line."""
    field: str
    """Name of the field."""
    before: float | None
    """Learning rate of the line before; None if there is none."""

    def __str__(self) -> str:
        line, lr = self.line, self.line.values.get("lr")
        told = f"epoch {line.epoch}, iteration {line.iteration}: {self.field} is "
        told += f"{line.values[self.field]:g}"
        if lr is None:
            return told
        told += f" at learning rate {lr:g}"
        if self.before is not None and not math.isclose(lr, self.before):
            told += f", {'up' if lr > self.before else 'down'} from {self.before:g}"
        return told


def overflows(log: TrainingLog) -> list[Overflow]:
    """Lines of training whose loss or gradient norm is NaN or infinite, in their order.

    Of a run with a loss scale an infinite gradient norm is a step that was skipped.
    """
    found, before = [], None
    for line in log.lines:
        if not line.training:
            continue
        for field in _WATCHED:
            if not math.isfinite(line.values.get(field, 0.0)):
                found.append(Overflow(line=line, field=field, before=before))
                break
        before = line.values.get("lr", before)
    return found


def seconds_a_step(log: TrainingLog) -> float | None:
    """Mean of the times of training's lines, but for the first of each epoch, which starts workers.

    MMTracking's analyze_logs computes the same; None if the log tells no times.
    """
    by_epoch: dict[int, list[float]] = {}
    for line in log.lines:
        if line.training and math.isfinite(line.values.get("time", math.nan)):
            by_epoch.setdefault(line.epoch, []).append(line.values["time"])
    times = [time for each in by_epoch.values() for time in each[1:]]
    times = times or [time for each in by_epoch.values() for time in each]
    return sum(times) / len(times) if times else None


def default_keys(logs: Sequence[TrainingLog]) -> list[str]:
    """Names of the fields that are drawn where the user names none, of those the logs have."""
    there = {key for log in logs for key in log.fields()}
    recipes = [log.record("meta").get("recipe") or {} for log in logs]
    best = [recipe.get("training", {}).get("best_metric") for recipe in recipes]
    return [key for key in dict.fromkeys((*_USUAL, *_SCORES, *best)) if key in there]


def final_values(log: TrainingLog, keys: Sequence[str]) -> dict[str, str]:
    """The last value of each field, as text; a dash for one that the log does not have."""
    values = {key: points[-1][1] for key in keys if (points := log.points(key))}
    return {key: _words(key, values[key]) if key in values else "-" for key in keys}


def _words(key: str, value: float) -> str:
    return scale_words(value) if key == "loss_scale" else f"{value:.5g}"
