"""A recipe's configuration of MOTChallenge data: for detection, and for re-identification."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.data.files import user_path
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
    classes: tuple[str, ...] = ("pedestrian",)
    """Classes that are detected and tracked, in label order, by name: MOTChallenge's, those of a
    ``labels.txt`` beside ``gt.txt``, of CocoVID's categories, or their numbers in column 8."""
    training_split: MotSplit = "half-train"
    """Frames that are trained on."""
    test_split: MotSplit = "half-val"
    """Frames that are tested on."""
    training_json: str = ""
    """A CocoVID file below the benchmark's folder to read in the place of ``seqinfo.ini`` and
    ``gt.txt``; it says itself which frames are trained on, of images below ``train``."""
    test_json: str = ""
    """A CocoVID file of the sequences that are tested on; images are below ``train``, or below
    ``test`` with that split."""
    train_flag_zero: bool = False
    """Learn from pedestrians with flag 0, as the reference does. MOT17 and MOT20 have none; in
    files that mark regions to ignore by the flag alone this would teach them as people."""
    image_scale: Annotated[tuple[int, int], Bounds(least=1, most=16_384)] = (1088, 1088)
    """Greatest long and short side at network size, in pixels."""
    ratio_range: Annotated[tuple[float, float], Bounds(above=0, most=100)] = (0.8, 1.2)
    """In training, ``image_scale`` is multiplied by a number from this range."""
    photometric: bool = True
    """Distort colours in training: each of these properties with probability 0.5."""
    brightness: Annotated[float, Bounds(least=0, most=255)] = 32.0
    """Most that is added to or taken from all channels, on a scale of 0 to 255."""
    contrast: Annotated[tuple[float, float], Bounds(above=0, most=100)] = (0.5, 1.5)
    """Range of the factor for all channels."""
    saturation: Annotated[tuple[float, float], Bounds(above=0, most=100)] = (0.5, 1.5)
    """Range of the factor for the saturation."""
    hue: Annotated[float, Bounds(least=0, most=180)] = 18.0
    """Most that the hue is turned either way, in degrees."""
    crop_size: Annotated[tuple[int, int], Bounds(least=1, most=16_384)] = (1088, 1088)
    """Height and width that a larger training image is cropped to, at a place drawn."""
    flip_probability: Share = 0.5
    """Chance that a training frame is mirrored."""
    min_size: Annotated[int, Bounds(least=1, most=16_384)] = 32
    """Images with a smaller side are not trained on."""
    images_per_batch: Annotated[int, Bounds(least=1, most=10_000)] = 2
    """Training frames that share a pass."""
    public: bool = False
    """Give test frames the boxes of the public detector, from ``det/det.txt``."""
    public_file: str = field(default="", metadata={"free": True})
    """MMTracking's ``*_detections.pkl`` to take public boxes from; empty for ``det/det.txt``."""
    test_batch: Annotated[int, Bounds(least=1, most=1000)] = field(
        default=1, metadata={"free": True}
    )
    """Test frames of a video that share a pass; detections stay the same but for rounding, and the
    memory needed grows with it."""
    on_bad_sample: OnBadSample = field(default="error", metadata={"free": True})
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it. Free to
    change when a run is resumed, for a run that a bad file stopped."""

    def __post_init__(self) -> None:
        check_bounds(self)
        _one_of("benchmark", self.benchmark, get_args(Benchmark))
        _one_of("detectors", self.detectors, get_args(Detectors))
        _one_of("training_split", self.training_split, get_args(MotSplit))
        _one_of("test_split", self.test_split, get_args(MotSplit))
        _one_of("on_bad_sample", self.on_bad_sample, get_args(OnBadSample))
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise UserError(f"classes={self.classes!r}: expected names, each once")
        _range("ratio_range", self.ratio_range)
        _range("contrast", self.contrast)
        _range("saturation", self.saturation)
        if self.public_file and not self.public:
            raise UserError(f"public_file={self.public_file!r}: it is read with public=True alone")
        if min(self.image_scale) * self.ratio_range[0] < 1:
            raise UserError(
                f"image_scale={self.image_scale!r}, ratio_range={self.ratio_range!r}: "
                "no pixel would be left of the short side"
            )

    @property
    def public_source(self) -> bool | Path:
        """True for public detections from ``det/det.txt``, a path for those of a pickle."""
        return user_path(self.public_file) if self.public and self.public_file else self.public

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order."""
        return self.classes


