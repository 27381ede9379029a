"""Evaluation: pure functions of arrays. No models, no devices."""

from halftrack.evaluation.coco_ap import coco_ap50
from halftrack.evaluation.detection import DetectionMetrics, FrameDetections, FrameTruth
from halftrack.evaluation.motion import motion_groups, motion_iou
from halftrack.evaluation.score import score_detections
from halftrack.evaluation.voc_ap import voc_ap50

__all__ = [
    "DetectionMetrics",
    "FrameDetections",
    "FrameTruth",
    "coco_ap50",
    "motion_groups",
    "motion_iou",
    "score_detections",
    "voc_ap50",
]
