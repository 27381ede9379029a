"""The one explicit list of recipes: published name to function."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from halftrack.recipes.kinds.recipe import Recipe
from halftrack.recipes.published import selsa, siamrpn, tracktor

__all__ = ["RECIPES", "load_recipe"]

RECIPES: dict[str, Callable[[], Recipe]] = {
    "selsa_faster_rcnn_r50_dc5_1x_imagenetvid": selsa.r50,
    "selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid": selsa.r50_fp16,
    "selsa_faster_rcnn_r101_dc5_1x_imagenetvid": selsa.r101,
    "selsa_faster_rcnn_x101_dc5_1x_imagenetvid": selsa.x101,
    "selsa_tiny_sample": selsa.tiny_sample,
    "faster-rcnn_r50_fpn_4e_mot15-half": partial(tracktor.detector, "MOT15"),
    "faster-rcnn_r50_fpn_4e_mot16-half": partial(tracktor.detector, "MOT16"),
    "faster-rcnn_r50_fpn_4e_mot17-half": tracktor.detector,
    "faster-rcnn_r50_fpn_fp16_4e_mot17-half": partial(tracktor.detector, "MOT17", "fp16"),
    "faster-rcnn_r50_fpn_8e_mot20-half": partial(tracktor.detector, "MOT20"),
    "faster-rcnn_tiny_sample": tracktor.tiny_detector,
    "resnet50_b32x8_MOT15": partial(tracktor.reid, "MOT15"),
    "resnet50_b32x8_MOT16": partial(tracktor.reid, "MOT16"),
    "resnet50_b32x8_MOT17": tracktor.reid,
    "resnet50_b32x8_MOT17-half": partial(tracktor.reid, clean=True),
    "resnet50_b32x8_MOT20": partial(tracktor.reid, "MOT20"),
    "reid_r50_fp16_8x32_6e_mot17": partial(tracktor.reid, "MOT17", "fp16"),
    "reid_tiny_sample": tracktor.tiny_reid,
    "tracktor_faster-rcnn_r50_fpn_4e_mot15-private-half": partial(tracktor.tracker, "MOT15"),
    "tracktor_faster-rcnn_r50_fpn_4e_mot15-public-half": partial(
        tracktor.tracker, "MOT15", public=True
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot16-private-half": partial(tracktor.tracker, "MOT16"),
    "tracktor_faster-rcnn_r50_fpn_4e_mot16-public-half": partial(
        tracktor.tracker, "MOT16", public=True
    ),
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-private-half": tracktor.tracker,
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-public-half": partial(tracktor.tracker, public=True),
    "tracktor_faster-rcnn_r50_fpn_fp16_4e_mot17-private-half": partial(
        tracktor.tracker, "MOT17", "fp16"
    ),
    "tracktor_faster-rcnn_r50_fpn_8e_mot20-private-half": partial(tracktor.tracker, "MOT20"),
    "tracktor_faster-rcnn_r50_fpn_8e_mot20-public-half": partial(
        tracktor.tracker, "MOT20", public=True
    ),
    "tracktor_tiny_sample": tracktor.tiny_tracker,
    "siamese_rpn_r50_20e_lasot": siamrpn.published,
    "siamese_rpn_r50_fp16_20e_lasot": siamrpn.lasot_fp16,
    "siamese_rpn_r50_20e_otb100": partial(siamrpn.published, "OTB100"),
    "siamese_rpn_r50_20e_uav123": partial(siamrpn.published, "UAV123"),
    "siamese_rpn_r50_20e_trackingnet": partial(siamrpn.published, "TrackingNet"),
    "siamese_rpn_r50_20e_vot2018": partial(siamrpn.published, "VOT2018"),
    "siamese_rpn_tiny_sample": siamrpn.tiny_sample,
}
_OTHER_NAMES = {"siamese_rpn_r50_fp16_1x_lasot": "siamese_rpn_r50_fp16_20e_lasot"}


def load_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: if there is none; names the nearest and lists all.
    """
    name = _OTHER_NAMES.get(name, name)
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.0)
        raise ValueError(
            f"no recipe {name!r}; the nearest is {near[0]!r}; there are {', '.join(RECIPES)}"
        )
    return RECIPES[name]()
