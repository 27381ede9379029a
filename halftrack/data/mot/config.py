"""What a recipe says about MOTChallenge: one frozen value for detection, one for ReID."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from halftrack.data.mot.crops import (
    CropBatches,
    CropRules,
    Crops,
    CropSettings,
    crops_in_order,
    crops_of,
    find_identities,
)
from halftrack.data.mot.frame_batches import FrameBatches, FrameSettings
from halftrack.data.mot.mot_challenge import (
    Benchmark,
    Detectors,
    MotSequence,
    MotSplit,
    read_mot,
)
from halftrack.data.mot.photometric import DistortionRanges
from halftrack.data.mot.sequences import MotSequences
from halftrack.data.problems import DataError, OnBadSample, SkipLedger
from halftrack.frames import CropBatch

__all__ = ["MotDetectionConfig", "ReIDDataConfig", "ReIDSplit"]

ReIDSplit = Literal["half-train", "whole-train"]
"""``half-train`` trains on the half-train frames alone and validates on half-val; ``whole-train``
is the published split: 80% of the individuals of whole videos, half-val frames included."""


@dataclass(frozen=True, kw_only=True)
class MotDetectionConfig:
    """MOTChallenge for detection and tracking; the defaults are the published MOT17 recipe."""

    benchmark: Benchmark = "MOT17"
    """Which data set."""
    detectors: Detectors = "all"
    """Which of MOT17's three copies of each video, all in the reference."""
    training_split: MotSplit = "half-train"
    """Frames that are trained on."""
    test_split: MotSplit = "half-val"
    """Frames that are tested on."""
    train_flag_zero: bool = False
    """Learn from pedestrians with flag 0, as the reference does. MOT17 and MOT20 have none; in
    files that mark regions to ignore by the flag alone this would teach them as people."""
    image_scale: tuple[int, int] = (1088, 1088)
    """Greatest long and short side at network size, in pixels."""
    ratio_range: tuple[float, float] = (0.8, 1.2)
    """In training, ``image_scale`` is multiplied by a number from this range."""
    photometric: bool = True
    """Distort colours in training."""
    brightness: float = 32.0
    """Most that is added to or taken from all channels, on a scale of 0 to 255."""
    contrast: tuple[float, float] = (0.5, 1.5)
    """Range of the factor for all channels."""
    saturation: tuple[float, float] = (0.5, 1.5)
    """Range of the factor for the saturation."""
    hue: float = 18.0
    """Most that the hue is turned either way, in degrees."""
    crop_size: tuple[int, int] = (1088, 1088)
    """Height and width that a larger training image is cropped to."""
    flip_probability: float = 0.5
    """Chance that a training frame is mirrored."""
    min_size: int = 32
    """Images with a smaller side are not trained on."""
    images_per_batch: int = 2
    """Training frames that share a pass."""
    public: bool = False
    """Give test frames the boxes of the public detector, from ``det/det.txt``."""
    on_bad_sample: OnBadSample = "error"
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it."""

    def __post_init__(self) -> None:
        _one_of("benchmark", self.benchmark, get_args(Benchmark))
        _one_of("detectors", self.detectors, get_args(Detectors))
        _one_of("training_split", self.training_split, get_args(MotSplit))
        _one_of("test_split", self.test_split, get_args(MotSplit))
        _one_of("on_bad_sample", self.on_bad_sample, get_args(OnBadSample))
        _at_least("image_scale", self.image_scale, 1)
        _at_least("crop_size", self.crop_size, 1)
        _at_least("images_per_batch", self.images_per_batch, 1)
        _at_least("min_size", self.min_size, 1)
        _at_least("brightness", self.brightness, 0)
        _range("ratio_range", self.ratio_range)
        _range("contrast", self.contrast)
        _range("saturation", self.saturation)
        _share("flip_probability", self.flip_probability)
        if min(self.image_scale) * self.ratio_range[0] < 1:
            raise ValueError(
                f"image_scale={self.image_scale!r}, ratio_range={self.ratio_range!r}: "
                "no pixel would be left of the short side"
            )
        if not 0 <= self.hue <= 180:
            raise ValueError(f"hue={self.hue!r}: expected 0 to 180 degrees")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order."""
        return ("pedestrian",)

    def training_batches(
        self, data_root: str | Path, *, rank: int = 0, world_size: int = 1
    ) -> FrameBatches:
        """Open the training frames.

        Args:
            data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.
            rank: which share of every epoch.
            world_size: number of shares.

        Raises:
            DataError: if something is missing or malformed.
        """
        return FrameBatches(
            sequences=self._sequences(data_root, self.training_split),
            settings=FrameSettings(
                image_scale=self.image_scale,
                ratio_range=self.ratio_range,
                distortion=DistortionRanges(
                    brightness=self.brightness,
                    contrast=self.contrast,
                    saturation=self.saturation,
                    hue=self.hue,
                )
                if self.photometric
                else None,
                crop_size=self.crop_size,
                flip_probability=self.flip_probability,
                min_size=self.min_size,
            ),
            images_per_batch=self.images_per_batch,
            flag_zero=self.train_flag_zero,
            on_bad_sample=self.on_bad_sample,
            rank=rank,
            world_size=world_size,
        )

    def test_sequences(
        self, data_root: str | Path, *, rank: int = 0, world_size: int = 1, threads: int = 2
    ) -> MotSequences:
        """Open the test sequences.

        Args:
            data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.
            rank: which share of the sequences.
            world_size: number of shares.
            threads: threads that read frames ahead; 0 reads on demand.

        Raises:
            DataError: if something is missing or malformed.
        """
        return MotSequences(
            sequences=self._sequences(data_root, self.test_split, detections=self.public),
            image_scale=self.image_scale,
            public=self.public,
            on_bad_sample=self.on_bad_sample,
            rank=rank,
            world_size=world_size,
            threads=threads,
        )

    def _sequences(
        self, data_root: str | Path, split: MotSplit, *, detections: bool = False
    ) -> tuple[MotSequence, ...]:
        return read_mot(
            data_root,
            split,
            benchmark=self.benchmark,
            detectors=self.detectors,
            detections=detections,
        )


