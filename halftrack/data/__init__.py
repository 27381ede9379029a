"""Data sets of the three tasks as downloaded, for training and testing."""

from __future__ import annotations

from halftrack.data.check.data_sets import check
from halftrack.data.check.pairs import check_sot
from halftrack.data.check.report import DataReport
from halftrack.data.images import load_image
from halftrack.data.index import Classes, VideoIndex
from halftrack.data.mot.config import MotDetectionConfig, ReIDDataConfig
from halftrack.data.mot.crops import CropBatches, Crops
from halftrack.data.mot.frame_batches import FrameBatches
from halftrack.data.mot.mot_challenge import (
    Benchmark,
    LeftOutRows,
    MotRows,
    MotSequence,
    learned_rows,
    read_mot,
)
from halftrack.data.mot.sequences import MotSequences, TestSequence
from halftrack.data.problems import DataError, Problem, SkipLedger
from halftrack.data.sot.benchmarks import SotBenchmark, SotSplit, read_sot
from halftrack.data.sot.config import PairDataConfig
from halftrack.data.sot.pair_objects import TrackedObjects
from halftrack.data.sot.pairs import PairBatches
from halftrack.data.sot.sequences import SotSequence
from halftrack.data.sot.targets import TestTarget, TestTargets
from halftrack.data.vid.clips import ClipSettings, TrainingClips
from halftrack.data.vid.coco_vid import read_coco_vid
from halftrack.data.vid.config import VidDataConfig
from halftrack.data.vid.imagenet_vid import (
    IMAGENET_VID_CLASSES,
    read_imagenet_det,
    read_imagenet_vid,
)
from halftrack.data.vid.videos import TestVideo, TestVideos
from halftrack.data.video_source import SourceFrame, VideoSource, open_video

__all__ = [
    "IMAGENET_VID_CLASSES",
    "Benchmark",
    "Classes",
    "ClipSettings",
    "CropBatches",
    "Crops",
    "DataError",
    "DataReport",
    "FrameBatches",
    "LeftOutRows",
    "MotDetectionConfig",
    "MotRows",
    "MotSequence",
    "MotSequences",
    "PairBatches",
    "PairDataConfig",
    "Problem",
    "ReIDDataConfig",
    "SkipLedger",
    "SotBenchmark",
    "SotSequence",
    "SotSplit",
    "SourceFrame",
    "TestSequence",
    "TestTarget",
    "TestTargets",
    "TestVideo",
    "TestVideos",
    "TrackedObjects",
    "TrainingClips",
    "VidDataConfig",
    "VideoIndex",
    "VideoSource",
    "check",
    "check_sot",
    "learned_rows",
    "load_image",
    "open_video",
    "read_coco_vid",
    "read_imagenet_det",
    "read_imagenet_vid",
    "read_mot",
    "read_sot",
]
