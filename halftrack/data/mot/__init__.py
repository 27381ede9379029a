"""MOTChallenge: frames and crops to learn from, whole sequences to detect and track in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.data.mot.config import Benchmark, MotDetectionConfig, ReIDDataConfig
    from halftrack.data.mot.crops.batches import CropBatches, crops_in_order
    from halftrack.data.mot.crops.read import read_crops
    from halftrack.data.mot.crops.records import Crops
    from halftrack.data.mot.frame_batches import FrameBatches
    from halftrack.data.mot.mot_challenge import read_mot
    from halftrack.data.mot.records import LeftOutRows, MotRows, MotSequence, learned_rows
    from halftrack.data.mot.sequences import MotSequences, TestSequence

__all__ = [
    "Benchmark",
    "CropBatches",
    "Crops",
    "FrameBatches",
    "LeftOutRows",
    "MotDetectionConfig",
    "MotRows",
    "MotSequence",
    "MotSequences",
    "ReIDDataConfig",
    "TestSequence",
    "crops_in_order",
    "learned_rows",
    "read_crops",
    "read_mot",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "config": (
            "Benchmark",
            "MotDetectionConfig",
            "ReIDDataConfig",
        ),
        "crops.batches": (
            "CropBatches",
            "crops_in_order",
        ),
        "crops.read": ("read_crops",),
        "crops.records": ("Crops",),
        "frame_batches": ("FrameBatches",),
        "mot_challenge": ("read_mot",),
        "records": (
            "LeftOutRows",
            "MotRows",
            "MotSequence",
            "learned_rows",
        ),
        "sequences": (
            "MotSequences",
            "TestSequence",
        ),
    },
)
