"""One-pass evaluation (OPE) of single-object tracking, Wu et al. 2013, Fan et al. 2019.

``mmtracking`` agrees with MMTracking 0.14's eval_sot_ope, ``official`` with LaSOT's rule. Both
count IoU strictly above a threshold, so a perfect track has success 95.24, and divide by all
frames, also by those whose target is absent and which can be no hit. They differ in:

- Centres: a ground-truth centre at or below 0, or NaN, is at distance -1, a hit, in mmtracking;
  officially only a box without area is (its IoU is -1, a miss, in both).
- NaN in a result is a miss in mmtracking, an error officially.
- mmtracking computes in float32, which decides IoUs that are equal to a threshold.

LaSOT's kit also repairs results: the first box is replaced by the truth's, and a box without area
by the box before it; a box whose left or top is not positive counts as without area. None of this
is done here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from halftrack.errors import UserError
from halftrack.evaluation.names import check_names
from halftrack.evaluation.sot_results import check_boxes

__all__ = ["OpeMetrics", "OpeRule", "OpeScores", "TargetTruth", "score_ope"]

OpeRule = Literal["mmtracking", "official"]
"""Rule that is used. The published numbers of MMTracking and its users follow ``mmtracking``."""

_SUCCESS = np.arange(21) * 0.05  # the reference's 0.6000000000000001 and the like
_PIXELS = np.arange(51)
_SHARES = np.arange(51) / 100.0
_AT = 20  # position of 20 px and of 0.2


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetTruth:
    """Ground truth of one sequence's target."""

    name: str
    """Name of the sequence, as in the results."""
    boxes_xyxy: NDArray[np.floating]
    """``(n, 4)``, one box a frame; NaN or without area if there is nothing to find."""
    absent: NDArray[np.bool_]
    """``(n,)`` frames that can be no hit but stay in the denominator; all False to count each."""
    attributes: frozenset[str] = frozenset()
    """Difficulties of the sequence (occlusion, fast motion, ...), under the benchmark's names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpeScores:
    """Scores of one sequence, or the mean of several, in percent of the frames."""

    success_curve: NDArray[np.float64]
    """``(21,)`` share of frames with an IoU above 0, 0.05, ..., 1."""
    precision_curve: NDArray[np.float64]
    """``(51,)`` share of frames with a centre error of at most 0, 1, ..., 50 px."""
    norm_precision_curve: NDArray[np.float64]
    """``(51,)`` share of frames with a centre error of at most 0, 0.01, ..., 0.5 true sides."""
    sequences: int = 1
    """Number of sequences that this is the mean of."""

    @property
    def success(self) -> float:
        """Success AUC: the mean of the success curve."""
        return float(self.success_curve.mean())

    @property
    def precision(self) -> float:
        """Precision at 20 px."""
        return float(self.precision_curve[_AT])

    @property
    def norm_precision(self) -> float:
        """Normalised precision at 0.2."""
        return float(self.norm_precision_curve[_AT])

    def flat(self) -> dict[str, float]:
        """The three numbers by name, as in MMTracking."""
        return {
            "success": self.success,
            "precision": self.precision,
            "norm_precision": self.norm_precision,
        }

    def curves(self) -> dict[str, dict[str, list[float]]]:
        """The three curves by name, each with ``thresholds`` and ``percent`` of the frames."""
        points = {
            "success_curve": (_SUCCESS, self.success_curve),
            "precision_curve": (_PIXELS, self.precision_curve),
            "norm_precision_curve": (_SHARES, self.norm_precision_curve),
        }
        return {
            name: {"thresholds": thresholds.round(2).tolist(), "percent": percent.tolist()}
            for name, (thresholds, percent) in points.items()
        }

    def row(self) -> dict[str, object]:
        """A table row of the three numbers, with one decimal."""
        return {
            "Success": round(self.success, 1),
            "Precision": round(self.precision, 1),
            "Norm. precision": round(self.norm_precision, 1),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class OpeMetrics:
    """Scores of a single-object tracker on a benchmark."""

    rule: OpeRule
    """Rule that was used; state it beside the numbers."""
    mean: OpeScores
    """Mean over the sequences, each with the same weight."""
    by_sequence: dict[str, OpeScores]
    """Scores of each sequence, in the order of the truths."""
    by_attribute: dict[str, OpeScores]
    """Mean over the sequences with an attribute, by its name; empty if no attribute is known."""

    def flat(self) -> dict[str, float]:
        """The mean scores by name, as logged: ``success``, ``precision``, ``norm_precision``."""
        return self.mean.flat()

    def rows(self) -> list[dict[str, object]]:
        """A table: a row for each sequence, then MEAN."""
        everything = {**self.by_sequence, "MEAN": self.mean}
        return [{"Sequence": name, **each.row()} for name, each in everything.items()]

    def attribute_rows(self) -> list[dict[str, object]]:
        """A table: a row for each attribute, with the number of its sequences."""
        return [
            {"Attribute": name, "Sequences": each.sequences, **each.row()}
            for name, each in self.by_attribute.items()
        ]


def score_ope(
    truths: Sequence[TargetTruth],
    results: Mapping[str, NDArray[np.floating]],
    *,
    rule: OpeRule = "mmtracking",
) -> OpeMetrics:
    """Score tracks with success, precision and normalised precision, by sequence and on average.

    Args:
        truths: the ground truth of each sequence.
        results: ``(n, 4)`` boxes xyxy by the name of the sequence, one a frame, with the first.
        rule: the rule that is used; the module's docstring says how the two differ.

    Raises:
        ValueError: if something cannot be scored; names sequence and frame, and what is allowed.
    """
    if rule not in get_args(OpeRule):
        raise ValueError(f"rule {rule!r}, allowed are {', '.join(get_args(OpeRule))}")
    check_names([each.name for each in truths], results)
    by_sequence = {}
    for truth in truths:
        _check_truth(truth)
        _check_result(truth, results[truth.name], rule)
        by_sequence[truth.name] = _score(truth, results[truth.name], rule)
    names = sorted(frozenset[str]().union(*(each.attributes for each in truths)))
    return OpeMetrics(
        rule=rule,
        mean=_mean(list(by_sequence.values())),
        by_sequence=by_sequence,
        by_attribute={
            name: _mean([by_sequence[each.name] for each in truths if name in each.attributes])
            for name in names
        },
    )


def _mean(scores: Sequence[OpeScores]) -> OpeScores:
    return OpeScores(
        success_curve=np.mean([each.success_curve for each in scores], axis=0),
        precision_curve=np.mean([each.precision_curve for each in scores], axis=0),
        norm_precision_curve=np.mean([each.norm_precision_curve for each in scores], axis=0),
        sequences=len(scores),
    )


def _score(truth: TargetTruth, boxes_xyxy: NDArray[np.floating], rule: OpeRule) -> OpeScores:
    kind = np.float32 if rule == "mmtracking" else np.float64
    true_xyxy: NDArray[Any] = truth.boxes_xyxy[~truth.absent].astype(kind)
    found_xyxy: NDArray[Any] = boxes_xyxy[~truth.absent].astype(kind)
    sides = true_xyxy[:, 2:] - true_xyxy[:, :2]
    has_area = (sides > 0).all(axis=1)
    iou = np.full(len(sides), -1.0)
    iou[has_area] = _iou(true_xyxy[has_area], found_xyxy[has_area])
    centres = 0.5 * (true_xyxy[:, 2:] + true_xyxy[:, :2])
    found = 0.5 * (found_xyxy[:, 2:] + found_xyxy[:, :2])
    frames = len(truth.absent)
    counted = has_area if rule == "official" else None
    # A truth without area has no side to measure with: such errors may be infinite, or NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = _distances(centres, found, counted)
        unit = sides + 1e-16
        shares = _distances(centres / unit, found / unit, counted)
    return OpeScores(
        success_curve=100.0 * (iou[:, None] > _SUCCESS).sum(axis=0) / frames,
        precision_curve=100.0 * (pixels[:, None] <= _PIXELS).sum(axis=0) / frames,
        norm_precision_curve=100.0 * (shares[:, None] <= _SHARES).sum(axis=0) / frames,
    )


def _iou(true_xyxy: NDArray[Any], found_xyxy: NDArray[Any]) -> NDArray[Any]:
    """IoU ``(n,)`` of each pair, computed in mmdet's order, for its exact float32 numbers."""
    ends = np.minimum(true_xyxy[:, 2:], found_xyxy[:, 2:])
    inside = np.maximum(ends - np.maximum(true_xyxy[:, :2], found_xyxy[:, :2]), 0).prod(axis=1)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (true_xyxy, found_xyxy)]
    shared: NDArray[Any] = inside / np.maximum(areas[0] + areas[1] - inside, 1e-6)
    return shared


