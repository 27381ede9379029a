"""VOC average precision at IoU 0.5 as papers on ImageNet VID report it, overall and by motion.

Area under the whole precision envelope, inclusive boxes (+1), each detection matched to the ground
truth it overlaps most (Everingham et al. 2010); motion groups as FGFA defines them (Zhu et al.
2017, arXiv 1703.10025, section 5.1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from halftrack.evaluation.detection import FrameDetections, FrameTruth

__all__ = ["motion_iou", "voc_ap50"]

_IOU = 0.5


def inclusive_iou(
    boxes_xyxy: NDArray[np.float64], others_xyxy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """IoU ``(n, m)`` of boxes whose corners both count as inside."""
    low = np.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    overlap = np.clip(high - low + 1, 0, None).prod(axis=2)
    areas = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] + 1).prod(axis=1)
    other_areas = (others_xyxy[:, 2:] - others_xyxy[:, :2] + 1).prod(axis=1)
    union = areas[:, None] + other_areas[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def motion_iou(truths: Sequence[FrameTruth], *, reach: int = 10) -> list[NDArray[np.float64]]:
    """Mean IoU of every instance with itself in the frames within ``reach``, per frame ``(n,)``.

    An instance alone in its surroundings counts as slow (1.0).
    """
    places: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    frame_index: list[int] = []
    for frame, truth in enumerate(truths):
        same = frame > 0 and truths[frame - 1].video == truth.video
        frame_index.append(frame_index[-1] + 1 if same else 0)
        for row, track_id in enumerate(truth.track_ids.tolist()):
            places[truth.video, track_id].append((frame, row))
    result = [np.ones(len(truth.boxes_xyxy)) for truth in truths]
    for track in places.values():
        boxes = np.stack([truths[frame].boxes_xyxy[row] for frame, row in track])
        times = np.asarray([frame_index[frame] for frame, _ in track])
        for position, (frame, row) in enumerate(track):
            near = (np.abs(times - times[position]) <= reach) & (times != times[position])
            if near.any():
                overlaps = inclusive_iou(boxes[position : position + 1], boxes[near])
                result[frame][row] = overlaps.mean()
    return result


def voc_ap50(
    truths: Sequence[FrameTruth],
    detections: Sequence[FrameDetections],
    *,
    classes: int,
    counted: Sequence[NDArray[np.bool_]] | None = None,
) -> list[float]:
    """AP50 of each class, NaN where a class has no ground truth that counts.

    Args:
        truths: ground truth, frame by frame.
        detections: detections, frame by frame.
        classes: number of classes.
        counted: per frame ``(n,)``, which ground truth counts; a detection matched to one that does
            not is neither a hit nor a miss.
    """
    counted = counted or [np.ones(len(truth.labels), dtype=bool) for truth in truths]
    scores: list[list[float]] = [[] for _ in range(classes)]
    hits: list[list[bool]] = [[] for _ in range(classes)]
    totals = np.zeros(classes, dtype=np.int64)
    for truth, found, counts in zip(truths, detections, counted, strict=True):
        np.add.at(totals, truth.labels[counts], 1)
        for label in np.unique(found.labels).tolist():
            chosen, wanted = found.labels == label, truth.labels == label
            order = np.argsort(-found.scores[chosen], kind="stable")
            boxes, ranked = found.boxes_xyxy[chosen][order], found.scores[chosen][order]
            outcome = _match(boxes, truth.boxes_xyxy[wanted], counts[wanted])
            kept = outcome >= 0
            scores[label] += ranked[kept].tolist()
            hits[label] += (outcome[kept] == 1).tolist()
    return [
        _area_under_curve(np.asarray(scores[label]), np.asarray(hits[label]), int(totals[label]))
        for label in range(classes)
    ]


def _match(
    boxes: NDArray[np.float64], truth: NDArray[np.float64], counts: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Of each ranked box: 1 a hit, 0 a miss, -1 not counted."""
    outcome = np.zeros(len(boxes), dtype=np.int64)
    if not len(truth):
        return outcome
    overlaps = inclusive_iou(boxes, truth)
    taken = np.zeros(len(truth), dtype=bool)
    for row, best in enumerate(overlaps.argmax(axis=1)):
        if overlaps[row, best] < _IOU:
            continue
        if not counts[best]:
            outcome[row] = -1
        elif not taken[best]:
            taken[best] = True
            outcome[row] = 1
    return outcome


def _area_under_curve(scores: NDArray[np.float64], hits: NDArray[np.bool_], total: int) -> float:
    if not total:
        return float("nan")
    if not len(scores):
        return 0.0
    ranked = hits[np.argsort(-scores, kind="stable")]
    true = np.cumsum(ranked)
    recall = np.concatenate([[0.0], true / total, [1.0]])
    precision = np.concatenate([[0.0], true / np.arange(1, len(ranked) + 1), [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(np.diff(recall))
    return float(((recall[steps + 1] - recall[steps]) * envelope[steps + 1]).sum())
