"""The nouns of detection scoring, and the one call that scores a run under both protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DetectionMetrics", "FrameDetections", "FrameTruth", "check_frames"]


@dataclass(frozen=True, kw_only=True)
class FrameTruth:
    """What is in one frame."""

    video: str
    """Name of the video; frames of one video follow each other."""
    boxes_xyxy: NDArray[np.float64]
    """``(n, 4)`` in original pixels."""
    labels: NDArray[np.int64]
    """``(n,)`` class of each box, 0-based."""
    track_ids: NDArray[np.int64]
    """``(n,)`` individual within the video; tells how fast an object moves."""


@dataclass(frozen=True, kw_only=True)
class FrameDetections:
    """What a detector says is in one frame."""

    boxes_xyxy: NDArray[np.float64]
    """``(n, 4)`` in original pixels."""
    scores: NDArray[np.float64]
    """``(n,)``."""
    labels: NDArray[np.int64]
    """``(n,)`` class of each box, 0-based."""


@dataclass(frozen=True, kw_only=True)
class DetectionMetrics:
    """Average precision at IoU 0.5 under the two protocols in use, which differ by up to 0.7
    points.

    Classes without ground truth are NaN and left out of the means.
    """

    coco_ap50: float
    """COCO: 101 recall points, at most 100 detections a frame; the published 78.7 is this one."""
    coco_ap50_per_class: dict[str, float]
    """The same, class by class."""
    voc_ap50: float
    """VOC: area under the whole curve, boxes counted with both ends (+1), as papers on ImageNet VID report."""
    voc_ap50_per_class: dict[str, float]
    """The same, class by class."""
    voc_ap50_slow: float
    """VOC over instances whose mean IoU with themselves within +-10 frames is at least 0.9."""
    voc_ap50_medium: float
    """The same, 0.7 to 0.9."""
    voc_ap50_fast: float
    """The same, below 0.7."""

    def flat(self) -> dict[str, float]:
        """The overall numbers under their names, as logged."""
        names = ("coco_ap50", "voc_ap50", "voc_ap50_slow", "voc_ap50_medium", "voc_ap50_fast")
        return {name: float(getattr(self, name)) for name in names}


def check_frames(
    truths: Sequence[FrameTruth], detections: Sequence[FrameDetections], *, classes: int
) -> None:
    """Refuse input that would be scored wrongly.

    Raises:
        ValueError: naming the frame and what was expected of it.
    """
    if len(truths) != len(detections):
        raise ValueError(
            f"{len(truths)} frames of ground truth but {len(detections)} of detections"
        )
    for index, (truth, found) in enumerate(zip(truths, detections, strict=True)):
        place = f"frame {index} (video {truth.video!r})"
        for what, part, columns in (
            ("ground truth", truth, ("labels", "track_ids")),
            ("detections", found, ("labels", "scores")),
        ):
            boxes = part.boxes_xyxy
            if boxes.ndim != 2 or boxes.shape[1] != 4:
                raise ValueError(f"{place}: {what} boxes are {boxes.shape}, expected (n, 4)")
            for column in columns:
                if len(getattr(part, column)) != len(boxes):
                    raise ValueError(
                        f"{place}: {len(boxes)} {what} boxes but "
                        f"{len(getattr(part, column))} {column}"
                    )
            if not np.isfinite(boxes).all():
                raise ValueError(f"{place}: {what} boxes hold NaN or infinity")
            bad = part.labels[(part.labels < 0) | (part.labels >= classes)]
            if len(bad):
                raise ValueError(f"{place}: {what} label {bad[0]}, allowed are 0 to {classes - 1}")
        if not np.isfinite(found.scores).all():
            raise ValueError(f"{place}: detection scores hold NaN or infinity")
