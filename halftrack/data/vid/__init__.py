"""ImageNet VID and DET: clips to learn from, whole videos to detect in."""

from halftrack.data.vid.clips import TrainingClips
from halftrack.data.vid.coco_vid import read_coco_vid
from halftrack.data.vid.config import IMAGENET_VID_CLASSES, VidDataConfig
from halftrack.data.vid.imagenet_vid import read_imagenet_det, read_imagenet_vid
from halftrack.data.vid.indexes import read_test_index, read_training_indexes
from halftrack.data.vid.videos import TestVideo, TestVideos

__all__ = [
    "IMAGENET_VID_CLASSES",
    "TestVideo",
    "TestVideos",
    "TrainingClips",
    "VidDataConfig",
    "read_coco_vid",
    "read_imagenet_det",
    "read_imagenet_vid",
    "read_test_index",
    "read_training_indexes",
]
