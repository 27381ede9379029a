"""The one explicit list of recipes: published name to function, imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from halftrack.bounds import shown
from halftrack.errors import UserError

if TYPE_CHECKING:
    from halftrack.recipes.kinds.recipe import Recipe

__all__ = ["RECIPES", "RecipeEntry", "find_entry", "load_recipe"]


@dataclass(frozen=True, kw_only=True)
class RecipeEntry:
    """A recipe as it is listed, without importing it."""

    function: str
    """``file:function`` in ``halftrack.recipes.published``."""
    arguments: tuple[object, ...]
    """Positional arguments of the function."""
    options: Mapping[str, object]
    """Keyword arguments of the function."""
    precision: str
    """fp32, tf32, bf16 or fp16."""
    summary: str
    """One line that says what is trained or tracked, and the published scores."""

    def build(self) -> Recipe:
        """The recipe with this summary; imports torch."""
        file, function = self.function.split(":")
        module = importlib.import_module(f"halftrack.recipes.published.{file}")
        recipe: Recipe = getattr(module, function)(*self.arguments, **self.options)
        return replace(recipe, summary=self.summary)


def _entry(
    function: str, precision: str, summary: str, *arguments: object, **options: object
) -> RecipeEntry:
    return RecipeEntry(
        function=function,
        arguments=arguments,
        options=options,
        precision=precision,
        summary=summary,
    )


RECIPES: dict[str, RecipeEntry] = {
    "selsa_faster_rcnn_r50_dc5_1x_imagenetvid": _entry(
        "selsa:r50", "fp32", "SELSA R50-DC5, ImageNet VID, 7 epochs; published AP50 78.4"
    ),
    "selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid": _entry(
        "selsa:r50_fp16", "fp16", "the same in fp16, static loss scale 512; published AP50 78.7"
    ),
    "selsa_faster_rcnn_r101_dc5_1x_imagenetvid": _entry(
        "selsa:r101", "fp32", "SELSA R101-DC5, ImageNet VID, 7 epochs"
    ),
    "selsa_faster_rcnn_x101_dc5_1x_imagenetvid": _entry(
        "selsa:x101", "fp32", "SELSA X101-64x4d-DC5, ImageNet VID, 7 epochs"
    ),
    "selsa_tiny_sample": _entry(
        "selsa:tiny_sample", "fp32", "a narrow SELSA R18 for synthetic video, on a laptop"
    ),
    "faster-rcnn_r50_fpn_4e_mot15-half": _entry(
        "faster_rcnn:published",
        "fp32",
        "Tracktor's detector, Faster R-CNN R50-FPN, MOT15 half-train",
        "MOT15",
    ),
    "faster-rcnn_r50_fpn_4e_mot16-half": _entry(
        "faster_rcnn:published",
        "fp32",
        "Tracktor's detector, Faster R-CNN R50-FPN, MOT16 half-train",
        "MOT16",
    ),
    "faster-rcnn_r50_fpn_4e_mot17-half": _entry(
        "faster_rcnn:published",
        "fp32",
        "Tracktor's detector, Faster R-CNN R50-FPN, MOT17 half-train",
    ),
    "faster-rcnn_r50_fpn_fp16_4e_mot17-half": _entry(
        "faster_rcnn:published",
        "fp16",
        "Tracktor's detector, Faster R-CNN R50-FPN, MOT17 half-train",
        "MOT17",
        "fp16",
    ),
    "faster-rcnn_r50_fpn_8e_mot20-half": _entry(
        "faster_rcnn:published",
        "fp32",
        "Tracktor's detector, Faster R-CNN R50-FPN, MOT20 half-train",
        "MOT20",
    ),
    "faster-rcnn_r101_fpn_4e_mot17-half": _entry(
        "faster_rcnn:published",
        "fp32",
        "Faster R-CNN R101-FPN, MOT17 half-train",
        depth=101,
    ),
    "faster-rcnn_r50_fpn_4e_mot17": _entry(
        "faster_rcnn:published",
        "fp32",
        "Tracktor's detector, Faster R-CNN R50-FPN, MOT17, all training frames, scored on them",
        whole=True,
    ),
    "faster-rcnn_r50_fpn_8e_mot20": _entry(
        "faster_rcnn:published",
        "fp32",
        "Tracktor's detector, Faster R-CNN R50-FPN, MOT20, all training frames, scored on them",
        "MOT20",
        whole=True,
    ),
    "faster-rcnn_tiny_sample": _entry(
        "faster_rcnn:tiny_sample",
        "fp32",
        "a narrow Faster R-CNN R18-FPN for synthetic video, on a laptop",
    ),
    "resnet50_b32x8_MOT15": _entry(
        "reid:published",
        "fp32",
        "Tracktor's ReID R50, MOT15, whole videos (half-val leaks in, as published)",
        "MOT15",
    ),
    "resnet50_b32x8_MOT16": _entry(
        "reid:published",
        "fp32",
        "Tracktor's ReID R50, MOT16, whole videos (half-val leaks in, as published)",
        "MOT16",
    ),
    "resnet50_b32x8_MOT17": _entry(
        "reid:published",
        "fp32",
        "Tracktor's ReID R50, MOT17, whole videos (half-val leaks in, as published)",
    ),
    "resnet50_b32x8_MOT17-half": _entry(
        "reid:published", "fp32", "Tracktor's ReID R50, MOT17, half-train", clean=True
    ),
    "resnet50_b32x8_MOT20": _entry(
        "reid:published",
        "fp32",
        "Tracktor's ReID R50, MOT20, whole videos (half-val leaks in, as published)",
        "MOT20",
    ),
    "reid_r50_fp16_8x32_6e_mot17": _entry(
        "reid:published",
        "fp16",
        "Tracktor's ReID R50, MOT17, whole videos (half-val leaks in, as published)",
        "MOT17",
        "fp16",
    ),
    "reid_tiny_sample": _entry(
        "reid:tiny_sample", "fp32", "a narrow ReID R18 for synthetic video, on a laptop"
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot15-private-half": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_4e_mot15-half and resnet50_b32x8_MOT15, private, half-val",
        "MOT15",
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot15-public-half": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_4e_mot15-half and resnet50_b32x8_MOT15, public, half-val",
        "MOT15",
        public=True,
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot16-private-half": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_4e_mot16-half and resnet50_b32x8_MOT16, private, half-val",
        "MOT16",
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot16-public-half": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_4e_mot16-half and resnet50_b32x8_MOT16, public, half-val",
        "MOT16",
        public=True,
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-private-half": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_4e_mot17-half and resnet50_b32x8_MOT17, private,"
        " half-val; published MOTA 64.1, IDF1 66.9",
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-public-half": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_4e_mot17-half and resnet50_b32x8_MOT17, public, half-val",
        public=True,
    ),
    "tracktor_faster-rcnn_r50_fpn_fp16_4e_mot17-private-half": _entry(
        "tracktor:published",
        "fp16",
        "Tracktor of faster-rcnn_r50_fpn_fp16_4e_mot17-half and "
        "reid_r50_fp16_8x32_6e_mot17, private, half-val; published 64.7, 66.6",
        "MOT17",
        "fp16",
    ),
    "tracktor_faster-rcnn_r50_fpn_8e_mot20-private-half": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_8e_mot20-half and resnet50_b32x8_MOT20, private, half-val",
        "MOT20",
    ),
    "tracktor_faster-rcnn_r50_fpn_8e_mot20-public-half": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_8e_mot20-half and resnet50_b32x8_MOT20, public, half-val",
        "MOT20",
        public=True,
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-private": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_4e_mot17 and resnet50_b32x8_MOT17, private, official test"
        " set: result files, no scores",
        whole=True,
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-public": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_4e_mot17 and resnet50_b32x8_MOT17, public, official test"
        " set: result files, no scores",
        public=True,
        whole=True,
    ),
    "tracktor_faster-rcnn_r50_fpn_8e_mot20-public": _entry(
        "tracktor:published",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_8e_mot20 and resnet50_b32x8_MOT20, public, official test"
        " set: result files, no scores",
        "MOT20",
        public=True,
        whole=True,
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-public-half_search": _entry(
        "tracktor:searched",
        "fp32",
        "Tracktor of faster-rcnn_r50_fpn_4e_mot17-half and resnet50_b32x8_MOT17, public, half-val,"
        " with the settings to search over",
    ),
    "tracktor_tiny_sample": _entry(
        "tracktor:tiny_sample", "fp32", "Tracktor of faster-rcnn_tiny_sample and reid_tiny_sample"
    ),
    "siamese_rpn_r50_20e_lasot": _entry(
        "siamrpn:published",
        "fp32",
        "SiamRPN++ R50, 20 epochs of pairs, LaSOT; published success 50.4, normalised "
        "precision 59.6",
    ),
    "siamese_rpn_r50_fp16_20e_lasot": _entry(
        "siamrpn:lasot_fp16",
        "fp16",
        "the same in fp16, static loss scale 512; published success 49.1, later 50.4",
    ),
    "siamese_rpn_r50_20e_otb100": _entry(
        "siamrpn:published", "fp32", "SiamRPN++ R50, 20 epochs of pairs, OTB100", "OTB100"
    ),
    "siamese_rpn_r50_20e_uav123": _entry(
        "siamrpn:published", "fp32", "SiamRPN++ R50, 20 epochs of pairs, UAV123", "UAV123"
    ),
    "siamese_rpn_r50_20e_trackingnet": _entry(
        "siamrpn:published", "fp32", "SiamRPN++ R50, 20 epochs of pairs, TrackingNet", "TrackingNet"
    ),
    "siamese_rpn_r50_20e_vot2018": _entry(
        "siamrpn:published", "fp32", "SiamRPN++ R50, 20 epochs of pairs, VOT2018", "VOT2018"
    ),
    "siamese_rpn_tiny_sample": _entry(
        "siamrpn:tiny_sample", "fp32", "a narrow SiamRPN++ R18 for synthetic video, on a laptop"
    ),
}
_LONGEST = 100  # characters of a name that is compared with those there are
_OTHER_NAMES = {"siamese_rpn_r50_fp16_1x_lasot": "siamese_rpn_r50_fp16_20e_lasot"}


def load_recipe(name: str | Recipe) -> Recipe:
    """The recipe of that name; what is a recipe already, as it is.

    Raises:
        UserError: if there is none; gives the three nearest names.
    """
    return find_entry(name).build() if isinstance(name, str) else name


def find_entry(name: str) -> RecipeEntry:
    """The listed recipe of that name, without importing it.

    Raises:
        UserError: if there is none; gives the three nearest names.
    """
    name = _OTHER_NAMES.get(name, name)
    if name not in RECIPES:
        near = ", ".join(_nearest(name))
        raise UserError(
            f"no recipe {shown(name)}; the nearest are {near}; see `halftrack recipes` for all"
        )
    return RECIPES[name]


def _nearest(name: str) -> list[str]:
    """Three names that share the most words with this one, and then the most letters."""
    name = name[:_LONGEST]
    words = re.split("[_-]", name.lower())

    def likeness(other: str) -> tuple[int, float]:
        shared = sum(word in other.lower() for word in words)
        return shared, difflib.SequenceMatcher(None, name, other).ratio()

    return sorted(RECIPES, key=likeness, reverse=True)[:3]
