"""Sizes of a training step set from texts, as a user of the command line gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from halftrack.bounds import shown
from halftrack.errors import UserError
from halftrack.recipes import override

if TYPE_CHECKING:
    from halftrack.recipes import TrainedRecipe

__all__ = ["parse_image", "resized"]

_LEAST = 16  # pixels of a side: less is no image to any of the models
RecipeT = TypeVar("RecipeT", bound="TrainedRecipe")


def parse_image(text: str) -> tuple[int, int]:
    """Height and width of e.g. ``608x1008``.

    Raises:
        ValueError: if it is none; says what is allowed.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})x([0-9]{1,9})\s*", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(size) < _LEAST:
        raise UserError(
            f"image {shown(text)} (--image): expected height x width in pixels, each at least "
            f"{_LEAST}, as 608x1008"
        )
    return size


def resized(recipe: RecipeT, *, image: str | None = None, samples: int | None = None) -> RecipeT:
    """The recipe with other images, and another number of samples a step learns from.

    Args:
        recipe: all else.
        image: as ``parse_image`` takes it.
        samples: of a step; SELSA's clips share a pass only by ``training.clips_per_pass``.

    Raises:
        ValueError: for a size that is none or that the recipe cannot have.
    """
    fields = [] if image is None else recipe.image_fields(parse_image(image))
    if samples is not None:
        fields.append(f"{recipe.batch_size_field}={samples}")
    return override(recipe, fields)
