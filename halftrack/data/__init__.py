"""ImageNet VID and DET as downloaded, or CocoVID JSON, as training clips and test videos."""

from __future__ import annotations

from halftrack.data.check import DataReport, check
from halftrack.data.clips import ClipSettings, TrainingClips
from halftrack.data.coco_vid import read_coco_vid
from halftrack.data.config import VidDataConfig
from halftrack.data.imagenet_vid import IMAGENET_VID_CLASSES, read_imagenet_det, read_imagenet_vid
from halftrack.data.images import load_image
from halftrack.data.index import Classes, VideoIndex
from halftrack.data.problems import DataError, Problem, SkipLedger
from halftrack.data.sample_video import SampleSettings, write_sample
from halftrack.data.sample_world import SAMPLE_CLASSES
from halftrack.data.videos import FrameTruth, TestVideo, TestVideos

__all__ = [
    "IMAGENET_VID_CLASSES",
    "SAMPLE_CLASSES",
    "Classes",
    "ClipSettings",
    "DataError",
    "DataReport",
    "FrameTruth",
    "Problem",
    "SampleSettings",
    "SkipLedger",
    "TestVideo",
    "TestVideos",
    "TrainingClips",
    "VidDataConfig",
    "VideoIndex",
    "check",
    "load_image",
    "read_coco_vid",
    "read_imagenet_det",
    "read_imagenet_vid",
    "write_sample",
]
