"""Scores of detectors and trackers: pure functions of arrays, without models or devices."""

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
