"""Detections to be scored, their scores, and the check of both against the ground truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from halftrack.errors import NonFiniteOutputError
from halftrack.frames import FrameTruth

__all__ = ["DETECTION_SCORES", "DetectionMetrics", "FrameDetections", "check_frames"]

DETECTION_SCORES = ("coco_ap50", "voc_ap50", "voc_ap50_slow", "voc_ap50_medium", "voc_ap50_fast")
"""The overall numbers of ``DetectionMetrics``."""


@dataclass(frozen=True, kw_only=True)
class FrameDetections:
    """Detections of one frame, as arrays."""

    boxes_xyxy: NDArray[np.float64]
    """``(n, 4)`` in original pixels."""
    scores: NDArray[np.float64]
    """``(n,)`` score of each box."""
    labels: NDArray[np.int64]
    """``(n,)`` class of each box, 0-based."""


@dataclass(frozen=True, kw_only=True)
class DetectionMetrics:
    """AP at IoU 0.5 under the two protocols in use, which differ by up to 0.7 points.

    Classes without ground truth are NaN and are left out of the means.
    """

    coco_ap50: float
    """COCO's AP50: 101 recall points, at most 100 detections a frame; the published 78.7."""
    coco_ap50_per_class: dict[str, float]
    """COCO's AP50 by the name of the class."""
    voc_ap50: float
    """VOC's AP50: area under the whole curve, boxes with both ends (+1); papers report this."""
    voc_ap50_per_class: dict[str, float]
    """VOC's AP50 by the name of the class."""
    voc_ap50_slow: float
    """VOC's AP50 of slow objects: motion IoU (see ``motion_iou``) of at least 0.9."""
    voc_ap50_medium: float
    """VOC's AP50 of objects with a motion IoU from 0.7 to 0.9."""
    voc_ap50_fast: float
    """VOC's AP50 of fast objects: motion IoU below 0.7."""

    def flat(self) -> dict[str, float]:
        """The overall numbers by name, as logged."""
        return {name: float(getattr(self, name)) for name in DETECTION_SCORES}

    def metrics(self) -> dict[str, float | dict[str, float | None] | None]:
        """Every number by name, ready for JSON: NaN is None.

        ``bbox_mAP_50`` is ``coco_ap50`` under the name of MMTracking's logs.
        """
        everything: dict[str, float | dict[str, float | None] | None] = {
            name: _known(value) for name, value in self.flat().items()
        }
        everything["bbox_mAP_50"] = _known(self.coco_ap50)
        for name in ("coco_ap50_per_class", "voc_ap50_per_class"):
            everything[name] = {key: _known(value) for key, value in getattr(self, name).items()}
        return everything


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def check_frames(
    truths: Sequence[FrameTruth], detections: Sequence[FrameDetections], *, num_classes: int
) -> None:
    """Check ground truth and detections before they are scored.

    Raises:
        ValueError: if something would be scored wrongly; names the frame, what it holds and what
            is allowed.
    """
    if len(truths) != len(detections):
        raise ValueError(
            f"{len(truths)} frames of ground truth but {len(detections)} of detections: "
            "every frame needs both, the detections may be empty"
        )
    finished: set[str] = set()
    current: str | None = None
    for index, (truth, found) in enumerate(zip(truths, detections, strict=True)):
        place = f"frame {index} (video {truth.video!r})"
        if truth.video != current:
            if truth.video in finished:
                raise ValueError(
                    f"{place}: frames of {current!r} lie between those of this video; "
                    "the frames of a video must follow each other"
                )
            current = truth.video
            finished.add(current)
        what = f"{place}: ground truth"
        _check_boxes(what, truth.boxes_xyxy, truth.labels, num_classes)
        _check_length(what, "track_ids", truth.track_ids, len(truth.labels))
        if truth.ignored is not None:
            _check_length(what, "ignored", truth.ignored, len(truth.labels))
        what = f"{place}: detection"
        _check_boxes(what, found.boxes_xyxy, found.labels, num_classes)
        _check_length(what, "scores", found.scores, len(found.labels))
        if not np.isfinite(found.scores).all():
            row = int(np.flatnonzero(~np.isfinite(found.scores))[0])
            raise NonFiniteOutputError(
                f"{place}: detection {row} has score {found.scores[row]}, "
                "allowed are finite numbers"
            )


def _check_boxes(
    what: str, boxes: NDArray[np.float64], labels: NDArray[np.int64], num_classes: int
) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{what} boxes_xyxy has shape {boxes.shape}, expected (n, 4)")
    _check_length(what, "labels", labels, len(boxes))
    if not len(boxes):
        return
    if not np.isfinite(boxes).all():
        row = int(np.flatnonzero(~np.isfinite(boxes).all(axis=1))[0])
        raise NonFiniteOutputError(
            f"{what} {row} has the box {boxes[row].tolist()}, allowed are finite numbers"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{what} labels are {labels.dtype}, expected integers")
    if labels.min() < 0 or labels.max() >= num_classes:
        row = int(np.flatnonzero((labels < 0) | (labels >= num_classes))[0])
        raise ValueError(
            f"{what} {row} has label {labels[row]}, allowed are 0 to {num_classes - 1}"
        )


def _check_length(what: str, name: str, column: NDArray[np.generic], boxes: int) -> None:
    if column.shape != (boxes,):
        raise ValueError(
            f"{what} {name} has shape {column.shape}, expected ({boxes},) as for its boxes"
        )