def _distances(
    centres: NDArray[Any], found: NDArray[Any], counted: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Distances ``(n,)`` of true and found centres; -1, a hit, where the truth does not count."""
    if counted is None:
        x, y = centres.T
        counted = (x > 0) & (y > 0)
    distances = np.full(len(centres), -1.0)
    distances[counted] = np.sqrt(np.square(centres[counted] - found[counted]).sum(axis=1))
    return distances


def _check_truth(truth: TargetTruth) -> None:
    what = f"ground truth of {truth.name!r}"
    check_boxes(what, truth.boxes_xyxy)
    if not len(truth.boxes_xyxy):
        raise UserError(f"{what} has no frame, expected at least one")
    if truth.absent.shape != truth.boxes_xyxy.shape[:1] or truth.absent.dtype != np.bool_:
        raise ValueError(
            f"{what}: absent is {truth.absent.dtype} {truth.absent.shape}, expected bool "
            f"{truth.boxes_xyxy.shape[:1]}, one a box"
        )


def _check_result(truth: TargetTruth, boxes_xyxy: NDArray[np.floating], rule: OpeRule) -> None:
    what = f"result of {truth.name!r}"
    check_boxes(what, boxes_xyxy)
    frames, found = len(truth.boxes_xyxy), len(boxes_xyxy)
    if found != frames:
        hint = "; of some test sets only the first is published, and a server scores results"
        raise UserError(
            f"{what} has {found} boxes, its ground truth has {frames}; expected one a frame, the "
            f"first included{hint if frames == 1 else ''}"
        )
    broken = np.flatnonzero(~np.isfinite(boxes_xyxy).all(axis=1))
    if rule == "official" and len(broken):
        raise UserError(
            f"{what} frame {broken[0]} has the box {boxes_xyxy[broken[0]].tolist()}, allowed by "
            f"rule='official' are finite numbers (rule='mmtracking' takes the others for misses)"
        )
