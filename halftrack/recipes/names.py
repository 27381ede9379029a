"""The one explicit list of recipes: published name to function."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from halftrack.recipes import selsa
from halftrack.recipes.recipe import Recipe

__all__ = ["RECIPES", "load_recipe"]

RECIPES: dict[str, Callable[[], Recipe]] = {
    "selsa_faster_rcnn_r50_dc5_1x_imagenetvid": selsa.r50,
    "selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid": selsa.r50_fp16,
    "selsa_faster_rcnn_r101_dc5_1x_imagenetvid": selsa.r101,
    "selsa_faster_rcnn_x101_dc5_1x_imagenetvid": selsa.x101,
    "selsa_tiny_sample": selsa.tiny_sample,
}


def load_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: if there is none; names the nearest and lists all.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.0)
        raise ValueError(
            f"no recipe {name!r}; the nearest is {near[0]!r}; there are {', '.join(RECIPES)}"
        )
    return RECIPES[name]()
