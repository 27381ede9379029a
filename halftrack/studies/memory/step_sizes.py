"""Sizes of a training step set from texts, as a user of the command line gives them."""

from __future__ import annotations

import re
from typing import TypeVar

from halftrack.errors import UserError
from halftrack.recipes import TrainedRecipe, override

__all__ = ["parse_image", "resized"]

RecipeT = TypeVar("RecipeT", bound=TrainedRecipe)


def parse_image(text: str) -> tuple[int, int]:
    """Height and width of e.g. ``608x1008``.

    Raises:
        ValueError: if it is none; says what is allowed.
    """
    match = re.fullmatch(r"\s*(\d+)x(\d+)\s*", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(size) < 1:
        raise UserError(f"image {text!r}: expected height x width in pixels, as 608x1008")
    return size


def resized(recipe: RecipeT, *, image: str | None = None, samples: int | None = None) -> RecipeT:
    """The recipe with other images, and another number of samples a step learns from.

    Args:
        recipe: all else.
        image: as ``parse_image`` takes it.
        samples: of a step; SELSA's clips are passed one by one and accumulated.

    Raises:
        ValueError: for a size that is none or that the recipe cannot have.
    """
    fields = [] if image is None else recipe.image_fields(parse_image(image))
    if samples is not None:
        fields.append(f"{recipe.batch_size_field}={samples}")
    return override(recipe, fields)
