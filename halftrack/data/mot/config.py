"""A recipe's configuration of MOTChallenge data: for detection, and for re-identification."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from halftrack.data.problems import OnBadSample
from halftrack.errors import UserError

__all__ = [
    "Benchmark",
    "Detectors",
    "MotDetectionConfig",
    "MotSplit",
    "ReIDDataConfig",
    "ReIDSplit",
]

Benchmark = Literal["MOT15", "MOT16", "MOT17", "MOT20"]
"""A MOTChallenge data set, by the folder it unpacks to."""
MotSplit = Literal["train", "test", "half-train", "half-val"]
"""``half-train``: the first n // 2 + 1 frames of each training sequence; ``half-val``: the rest."""
Detectors = Literal["all", "DPM", "FRCNN", "SDP"]
"""MOT17 holds each video three times, once for each public detector; ``all`` keeps the copies."""
ReIDSplit = Literal["half-train", "whole-train"]
"""``half-train`` trains on the half-train frames alone and validates on half-val; ``whole-train``
is the published split: 80% of the individuals of whole videos, half-val frames included."""


@dataclass(frozen=True, kw_only=True)
class MotDetectionConfig:
    """MOTChallenge for detection and tracking; the defaults are the published MOT17 recipe."""

    benchmark: Benchmark = "MOT17"
    """The data set."""
    detectors: Detectors = "all"
    """The copies of MOT17's videos that are read, all three in the reference."""
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
    """Distort colours in training: each of these properties with probability 0.5."""
    brightness: float = 32.0
    """Most that is added to or taken from all channels, on a scale of 0 to 255."""
    contrast: tuple[float, float] = (0.5, 1.5)
    """Range of the factor for all channels."""
    saturation: tuple[float, float] = (0.5, 1.5)
    """Range of the factor for the saturation."""
    hue: float = 18.0
    """Most that the hue is turned either way, in degrees."""
    crop_size: tuple[int, int] = (1088, 1088)
    """Height and width that a larger training image is cropped to, at a place drawn."""
    flip_probability: float = 0.5
    """Chance that a training frame is mirrored."""
    min_size: int = 32
    """Images with a smaller side are not trained on."""
    images_per_batch: int = 2
    """Training frames that share a pass."""
    public: bool = False
    """Give test frames the boxes of the public detector, from ``det/det.txt``."""
    on_bad_sample: OnBadSample = field(default="error", metadata={"free": True})
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it. Free to
    change when a run is resumed, for a run that a bad file stopped."""

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
            raise UserError(
                f"image_scale={self.image_scale!r}, ratio_range={self.ratio_range!r}: "
                "no pixel would be left of the short side"
            )
        if not 0 <= self.hue <= 180:
            raise UserError(f"hue={self.hue!r}: expected 0 to 180 degrees")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order."""
        return ("pedestrian",)


@dataclass(frozen=True, kw_only=True)
class ReIDDataConfig:
    """Re-identification data of MOTChallenge; the defaults are published, but for the split.

    The height and width of a prepared crop are the model's, ``ReIDConfig.crop_size``.
    """

    benchmark: Benchmark = "MOT17"
    """The data set."""
    detectors: Literal["DPM", "FRCNN", "SDP"] = "FRCNN"
    """The copy of MOT17's videos that is read; in all three everybody would count thrice."""
    split: ReIDSplit = "half-train"
    """``half-train``: nothing of half-val is trained on; ``whole-train``: as published, which lets
    half-val frames leak into training."""
    validation_share: float = 0.2
    """Share of the individuals, last by name, that ``whole-train`` keeps for validation."""
    train_flag_zero: bool = False
    """Cut crops of pedestrians with flag 0 too, as the reference does."""
    min_visibility: float = 0.3
    """Boxes of which a smaller share can be seen make no crop."""
    min_crops: int = 8
    """Individuals with fewer crops are left out."""
    max_crops: int = 1000
    """Most crops of an individual; of more than these so many are drawn, once and for all."""
    identities_per_batch: int = 8
    """Individuals in a training batch."""
    crops_per_identity: int = 4
    """Crops of each of them."""
    flip_probability: float = 0.5
    """Chance that a training crop is mirrored, drawn for each crop."""
    cache_mb: int = field(default=512, metadata={"free": True})
    """Memory for crops that were cut already, in MiB and for each worker process; 0 for none."""
    on_bad_sample: OnBadSample = field(default="error", metadata={"free": True})
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it. Free to
    change when a run is resumed, for a run that a bad file stopped."""

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
        _at_least("identities_per_batch", self.identities_per_batch, 1)
        _at_least("crops_per_identity", self.crops_per_identity, 1)
        _at_least("cache_mb", self.cache_mb, 0)


def _one_of(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed))}")


def _at_least(name: str, value: float | tuple[int, ...], least: float) -> None:
    if (min(value) if isinstance(value, tuple) else value) < least:
        raise UserError(f"{name}={value!r}: expected at least {least}")


def _range(name: str, value: tuple[float, float]) -> None:
    if not 0 < value[0] <= value[1]:
        raise UserError(f"{name}={value!r}: expected 0 < low <= high")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"{name}={value!r}: expected 0 to 1")
