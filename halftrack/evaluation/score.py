"""Scores of detections under the COCO and the VOC protocol at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from halftrack.evaluation.coco_ap import coco_ap50
from halftrack.evaluation.detection import (
    DetectionMetrics,
    FrameDetections,
    check_frames,
)
from halftrack.evaluation.motion import motion_groups, motion_iou
from halftrack.evaluation.overlaps import find_overlaps
from halftrack.evaluation.voc_ap import voc_ap50
from halftrack.frames import FrameTruth

__all__ = ["score_detections"]


def score_detections(
    truths: Sequence[FrameTruth],
    detections: Sequence[FrameDetections],
    *,
    class_names: Sequence[str],
) -> DetectionMetrics:
    """Compute a video detector's AP50 under both protocols, by class and by motion.

    Args:
        truths: ground truth of every frame, videos one after another.
        detections: the detections in the same frames, in the same order.
        class_names: names of the classes, in the order of the labels.

    Raises:
        ValueError: if lengths, labels or values cannot be scored; names the frame.
    """
    count = len(class_names)
    check_frames(truths, detections, num_classes=count)
    coco = coco_ap50(truths, detections, num_classes=count)
    overlaps = find_overlaps(truths, detections)
    voc = voc_ap50(truths, detections, num_classes=count, overlaps=overlaps)
    motion = {
        name: _mean(
            voc_ap50(truths, detections, num_classes=count, counted=counted, overlaps=overlaps)
        )
        for name, counted in motion_groups(motion_iou(truths)).items()
    }
    return DetectionMetrics(
        coco_ap50=_mean(coco),
        coco_ap50_per_class=dict(zip(class_names, coco, strict=True)),
        voc_ap50=_mean(voc),
        voc_ap50_per_class=dict(zip(class_names, voc, strict=True)),
        voc_ap50_slow=motion["slow"],
        voc_ap50_medium=motion["medium"],
        voc_ap50_fast=motion["fast"],
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
