"""ImageNet VID and DET: clips to learn from, whole videos to detect in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "clips": ("TrainingClips",),
        "coco_vid": ("read_coco_vid",),
        "config": (
            "IMAGENET_VID_CLASSES",
            "VidDataConfig",
        ),
        "imagenet_vid": (
            "read_imagenet_det",
            "read_imagenet_vid",
        ),
        "indexes": (
            "read_test_index",
            "read_training_indexes",
        ),
        "videos": (
            "TestVideo",
            "TestVideos",
        ),
    },
)
