"""Configuration of single-object data: pairs to learn from, benchmarks to track in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.data.index import Classes
from halftrack.data.problems import OnBadSample
from halftrack.data.vid.config import IMAGENET_VID_CLASSES
from halftrack.errors import UserError
from halftrack.layers.siamese import SiameseGeometry

__all__ = [
    "BLUR_SIZES",
    "LasotSplit",
    "PairDataConfig",
    "PairSet",
    "SotBenchmark",
    "SotSplit",
]

SotBenchmark = Literal["LaSOT", "OTB100", "UAV123", "TrackingNet", "GOT-10k", "VOT2018"]
"""A data set. VOT2018 is read for one-pass evaluation; it has no restarts here."""
SotSplit = Literal["train", "val", "test"]
"""OTB100, UAV123 and VOT2018 have only ``test``, LaSOT and TrackingNet no ``val``."""
PairSet = Literal["vid", "det", "coco", "lasot"]
"""A data set that pairs come from: ImageNet VID and DET, COCO, sequences in LaSOT's layout."""
LasotSplit = Literal["train", "test", "all"]
"""LaSOT's sequences: those that ``testing_set.txt`` does not name, those it does, or both."""
BLUR_SIZES = range(5, 46, 2)
"""Lengths of the blur's arms that are drawn from, in pixels."""


@dataclass(frozen=True, kw_only=True)
class PairDataConfig:
    """Pairs for single-object tracking; the defaults are SiamRPN++'s published recipe for LaSOT.

    The sizes of template and search region are the model's, see ``SiameseGeometry``. Fields of two
    values are for the template and for the search region.
    """

    training_sets: tuple[PairSet, ...] = ("vid", "det", "coco")
    """The data sets that pairs are drawn from."""
    set_weights: Annotated[tuple[float, ...], Bounds(least=0, most=1e6)] = (0.25, 0.55, 0.2)
    """Rate at which each set is drawn from, relative to the others."""
    vid_classes: Classes = IMAGENET_VID_CLASSES
    """Classes of the objects of ``vid``, each as (name, wnid); elsewhere any class counts."""
    lasot_split: LasotSplit = "train"
    """The sequences of ``lasot``: those ``testing_set.txt`` does not name, those it does, all."""
    lasot_infos: str = ""
    """MMTracking's ``lasot_train_infos.txt``, whose sequences are taken in the place of
    ``lasot_split``."""
    training_json: tuple[str, ...] = ()
    """CocoVID files, one for each training set, in the place of its own annotations; an empty name
    keeps these. Each lies below ILSVRC, or below coco."""
    sequences_left_out: tuple[str, ...] = ()
    """Videos that no pair comes from, by path below the set's folder or by its last part."""
    frame_range: Annotated[int, Bounds(least=1, most=1_000_000)] = 100
    """Largest distance of the search region from its template, counted in the object's boxes."""
    positive_share: Share = 0.8
    """Share of pairs that show the same object twice."""
    crop_size: Annotated[int, Bounds(least=1, most=16_384)] = 511
    """Width and height of the crop that both are cut from, in pixels."""
    shift: Annotated[tuple[float, float], Bounds(least=0, most=16_384)] = (4, 64)
    """Most that template and search region are moved either way, in pixels of the crop."""
    scale: Annotated[tuple[float, float], Bounds(least=0, most=0.99)] = (0.05, 0.18)
    """Largest share by which template and search region are scaled, drawn for each axis."""
    colour_probability: Annotated[tuple[float, float], Bounds(least=0, most=1)] = (1.0, 1.0)
    """Chance that colours of template and search region are moved."""
    brightness: Annotated[tuple[float, float], Bounds(least=0, most=1)] = (0.0, 0.0)
    """Largest share by which template and search region become brighter or darker, each drawn
    apart; published is none."""
    blur_probability: Annotated[tuple[float, float], Bounds(least=0, most=1)] = (0.0, 0.2)
    """Chance that template and search region are blurred."""
    grey_probability: Share = 0.0
    """Chance that both images of a pair are turned grey; 0.2 in the OTB100 recipe."""
    pairs_per_batch: Annotated[int, Bounds(least=1, most=100_000)] = 28
    """Pairs in a training batch."""
    pairs_per_epoch: Annotated[int, Bounds(least=1, most=10**10)] = 600_000
    """Pairs in an epoch."""
    cache_mb: Annotated[int, Bounds(least=0, most=10_000_000)] = 0
    """Memory for crops that were cut already, in MiB and for each worker process; 0 for none. Held
    crops are JPEG files, so pixels differ a little from those of a run without."""
    on_bad_sample: OnBadSample = field(default="error", metadata={"free": True})
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it. Free to
    change when a run is resumed, for a run that a bad file stopped."""

    def __post_init__(self) -> None:
        check_bounds(self)
        for name, value, allowed in (
            ("training_sets", self.training_sets, get_args(PairSet)),
            ("lasot_split", (self.lasot_split,), get_args(LasotSplit)),
            ("on_bad_sample", (self.on_bad_sample,), get_args(OnBadSample)),
        ):
            if not value or not set(value) <= set(allowed):
                told = getattr(self, name)
                raise UserError(f"{name}={told!r}: expected {', '.join(map(repr, allowed))}")
        if self.training_json and len(self.training_json) != len(self.training_sets):
            raise UserError(
                f"training_json={self.training_json!r}: expected one file for each of "
                f"training_sets={self.training_sets!r}, or none"
            )
        if any(file and name == "lasot" for name, file in self._files()):
            raise UserError(
                f"training_json={self.training_json!r}: lasot is read from its own files; leave "
                "its name empty, and list its sequences by lasot_infos"
            )
        weights = self.set_weights
        if len(weights) != len(self.training_sets) or sum(weights) <= 0:
            raise UserError(
                f"set_weights={weights!r}: expected one number for each of "
                f"training_sets={self.training_sets!r}, none negative and not all 0"
            )

    def json_of(self, name: PairSet) -> str:
        """The CocoVID file of a training set; empty for its own annotations."""
        return dict(self._files()).get(name, "")

    def _files(self) -> Iterable[tuple[PairSet, str]]:
        return zip(self.training_sets, self.training_json, strict=False)

    def check_geometry(self, geometry: SiameseGeometry) -> None:
        """Make sure that template and search region can be cut from a crop and blurred.

        Raises:
            ValueError: names the fields that do not go together.
        """
        if geometry.search_size > self.crop_size:
            raise UserError(
                f"search_size={geometry.search_size!r}, crop_size={self.crop_size!r}: a search "
                "region is cut from the crop and cannot be larger"
            )
        sizes = (geometry.template_size, geometry.search_size)
        for size, chance in zip(sizes, self.blur_probability, strict=True):
            if chance > 0 and size <= BLUR_SIZES[-1] // 2:
                raise UserError(
                    f"blur_probability={self.blur_probability!r}: an image of {size} px is too "
                    f"small for a blur, expected more than {BLUR_SIZES[-1] // 2}"
                )
