"""Scores of detectors and trackers: pure functions of arrays, without models or devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.evaluation.coco_ap import coco_ap50
    from halftrack.evaluation.detection import DetectionMetrics, FrameDetections
    from halftrack.evaluation.equivalence import Equivalence, paired_equivalence
    from halftrack.evaluation.mot import (
        MotMetrics,
        SequenceMetrics,
        SequenceTruth,
        check_truth,
        score_tracks,
    )
    from halftrack.evaluation.mot_results import (
        TrackRows,
        read_result_folder,
        read_results,
        write_results,
    )
    from halftrack.evaluation.motion import motion_groups, motion_iou
    from halftrack.evaluation.ope import OpeMetrics, OpeRule, OpeScores, TargetTruth, score_ope
    from halftrack.evaluation.result_folder import ResultFolder
    from halftrack.evaluation.retrieval import RetrievalScores, retrieval_scores
    from halftrack.evaluation.score import score_detections
    from halftrack.evaluation.sot_results import (
        pack_got10k,
        pack_trackingnet,
        read_box_folder,
        read_boxes,
        write_boxes,
    )
    from halftrack.evaluation.voc_ap import voc_ap50

__all__ = [
    "DetectionMetrics",
    "Equivalence",
    "FrameDetections",
    "MotMetrics",
    "OpeMetrics",
    "OpeRule",
    "OpeScores",
    "ResultFolder",
    "RetrievalScores",
    "SequenceMetrics",
    "SequenceTruth",
    "TargetTruth",
    "TrackRows",
    "check_truth",
    "coco_ap50",
    "motion_groups",
    "motion_iou",
    "pack_got10k",
    "pack_trackingnet",
    "paired_equivalence",
    "read_box_folder",
    "read_boxes",
    "read_result_folder",
    "read_results",
    "retrieval_scores",
    "score_detections",
    "score_ope",
    "score_tracks",
    "voc_ap50",
    "write_boxes",
    "write_results",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "coco_ap": ("coco_ap50",),
        "detection": (
            "DetectionMetrics",
            "FrameDetections",
        ),
        "equivalence": (
            "Equivalence",
            "paired_equivalence",
        ),
        "mot": (
            "MotMetrics",
            "SequenceMetrics",
            "SequenceTruth",
            "check_truth",
            "score_tracks",
        ),
        "mot_results": (
            "TrackRows",
            "read_result_folder",
            "read_results",
            "write_results",
        ),
        "motion": (
            "motion_groups",
            "motion_iou",
        ),
        "ope": (
            "OpeMetrics",
            "OpeRule",
            "OpeScores",
            "TargetTruth",
            "score_ope",
        ),
        "result_folder": ("ResultFolder",),
        "retrieval": (
            "RetrievalScores",
            "retrieval_scores",
        ),
        "score": ("score_detections",),
        "sot_results": (
            "pack_got10k",
            "pack_trackingnet",
            "read_box_folder",
            "read_boxes",
            "write_boxes",
        ),
        "voc_ap": ("voc_ap50",),
    },
)
