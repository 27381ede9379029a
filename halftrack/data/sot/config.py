"""What a recipe says about pairs for single-object tracking: one frozen value that opens them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from halftrack.data.index import Classes
from halftrack.data.problems import DataError, OnBadSample, Problem
from halftrack.data.progress import Progress
from halftrack.data.sot.augment import BLUR_SIZES, ViewRanges
from halftrack.data.sot.crops import SiameseCrop
from halftrack.data.sot.pair_objects import (
    LasotSplit,
    TrackedObjects,
    objects_of,
    read_coco_objects,
    read_det_objects,
    read_lasot_objects,
)
from halftrack.data.sot.pairs import PairBatches, PairSettings
from halftrack.data.vid.config import IMAGENET_VID_CLASSES
from halftrack.data.vid.imagenet_vid import read_imagenet_vid
from halftrack.errors import UserError

__all__ = ["PairDataConfig", "PairSet"]

PairSet = Literal["vid", "det", "coco", "lasot"]
"""A data set that pairs come from: ImageNet VID and DET, COCO, sequences in LaSOT's layout."""


@dataclass(frozen=True, kw_only=True)
class PairDataConfig:
    """Pairs for single-object tracking; the defaults are SiamRPN++'s published recipe for LaSOT."""

    training_sets: tuple[PairSet, ...] = ("vid", "det", "coco")
    """What pairs are drawn from."""
    set_weights: tuple[float, ...] = (0.25, 0.55, 0.2)
    """How often each set is drawn from, relative to the others."""
    vid_classes: Classes = IMAGENET_VID_CLASSES
    """Classes of the objects of ``vid``, each as (name, wnid); elsewhere any class counts."""
    lasot_split: LasotSplit = "train"
    """Which sequences ``lasot`` has: those ``testing_set.txt`` does not name, those it does, or
    all."""
    sequences_left_out: tuple[str, ...] = ()
    """Videos that no pair comes from, by path below the set's folder or by its last part."""
    frame_range: int = 100
    """How far the search region may be from its template, counted in the object's boxes."""
    positive_share: float = 0.8
    """Share of pairs that show the same object twice."""
    context: float = 0.5
    """The template's margin, as a share of the mean of the object's width and height, each side."""
    template_size: int = 127
    """Width and height of a template in pixels."""
    search_size: int = 255
    """Width and height of a search region in pixels."""
    crop_size: int = 511
    """Width and height of the crop that both are cut from, in pixels."""
    shift: tuple[float, float] = (4, 64)
    """Most that template and search region are moved either way, in pixels of the crop."""
    scale: tuple[float, float] = (0.05, 0.18)
    """Largest share by which template and search region are scaled, drawn for each axis."""
    colour_probability: tuple[float, float] = (1.0, 1.0)
    """Chance that colours of template and search region are moved."""
    brightness: tuple[float, float] = (0.0, 0.0)
    """Largest share by which template and search region become brighter or darker, each drawn
    apart; published is none."""
    blur_probability: tuple[float, float] = (0.0, 0.2)
    """Chance that template and search region are blurred."""
    grey_probability: float = 0.0
    """Chance that both images of a pair are turned grey; 0.2 in the OTB100 recipe."""
    pairs_per_batch: int = 28
    """Pairs in a training batch."""
    pairs_per_epoch: int = 600_000
    """Pairs in an epoch."""
    cache_mb: int = 0
    """Memory for crops that were cut already, in MiB and for each worker process; 0 for none. Held
    crops are JPEG files, so pixels differ a little from those of a run without."""
    on_bad_sample: OnBadSample = field(default="error", metadata={"free": True})
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it. Free to
    change when a run is resumed, for a run that a bad file stopped."""

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("training_sets", self.training_sets, get_args(PairSet)),
            ("lasot_split", (self.lasot_split,), get_args(LasotSplit)),
            ("on_bad_sample", (self.on_bad_sample,), get_args(OnBadSample)),
        ):
            if not value or not set(value) <= set(allowed):
                told = getattr(self, name)
                raise UserError(f"{name}={told!r}: expected {', '.join(map(repr, allowed))}")
        weights = self.set_weights
        if len(weights) != len(self.training_sets) or min(weights) < 0 or sum(weights) <= 0:
            raise UserError(
                f"set_weights={weights!r}: expected one number for each of "
                f"training_sets={self.training_sets!r}, none negative and not all 0"
            )
        for name in ("positive_share", "grey_probability", "colour_probability"):
            _within(name, getattr(self, name), 0, 1)
        _within("blur_probability", self.blur_probability, 0, 1)
        _within("scale", self.scale, 0, 0.99)
        _within("brightness", self.brightness, 0, 1)
        _within("shift", self.shift, 0, float("inf"))
        _within("context", self.context, 0, float("inf"))
        _within("cache_mb", self.cache_mb, 0, float("inf"))
        for name in ("frame_range", "pairs_per_batch", "pairs_per_epoch"):
            _within(name, getattr(self, name), 1, float("inf"))
        if not 1 <= self.template_size <= self.search_size <= self.crop_size:
            raise UserError(
                f"template_size={self.template_size!r}, search_size={self.search_size!r}, "
                f"crop_size={self.crop_size!r}: expected 1 <= template <= search <= crop"
            )
        sizes = (self.template_size, self.search_size)
        for size, chance in zip(sizes, self.blur_probability, strict=True):
            if chance > 0 and size <= BLUR_SIZES[-1] // 2:
                raise UserError(
                    f"blur_probability={self.blur_probability!r}: an image of {size} px is too "
                    f"small for a blur, expected more than {BLUR_SIZES[-1] // 2}"
                )

    def training_objects(
        self, data_root: str | Path, *, processes: int = 0, progress: Progress | None = None
    ) -> tuple[TrackedObjects, ...]:
        """The objects of each set, those of the videos left out not among them.

        Raises:
            DataError: if something is missing or malformed, or no set has a video to leave out.
        """
        sets = [
            self.read_set(name, data_root, processes=processes, progress=progress)
            for name in self.training_sets
        ]
        for problem in self.left_out_problems(sets, data_root):
            raise DataError(problem.file, problem.reason)
        return tuple(sets)

    def read_set(
        self,
        name: PairSet,
        data_root: str | Path,
        *,
        processes: int = 0,
        progress: Progress | None = None,
    ) -> TrackedObjects:
        """The objects of one set, those of the videos left out not among them.

        Raises:
            DataError: if something is missing or malformed.
        """
        if name == "vid":
            index = read_imagenet_vid(
                data_root,
                "train",
                classes=self.vid_classes,
                processes=processes,
                progress=progress,
            )
            objects = objects_of(index, name)
        elif name == "det":
            objects = read_det_objects(data_root, processes=processes, progress=progress)
        elif name == "coco":
            objects = read_coco_objects(data_root)
        else:
            objects = read_lasot_objects(data_root, self.lasot_split)
        return objects.without(self.sequences_left_out) if self.sequences_left_out else objects

    def left_out_problems(
        self, sets: Sequence[TrackedObjects], data_root: str | Path
    ) -> tuple[Problem, ...]:
        """Names in ``sequences_left_out`` that are in none of the sets, all of them given."""
        found = ", ".join(self.training_sets)
        return tuple(
            Problem(str(data_root), f"sequences_left_out has {name!r}, which is not in {found}")
            for name in self.sequences_left_out
            if not any(objects.named([name]).any() for objects in sets)
        )

    def training_batches(
        self,
        data_root: str | Path,
        *,
        rank: int = 0,
        world_size: int = 1,
        processes: int = 0,
        progress: Progress | None = None,
    ) -> PairBatches:
        """Open the training pairs.

        Args:
            data_root: the folder that contains ``ILSVRC``, ``coco`` and ``LaSOTBenchmark``, those
                of them that ``training_sets`` name; the only one itself where it is one.
            rank: which share of every epoch.
            world_size: number of shares.
            processes: how many processes parse annotations, where no cache holds them.
            progress: told (videos read, videos in all) while they are parsed.

        Raises:
            DataError: if something is missing or bad, see ``on_bad_sample``.
        """
        template, search = (
            ViewRanges(
                size=size,
                shift=self.shift[place],
                scale=self.scale[place],
                colour_probability=self.colour_probability[place],
                brightness=self.brightness[place],
                blur_probability=self.blur_probability[place],
            )
            for place, size in enumerate((self.template_size, self.search_size))
        )
        return PairBatches(
            sets=self.training_objects(data_root, processes=processes, progress=progress),
            settings=PairSettings(
                weights=self.set_weights,
                frame_range=self.frame_range,
                positive_share=self.positive_share,
                crop=SiameseCrop(
                    context=self.context,
                    template_size=self.template_size,
                    crop_size=self.crop_size,
                ),
                template=template,
                search=search,
                grey_probability=self.grey_probability,
                cache_mb=self.cache_mb,
            ),
            pairs_per_epoch=self.pairs_per_epoch,
            pairs_per_batch=self.pairs_per_batch,
            on_bad_sample=self.on_bad_sample,
            rank=rank,
            world_size=world_size,
        )


def _within(name: str, value: float | tuple[float, ...], low: float, high: float) -> None:
    values = value if isinstance(value, tuple) else (value,)
    if not all(low <= each <= high for each in values):
        most = f" to {high}" if high < float("inf") else " or more"
        raise UserError(f"{name}={value!r}: expected {low}{most}")
