"""Data sets of the three tasks as downloaded, for training and testing."""

from __future__ import annotations

from halftrack.data.check import check
from halftrack.data.check_pairs import check_sot
from halftrack.data.clips import ClipSettings, TrainingClips
from halftrack.data.coco_vid import read_coco_vid
from halftrack.data.config import VidDataConfig
from halftrack.data.crops import CropBatches, Crops
from halftrack.data.data_report import DataReport
from halftrack.data.frame_batches import FrameBatches
from halftrack.data.imagenet_vid import IMAGENET_VID_CLASSES, read_imagenet_det, read_imagenet_vid
from halftrack.data.images import load_image
from halftrack.data.index import Classes, VideoIndex
from halftrack.data.mot_challenge import (
    Benchmark,
    LeftOutRows,
    MotRows,
    MotSequence,
    learned_rows,
    read_mot,
)
from halftrack.data.mot_config import MotDetectionConfig, ReIDDataConfig
from halftrack.data.mot_sequences import MotSequences, TestSequence
from halftrack.data.pair_config import PairDataConfig
from halftrack.data.pair_objects import TrackedObjects
from halftrack.data.pairs import PairBatches
from halftrack.data.problems import DataError, Problem, SkipLedger
from halftrack.data.sample_video import SampleSettings, write_sample
from halftrack.data.sample_world import SAMPLE_CLASSES
from halftrack.data.sot_benchmarks import SotBenchmark, SotSplit, read_sot
from halftrack.data.sot_sequences import SotSequence
from halftrack.data.sot_targets import TestTarget, TestTargets
from halftrack.data.video_source import SourceFrame, VideoSource, open_video
from halftrack.data.videos import FrameTruth, TestVideo, TestVideos

__all__ = [
    "IMAGENET_VID_CLASSES",
    "SAMPLE_CLASSES",
    "Benchmark",
    "Classes",
    "ClipSettings",
    "CropBatches",
    "Crops",
    "DataError",
    "DataReport",
    "FrameBatches",
    "FrameTruth",
    "LeftOutRows",
    "MotDetectionConfig",
    "MotRows",
    "MotSequence",
    "MotSequences",
    "PairBatches",
    "PairDataConfig",
    "Problem",
    "ReIDDataConfig",
    "SampleSettings",
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
    "write_sample",
]
