"""Evaluation: pure functions of arrays. No models, no devices."""

from halftrack.evaluation.detection import DetectionMetrics, FrameDetections, FrameTruth
from halftrack.evaluation.score import score_detections

__all__ = ["DetectionMetrics", "FrameDetections", "FrameTruth", "score_detections"]
