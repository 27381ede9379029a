"""Overlaps of detections and objects: all frames and classes at once, in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from halftrack.evaluation.detection import FrameDetections
from halftrack.frames import FrameTruth

__all__ = ["Overlaps", "find_overlaps", "paired_iou"]

_CHUNK = 1 << 20  # pairs whose IoU is computed at a time: bounds the temporaries to some 100 MB


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """Detections and objects of all frames, and their pairs that share frame and class.

    Objects are sorted by class and frame; detections by class, frame and falling score.
    """

    scores: NDArray[np.float64]
    """``(detections,)`` score of each detection."""
    labels: NDArray[np.int64]
    """``(detections,)`` class of each detection."""
    truth_labels: NDArray[np.int64]
    """``(objects,)`` class of each object."""
    truth_rows: NDArray[np.int64]
    """``(objects,)`` position of each object before sorting, counted through all frames."""
    pair_detection: NDArray[np.int64]
    """``(pairs,)`` row of each pair's detection, rising."""
    pair_truth: NDArray[np.int64]
    """``(pairs,)`` row of each pair's object."""
    pair_iou: NDArray[np.float64]
    """``(pairs,)`` IoU of each pair."""


def paired_iou(
    boxes_xyxy: NDArray[np.float64], others_xyxy: NDArray[np.float64], *, inclusive: bool = True
) -> NDArray[np.float64]:
    """Compute the IoU ``(n,)`` of each box with the other one in its row.

    Args:
        boxes_xyxy: ``(n, 4)``.
        others_xyxy: ``(n, 4)``.
        inclusive: both corners count as inside, as in VOC: widths are x2 - x1 + 1.
    """
    more = 1.0 if inclusive else 0.0
    low = np.maximum(boxes_xyxy[:, :2], others_xyxy[:, :2])
    high = np.minimum(boxes_xyxy[:, 2:], others_xyxy[:, 2:])
    overlap = np.clip(high - low + more, 0.0, None).prod(axis=1)
    areas = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] + more).prod(axis=1)
    other_areas = (others_xyxy[:, 2:] - others_xyxy[:, :2] + more).prod(axis=1)
    shares: NDArray[np.float64] = overlap / np.maximum(areas + other_areas - overlap, 1e-9)
    return shares


def find_overlaps(
    truths: Sequence[FrameTruth], detections: Sequence[FrameDetections], *, inclusive: bool = True
) -> Overlaps:
    """Sort all objects and detections and compute the IoU of every pair of one frame and class."""
    frames = len(truths)
    truth_boxes = _joined([each.boxes_xyxy for each in truths], np.empty((0, 4)))
    truth_labels = _joined([each.labels for each in truths], np.empty(0)).astype(np.int64)
    truth_groups = truth_labels * frames + _frame_of([each.labels for each in truths])
    boxes = _joined([each.boxes_xyxy for each in detections], np.empty((0, 4)))
    labels = _joined([each.labels for each in detections], np.empty(0)).astype(np.int64)
    scores = _joined([each.scores for each in detections], np.empty(0)).astype(np.float64)
    groups = labels * frames + _frame_of([each.labels for each in detections])
    order = np.lexsort((-scores, groups))
    groups = groups[order]
    truth_order = np.argsort(truth_groups, kind="stable")
    truth_groups = truth_groups[truth_order]
    first = np.searchsorted(truth_groups, groups, side="left")
    count = np.searchsorted(truth_groups, groups, side="right") - first
    pair_detection = np.repeat(np.arange(len(groups)), count)
    within = np.arange(len(pair_detection)) - np.repeat(np.cumsum(count) - count, count)
    pair_truth = np.repeat(first, count) + within
    pair_iou = np.empty(len(pair_detection))
    for start in range(0, len(pair_iou), _CHUNK):
        part = slice(start, start + _CHUNK)
        pair_iou[part] = paired_iou(
            boxes[order[pair_detection[part]]].astype(np.float64),
            truth_boxes[truth_order[pair_truth[part]]].astype(np.float64),
            inclusive=inclusive,
        )
    return Overlaps(
        scores=scores[order],
        labels=labels[order],
        truth_labels=truth_labels[truth_order],
        truth_rows=truth_order,
        pair_detection=pair_detection,
        pair_truth=pair_truth,
        pair_iou=pair_iou,
    )


def _joined(
    arrays: Sequence[NDArray[np.generic]], empty: NDArray[np.float64]
) -> NDArray[np.float64]:
    joined: NDArray[np.float64] = np.concatenate(arrays) if len(arrays) else empty
    return joined


def _frame_of(columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Position of each row's frame, for columns joined over all frames."""
    lengths = np.asarray([len(column) for column in columns], dtype=np.int64)
    return np.repeat(np.arange(len(columns)), lengths)
