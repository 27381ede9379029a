"""Layouts that recipes read, each with a small tree and small recipes that train or test on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import small_trees as trees
from small_trees import CLASSES, Tree

from halftrack.data.mot import MotDetectionConfig, ReIDDataConfig
from halftrack.data.sot import PairDataConfig
from halftrack.data.vid import VidDataConfig
from halftrack.layers import SiameseGeometry
from halftrack.recipes import Recipe, load_recipe

_SIZES: dict[str, Any] = {"image_scale": (64, 48), "min_size": 8}
Recipes = Callable[[Path], Sequence[Recipe]]


@dataclass(frozen=True)
class Layout:
    """A data set's layout, and the recipes that read it."""

    name: str
    tree: Callable[[], Tree]
    """Makes a valid tree."""
    damaged: str
    """The folder of what is damaged; empty for all."""
    recipes: Recipes
    """The recipes that train or test on it, given the data root; trees take them by turns."""


def _selsa(**changes: Any) -> Recipe:
    recipe: Any = load_recipe("selsa_tiny_sample")
    data = VidDataConfig(classes=CLASSES, test_references=3, **_SIZES, **changes)
    head = replace(recipe.model.roi_head, num_classes=len(CLASSES))
    return replace(recipe, data=data, model=replace(recipe.model, roi_head=head))


def _siamese(
    trained: Any, benchmark: str, *, pairs: int = 24, read: Any = None, **changes: Any
) -> Recipe:
    recipe: Any = load_recipe("siamese_rpn_tiny_sample")
    data = PairDataConfig(
        training_sets=(trained,),
        set_weights=(1.0,),
        vid_classes=CLASSES,
        crop_size=63,
        shift=(1, 8),
        blur_probability=(0.0, 0.0),
        pairs_per_batch=4,
        pairs_per_epoch=pairs,
        **(read or {}),
    )
    geometry = SiameseGeometry(template_size=31, search_size=63, template_cells=3)
    model = replace(recipe.model, geometry=geometry)
    return replace(recipe, data=data, model=model, benchmark=benchmark, **changes)


def _vid(_: Path) -> list[Recipe]:
    return [_selsa(training_sets=("vid",)), _siamese("vid", "VOT2018")]


def _det(_: Path) -> list[Recipe]:
    return [_selsa(training_sets=("det",)), _siamese("det", "VOT2018")]


def _cocovid(_: Path) -> list[Recipe]:
    return [_selsa(training_sets=("vid",), training_json=("train.json",), test_json="val.json")]


def _cocovid_pairs(_: Path) -> list[Recipe]:
    return [_siamese("vid", "VOT2018", read={"training_json": ("train.json",)})]


def _coco(_: Path) -> list[Recipe]:
    return [_siamese("coco", "VOT2018")]


def _lasot(root: Path) -> list[Recipe]:
    """Trained and tested on LaSOT, without and with the flags of its kit."""
    flags = str(root / "annos/att")
    return [_siamese("lasot", "LaSOT", attributes=each) for each in (None, flags)]


def _infos(root: Path) -> list[Recipe]:
    """Trained and tested on the sequences of MMTracking's lists."""
    trained, tested = (root / f"annotations/lasot_{part}_infos.txt" for part in ("train", "test"))
    return [_siamese("lasot", "LaSOT", read={"lasot_infos": str(trained)}, infos=str(tested))]


def _tested(benchmark: str, *splits: str) -> Recipes:
    """Trained on COCO, tested on each of some splits of a benchmark."""
    return lambda _: [_siamese("coco", benchmark, pairs=4, split=split) for split in splits]


def _multi_object(benchmark: Any) -> Recipes:
    """A detector, an embedder and three trackers: of half-val, of its public boxes, of the test."""

    def recipes(_: Path) -> list[Recipe]:
        detector: Any = load_recipe("faster-rcnn_tiny_sample")
        embedder: Any = load_recipe("reid_tiny_sample")
        tracker: Any = replace(
            load_recipe("tracktor_tiny_sample"),
            reid=None,  # type: ignore[call-arg]
            camera_motion=None,
        )
        half = MotDetectionConfig(
            benchmark=benchmark, crop_size=(32, 32), images_per_batch=3, **_SIZES
        )
        people = ReIDDataConfig(
            benchmark=benchmark,
            min_crops=2,
            max_crops=8,
            identities_per_batch=2,
            crops_per_identity=2,
        )
        test = replace(half, training_split="train", test_split="test")
        return [
            replace(detector, data=half),
            replace(tracker, data=half),
            replace(embedder, data=people),
            replace(tracker, data=replace(half, public=True)),
            replace(tracker, data=test),
        ]

    return recipes


def _cocovid_mot(root: Path) -> list[Recipe]:
    """The detector and the tracker of half-val, on CocoVID files."""
    detector, tracker, *_ = _multi_object("MOT17")(root)
    files = {part: f"annotations/half-{part}_cocoformat.json" for part in ("train", "val")}
    data: Any = replace(
        detector.data,  # type: ignore[attr-defined]
        training_json=files["train"],
        test_json=files["val"],
    )
    return [replace(each, data=data) for each in (detector, tracker)]  # type: ignore[call-arg]


def _crop_lists(root: Path) -> list[Recipe]:
    embedder: Any = _multi_object("MOT17")(root)[2]
    lists = {"training_list": "reid/meta/train_80.txt", "validation_list": "reid/meta/val_20.txt"}
    return [replace(embedder, data=replace(embedder.data, **lists))]


def _tracker(root: Path) -> list[Recipe]:
    return [_multi_object("MOT17")(root)[1]]


LAYOUTS = (
    Layout("ImageNet VID", lambda: trees.vid() | trees.vot(), "ILSVRC", _vid),
    Layout("ImageNet DET", lambda: trees.det() | trees.vot(), "ILSVRC", _det),
    Layout("CocoVID", trees.cocovid, "ILSVRC", _cocovid),
    Layout("CocoVID pairs", lambda: trees.cocovid() | trees.vot(), "ILSVRC", _cocovid_pairs),
    Layout("CocoVID of MOT17", trees.cocovid_mot, "MOT17", _cocovid_mot),
    Layout("crops of MOT17", trees.crop_lists, "MOT17", _crop_lists),
    Layout("LaSOT by lists", trees.lasot_infos, "annotations", _infos),
    Layout("COCO", trees.vot, "coco", _coco),
    *(
        Layout(name, partial(trees.mot, name), name, _multi_object(name))
        for name in ("MOT15", "MOT16", "MOT17", "MOT20")
    ),
    Layout("LaSOT", trees.lasot, "", _lasot),
    Layout("OTB100", trees.otb, "OTB100", _tested("OTB100", "test")),
    Layout("UAV123", trees.uav, "UAV123", _tested("UAV123", "test")),
    Layout(
        "TrackingNet", trees.trackingnet, "TrackingNet", _tested("TrackingNet", "test", "train")
    ),
    Layout("GOT-10k", trees.got10k, "GOT-10k", _tested("GOT-10k", "test", "val")),
    Layout("VOT2018", trees.vot, "VOT2018", _tested("VOT2018", "test")),
    Layout("results of MOT17", trees.mot_results, "results", _tracker),
    Layout("results of LaSOT", trees.lasot_results, "results", _lasot),
)
"""Every layout of ``halftrack.data``, and the result files of both kinds of trackers."""
