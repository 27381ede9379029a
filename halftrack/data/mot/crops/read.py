"""The crops that a configuration names, for training or for validation."""

from __future__ import annotations

from pathlib import Path

from halftrack.data.mot.config import MotSplit, ReIDDataConfig
from halftrack.data.mot.crops.cut import crops_of, find_identities
from halftrack.data.mot.crops.listed import IMAGES, listed_crops
from halftrack.data.mot.crops.records import Crops
from halftrack.data.mot.mot_challenge import find_mot, read_usable_mot
from halftrack.data.problems import DataError, SkipLedger

__all__ = ["find_crops", "read_crops"]


def find_crops(config: ReIDDataConfig, data_root: str | Path) -> Path:
    """The benchmark's folder with crops, or with the sequences to cut them from; reads no file.

    Raises:
        DataError: if it is not there.
    """
    return find_mot(data_root, config.benchmark, IMAGES if config.training_list else "train")


def read_crops(
    config: ReIDDataConfig,
    data_root: str | Path,
    *,
    validation: bool = False,
    skipped: SkipLedger | None = None,
) -> Crops:
    """Read the crops of a configuration that are trained on, or those for validation.

    The labels of the two count individuals of their own.

    Args:
        config: the split, and the boxes and individuals that count.
        data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.
        validation: the crops for retrieval instead of those to learn from.
        skipped: told which sequences were left out, where the configuration skips bad ones.

    Raises:
        DataError: if something is missing or malformed, or no individual has crops enough.
    """
    if config.training_list:
        base = find_crops(config, data_root)
        name = config.validation_list if validation else config.training_list
        crops = listed_crops(base / name, base / IMAGES)
    else:
        crops = _cut_crops(
            config, data_root, validation, SkipLedger() if skipped is None else skipped
        )
    if crops.num_identities == 0:
        which = "validation" if validation else "training"
        raise DataError(
            crops.source,
            f"no individual with min_crops={config.min_crops} boxes of "
            f"min_visibility={config.min_visibility} for {which}",
        )
    if validation and len(crops) == crops.num_identities:
        raise DataError(
            crops.source,
            f"each of the {len(crops)} crops for validation shows another individual; expected "
            f"one in two crops at least (min_crops={config.min_crops}, "
            f"max_crops={config.max_crops})",
        )
    return crops


def _cut_crops(
    config: ReIDDataConfig, data_root: str | Path, validation: bool, skipped: SkipLedger
) -> Crops:
    """The crops that are cut from sequences."""
    frames: MotSplit = "train"
    if config.split == "half-train":
        frames = "half-val" if validation else "half-train"
    sequences = read_usable_mot(
        data_root,
        frames,
        benchmark=config.benchmark,
        detectors=config.detectors,
        classes=config.classes,
        on_bad_sample=config.on_bad_sample,
        skipped=skipped,
        truth=True,
    )
    identities = find_identities(
        sequences, min_visibility=config.min_visibility, flag_zero=config.train_flag_zero
    )
    if config.split == "whole-train":
        # mot2reid divides before it drops individuals with too few crops.
        trained = int(len(identities) * (1 - config.validation_share))
        identities = identities[trained:] if validation else identities[:trained]
    return crops_of(sequences, identities, min_crops=config.min_crops, max_crops=config.max_crops)