@dataclass(frozen=True, kw_only=True)
class ReIDDataConfig:
    """Re-identification data of MOTChallenge; the defaults are published, but for the split.

    The height and width of a prepared crop are the model's, ``ReIDConfig.crop_size``.
    """

    benchmark: Benchmark = "MOT17"
    """The data set."""
    detectors: Literal["DPM", "FRCNN", "SDP"] = "FRCNN"
    """The copy of MOT17's videos that is read; in all three everybody would count thrice."""
    classes: tuple[str, ...] = ("pedestrian",)
    """Classes of the individuals, by name."""
    training_list: str = ""
    """MMTracking's list of crops to learn from, a file below the benchmark's folder such as
    ``reid/meta/train_80.txt``, in the place of ``split``; the crops lie in ``reid/imgs``."""
    validation_list: str = ""
    """The list of crops for validation; one list takes the other."""
    split: ReIDSplit = "half-train"
    """``half-train``: nothing of half-val is trained on; ``whole-train``: as published, which lets
    half-val frames leak into training."""
    validation_share: Share = 0.2
    """Share of the individuals, last by name, that ``whole-train`` keeps for validation."""
    train_flag_zero: bool = False
    """Cut crops of pedestrians with flag 0 too, as the reference does."""
    min_visibility: Share = 0.3
    """Boxes of which a smaller share can be seen make no crop."""
    min_crops: Annotated[int, Bounds(least=1, most=1_000_000)] = 8
    """Individuals with fewer crops are left out."""
    max_crops: Annotated[int, Bounds(least=1, most=1_000_000)] = 1000
    """Most crops of an individual; of more than these so many are drawn, once and for all."""
    identities_per_batch: Annotated[int, Bounds(least=1, most=100_000)] = 8
    """Individuals in a training batch."""
    crops_per_identity: Annotated[int, Bounds(least=1, most=100_000)] = 4
    """Crops of each of them."""
    flip_probability: Share = 0.5
    """Chance that a training crop is mirrored, drawn for each crop."""
    cache_mb: Annotated[int, Bounds(least=0, most=10_000_000)] = field(
        default=512, metadata={"free": True}
    )
    """Memory for crops that were cut already, in MiB and for each worker process; 0 for none."""
    on_bad_sample: OnBadSample = field(default="error", metadata={"free": True})
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it. Free to
    change when a run is resumed, for a run that a bad file stopped."""

    def __post_init__(self) -> None:
        check_bounds(self)
        _one_of("benchmark", self.benchmark, get_args(Benchmark))
        _one_of("detectors", self.detectors, ("DPM", "FRCNN", "SDP"))
        _one_of("split", self.split, get_args(ReIDSplit))
        _one_of("on_bad_sample", self.on_bad_sample, get_args(OnBadSample))
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise UserError(f"classes={self.classes!r}: expected names, each once")
        if bool(self.training_list) != bool(self.validation_list):
            raise UserError(
                f"training_list={self.training_list!r}, validation_list={self.validation_list!r}: "
                "expected a file for both, or for none"
            )
        if self.max_crops < self.min_crops:
            raise UserError(
                f"max_crops={self.max_crops!r}: expected at least min_crops={self.min_crops!r}"
            )


def _one_of(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed))}")


def _range(name: str, value: tuple[float, float]) -> None:
    if value[0] > value[1]:
        raise UserError(f"{name}={value!r}: expected low <= high")
