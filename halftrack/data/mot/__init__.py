"""MOTChallenge: frames and crops to learn from, whole sequences to detect and track in."""

from halftrack.data.mot.config import Benchmark, MotDetectionConfig, ReIDDataConfig
from halftrack.data.mot.crop_batches import CropBatches, crops_in_order
from halftrack.data.mot.crops import Crops, read_crops
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