@dataclass(frozen=True, kw_only=True)
class ReIDDataConfig:
    """MOTChallenge for re-identification; the defaults are the published recipe's but the split."""

    benchmark: Benchmark = "MOT17"
    """Which data set."""
    detectors: Literal["DPM", "FRCNN", "SDP"] = "FRCNN"
    """Which of MOT17's three copies of each video; in all three everybody would count thrice."""
    split: ReIDSplit = "half-train"
    """``half-train``: nothing of half-val is trained on; ``whole-train``: as published, which lets
    half-val frames leak into training."""
    validation_share: float = 0.2
    """Share of the individuals, last by name, that ``whole-train`` keeps for validation."""
    train_flag_zero: bool = False
    """Pedestrians with flag 0 make crops too, as in the reference."""
    min_visibility: float = 0.3
    """Boxes of which a smaller share can be seen make no crop."""
    min_crops: int = 8
    """Individuals with fewer crops are left out."""
    max_crops: int = 1000
    """Of individuals with more crops so many are drawn."""
    size: tuple[int, int] = (256, 128)
    """Height and width of a prepared crop."""
    identities_per_batch: int = 8
    """Individuals in a training batch."""
    crops_per_identity: int = 4
    """Crops of each of them."""
    flip_probability: float = 0.5
    """Chance that a training crop is mirrored."""
    cache_mb: int = 512
    """Memory for crops that were cut already, in MiB and for each worker process; 0 for none."""
    on_bad_sample: OnBadSample = "error"
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it."""

    def __post_init__(self) -> None:
        _one_of("benchmark", self.benchmark, get_args(Benchmark))
        _one_of("detectors", self.detectors, ("DPM", "FRCNN", "SDP"))
        _one_of("split", self.split, get_args(ReIDSplit))
        _one_of("on_bad_sample", self.on_bad_sample, get_args(OnBadSample))
        _share("validation_share", self.validation_share)
        _share("min_visibility", self.min_visibility)
        _share("flip_probability", self.flip_probability)
        _at_least("min_crops", self.min_crops, 1)
        _at_least("max_crops", self.max_crops, self.min_crops)
        _at_least("size", self.size, 1)
        _at_least("identities_per_batch", self.identities_per_batch, 1)
        _at_least("crops_per_identity", self.crops_per_identity, 1)
        _at_least("cache_mb", self.cache_mb, 0)

    def training_crops(self, data_root: str | Path) -> Crops:
        """The crops that are trained on.

        Raises:
            DataError: if something is missing or malformed.
        """
        return self._crops(data_root, validation=False)

    def validation_crops(self, data_root: str | Path) -> Crops:
        """The crops for retrieval; their labels count individuals of their own.

        Raises:
            DataError: if something is missing or malformed.
        """
        return self._crops(data_root, validation=True)

    def num_identities(self, data_root: str | Path) -> int:
        """How many individuals are trained on: the number of outputs of a classifier.

        Raises:
            DataError: if something is missing or malformed.
        """
        return self.training_crops(data_root).num_identities

    def training_batches(
        self, data_root: str | Path, *, rank: int = 0, world_size: int = 1
    ) -> CropBatches:
        """Open the training crops; arguments as for ``MotDetectionConfig``.

        Raises:
            DataError: if something is missing or malformed.
        """
        return CropBatches(
            crops=self.training_crops(data_root),
            settings=CropSettings(
                size=self.size,
                identities_per_batch=self.identities_per_batch,
                crops_per_identity=self.crops_per_identity,
                flip_probability=self.flip_probability,
                cache_mb=self.cache_mb,
            ),
            on_bad_sample=self.on_bad_sample,
            rank=rank,
            world_size=world_size,
        )

    def test_crops(
        self,
        data_root: str | Path,
        *,
        batch_size: int = 32,
        threads: int = 2,
        skipped: SkipLedger | None = None,
    ) -> Iterator[CropBatch]:
        """The validation crops once, none mirrored; the last batch may be smaller.

        Args:
            data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.
            batch_size: crops a batch.
            threads: threads that read frames ahead; 0 reads on demand.
            skipped: told what was left out.

        Raises:
            DataError: if something is missing or malformed.
        """
        return crops_in_order(
            self.validation_crops(data_root),
            size=self.size,
            batch_size=batch_size,
            on_bad_sample=self.on_bad_sample,
            skipped=skipped,
            threads=threads,
        )

    def _crops(self, data_root: str | Path, *, validation: bool) -> Crops:
        frames: MotSplit = "train"
        if self.split == "half-train":
            frames = "half-val" if validation else "half-train"
        sequences = read_mot(data_root, frames, benchmark=self.benchmark, detectors=self.detectors)
        identities = find_identities(
            sequences, min_visibility=self.min_visibility, flag_zero=self.train_flag_zero
        )
        if self.split == "whole-train":
            # mot2reid divides before it drops individuals with too few crops.
            trained = int(len(identities) * (1 - self.validation_share))
            identities = identities[trained:] if validation else identities[:trained]
        rules = CropRules(min_crops=self.min_crops, max_crops=self.max_crops)
        crops = crops_of(sequences, identities, rules)
        if crops.num_identities == 0:
            folders = ", ".join(str(sequence.folder) for sequence in sequences)
            which = "validation" if validation else "training"
            raise DataError(
                folders,
                f"no individual with min_crops={self.min_crops} boxes of "
                f"min_visibility={self.min_visibility} for {which}",
            )
        return crops


def _one_of(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed))}")


def _at_least(name: str, value: float | tuple[int, ...], least: float) -> None:
    if (min(value) if isinstance(value, tuple) else value) < least:
        raise ValueError(f"{name}={value!r}: expected at least {least}")


def _range(name: str, value: tuple[float, float]) -> None:
    if not 0 < value[0] <= value[1]:
        raise ValueError(f"{name}={value!r}: expected 0 < low <= high")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r}: expected 0 to 1")
