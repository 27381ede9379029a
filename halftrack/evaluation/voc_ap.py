"""VOC average precision at IoU 0.5, as papers on ImageNet VID report it, overall and by motion.

Area under the whole precision envelope, inclusive boxes (+1), each detection given the free object
it overlaps most, motion groups by FGFA's rule (Zhu et al. 2017, arXiv 1703.10025, as ported in
MEGA). With mmdet's boxes and matching it agrees with mmdet's eval_map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from halftrack.evaluation.detection import FrameDetections
from halftrack.evaluation.overlaps import Overlaps, find_overlaps
from halftrack.frames import FrameTruth

__all__ = ["Matching", "voc_ap50"]

Matching = Literal["free", "first"]
"""Object that a detection gets: ``free``, the free one it overlaps most; ``first``, the one it
overlaps most, free or not."""

_HIT, _MISS, _LEFT_OUT = 1, 0, -1


def voc_ap50(
    truths: Sequence[FrameTruth],
    detections: Sequence[FrameDetections],
    *,
    num_classes: int,
    counted: Sequence[NDArray[np.bool_]] | None = None,
    inclusive: bool = True,
    matching: Matching = "free",
    iou: float = 0.5,
    overlaps: Overlaps | None = None,
) -> list[float]:
    """Compute VOC's AP50 of each class; NaN for a class without ground truth that counts.

    With ``counted``, ground truth of other groups is neither hit nor miss, and a detection that
    hits nothing counts by FGFA's rule: fully if the object that it overlaps most (however little)
    is counted, not at all if that object is in another group. If it overlaps no object, it counts
    by the group's share of all objects in a frame without its class, and elsewhere by the *other*
    groups' share of the frame's objects (a slip of the original, kept for the published numbers).

    Args:
        truths: ground truth, frame by frame.
        detections: detections, frame by frame.
        num_classes: number of classes.
        counted: for each frame ``(n,)``, the ground truth that belongs to the group; None for all.
        inclusive: count both corners of a box as inside, as VOC does.
        matching: ``free`` as in FGFA, MEGA and the ILSVRC kit, ``first`` as in VOC's kit and mmdet.
        iou: smallest overlap with which a detection finds an object.
        overlaps: the overlaps of the same input, if they have been computed before.
    """
    if overlaps is None:
        overlaps = find_overlaps(truths, detections, inclusive=inclusive)
    ignored = _ignored(truths, overlaps)
    grouped = counted is not None and bool(len(overlaps.truth_rows))
    if counted is not None and grouped:
        ignored |= ~np.concatenate(counted)[overlaps.truth_rows]
    outcome = _match(overlaps, ignored, iou=iou, matching=matching)
    weight = np.where(outcome == _MISS, 1.0, 0.0)
    if grouped:
        weight *= _group_weight(overlaps, ignored)
    else:
        on_ignored = ignored[overlaps.pair_truth] & (overlaps.pair_iou >= iou)
        weight[overlaps.pair_detection[on_ignored]] = 0.0
    bounds = np.searchsorted(overlaps.labels, np.arange(num_classes + 1))
    totals = np.bincount(overlaps.truth_labels[~ignored], minlength=num_classes)
    return [
        _area_under_curve(
            overlaps.scores[start:stop],
            outcome[start:stop] == _HIT,
            weight[start:stop],
            int(totals[label]),
        )
        for label, (start, stop) in enumerate(pairwise(bounds))
    ]


def _ignored(truths: Sequence[FrameTruth], overlaps: Overlaps) -> NDArray[np.bool_]:
    flags = [
        np.zeros(len(each.labels), dtype=bool) if each.ignored is None else each.ignored
        for each in truths
    ]
    joined = np.concatenate(flags) if flags else np.zeros(0, dtype=bool)
    marked: NDArray[np.bool_] = joined[overlaps.truth_rows].astype(bool)
    return marked


def _match(
    overlaps: Overlaps, ignored: NDArray[np.bool_], *, iou: float, matching: Matching
) -> NDArray[np.int64]:
    """Outcome of each detection: a hit, a miss, or left out as it found an ignored object."""
    detection, truth = overlaps.pair_detection, overlaps.pair_truth
    # Detections stand in order of score; the best overlap of each comes first, and of equal ones
    # the object that counts.
    order = np.lexsort((ignored[truth], -overlaps.pair_iou, detection))
    if matching == "first":
        _, best = np.unique(detection[order], return_index=True)
        order = order[best]
    order = order[overlaps.pair_iou[order] >= iou]
    outcome = np.full(len(overlaps.scores), _MISS, dtype=np.int64)
    taken = [False] * len(overlaps.truth_labels)
    settled = -1
    pairs = zip(
        detection[order].tolist(),
        truth[order].tolist(),
        ignored[truth[order]].tolist(),
        strict=True,
    )
    for row, wanted, left_out in pairs:
        if row == settled:
            continue
        if matching == "first" and left_out:
            outcome[row] = _LEFT_OUT  # any number of detections may fall on it
        elif not taken[wanted]:
            taken[wanted] = True
            outcome[row] = _LEFT_OUT if left_out else _HIT
            settled = row
    return outcome


def _group_weight(overlaps: Overlaps, ignored: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cost of each detection if it is a miss, by FGFA's rule."""
    pair_ignored = ignored[overlaps.pair_truth]
    count = len(overlaps.scores)
    best_counted, best_ignored = np.full(count, -1.0), np.full(count, -1.0)
    for best, chosen in ((best_counted, ~pair_ignored), (best_ignored, pair_ignored)):
        np.maximum.at(best, overlaps.pair_detection[chosen], overlaps.pair_iou[chosen])
    objects = np.bincount(overlaps.pair_detection, minlength=count)
    others = np.bincount(overlaps.pair_detection[pair_ignored], minlength=count)
    share = float(np.mean(~ignored)) or 1.0
    tied = np.where(objects > 0, others / np.maximum(objects, 1), share)
    weight: NDArray[np.float64] = np.where(best_counted > best_ignored, 1.0, tied)
    return np.where(best_counted < best_ignored, 0.0, weight)


def _area_under_curve(
    scores: NDArray[np.float64],
    hits: NDArray[np.bool_],
    misses: NDArray[np.float64],
    total: int,
) -> float:
    if not total:
        return float("nan")
    ranked = np.argsort(-scores, kind="stable")
    true, false = np.cumsum(hits[ranked]), np.cumsum(misses[ranked])
    recall = np.concatenate([[0.0], true / total, [1.0]])
    precision = np.concatenate([[0.0], true / np.maximum(true + false, 1e-12), [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(np.diff(recall))
    return float(((recall[steps + 1] - recall[steps]) * envelope[steps + 1]).sum())
