"""What of a recipe decides how much its training step holds: images, and how many share a pass.

Sizes are set as a user sets them, by recipe fields; ``training_batch`` is a batch of such sizes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

import torch
from torch import Tensor

from halftrack.frames import Clip, CropBatch, Frame, FrameBatch, PairBatch
from halftrack.recipes import (
    FrameDetectionRecipe,
    ReIDRecipe,
    SingleObjectRecipe,
    TrainedRecipe,
    VideoDetectionRecipe,
    override,
)
from halftrack.training import Batch

__all__ = [
    "IDENTITIES",
    "Sharing",
    "image_fields",
    "image_size",
    "parse_image",
    "resized",
    "sharing",
    "spread_boxes",
    "training_batch",
    "with_identities",
]

RecipeT = TypeVar("RecipeT", bound=TrainedRecipe)

_CLIPS: dict[type[TrainedRecipe], str] = {
    VideoDetectionRecipe: "training.accumulate",
    FrameDetectionRecipe: "data.images_per_batch",
    ReIDRecipe: "data.identities_per_batch",
    SingleObjectRecipe: "data.pairs_per_batch",
}
_SHARING = _CLIPS | {VideoDetectionRecipe: "data.num_references"}
IDENTITIES = 1000
"""Taken where only the data can tell: more than the training set of any MOTChallenge has."""


@dataclass(frozen=True)
class Sharing:
    """A recipe's number of samples that share a pass."""

    field: str
    """Its name."""
    value: int
    """The recipe's own."""
    unit: int = 1
    """It is a multiple of this."""
    most: int | None = None
    """What the recipe allows; None for any."""

    def __str__(self) -> str:
        return f"{self.field}={self.value}"


def parse_image(text: str) -> tuple[int, int]:
    """Height and width of e.g. ``608x1008``.

    Raises:
        ValueError: if it is none; says what is allowed.
    """
    match = re.fullmatch(r"\s*(\d+)x(\d+)\s*", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(size) < 1:
        raise ValueError(f"image {text!r}: expected height x width in pixels, as 608x1008")
    return size


def resized(recipe: RecipeT, *, image: str | None = None, clips: int | None = None) -> RecipeT:
    """The recipe with other images, and another number of samples a step learns from.

    Args:
        recipe: all else.
        image: as ``parse_image`` takes it.
        clips: SELSA's are passed one by one and accumulated.

    Raises:
        ValueError: for a size that is none or that the recipe cannot have.
    """
    fields = [] if image is None else image_fields(recipe, parse_image(image))
    if clips is not None:
        fields.append(f"{_CLIPS[type(recipe)]}={clips}")
    return override(recipe, fields)


def with_identities(recipe: RecipeT) -> RecipeT:
    """The recipe with an ample number of individuals, where only the data could tell it."""
    if isinstance(recipe, ReIDRecipe) and recipe.model.identities is None:
        return override(recipe, [f"model.identities={IDENTITIES}"])
    return recipe


def sharing(recipe: TrainedRecipe) -> Sharing:
    """How many samples share a pass, and so what a step holds."""
    field = _SHARING[type(recipe)]
    value = attrgetter(field)(recipe)
    if isinstance(recipe, VideoDetectionRecipe):
        # On both sides of the key frame, each of its own.
        return Sharing(field=field, value=value, unit=2, most=2 * recipe.data.frame_range)
    return Sharing(field=field, value=value)


def image_size(recipe: TrainedRecipe) -> tuple[int, int]:
    """Height and width, in pixels, of the largest image that the recipe trains on."""
    if isinstance(recipe, VideoDetectionRecipe):
        short, long = sorted(recipe.data.image_scale)
        jitter = recipe.data.scale_jitter[1]
        return round(short * jitter), round(long * jitter)
    if isinstance(recipe, FrameDetectionRecipe):
        data = recipe.data
        limits = [round(side * data.ratio_range[1]) for side in sorted(data.image_scale)]
        height, width = (min(pair) for pair in zip(data.crop_size, limits, strict=True))
        return height, width
    if isinstance(recipe, ReIDRecipe):
        return recipe.model.crop_size
    assert isinstance(recipe, SingleObjectRecipe)
    return recipe.data.search_size, recipe.data.search_size


def image_fields(recipe: TrainedRecipe, size: tuple[int, int]) -> list[str]:
    """The assignments, as ``override`` takes them, with which images have that height and width.

    Raises:
        ValueError: for a search region that is not square or is larger than what it is cut from.
    """
    height, width = size
    scale = max(size), min(size)
    if isinstance(recipe, VideoDetectionRecipe):
        jitters = recipe.data.scale_jitter != (1.0, 1.0)
        return [f"data.image_scale={scale}", *["data.scale_jitter=(1.0, 1.0)"] * jitters]
    if isinstance(recipe, FrameDetectionRecipe):
        return [f"data.image_scale={scale}", f"data.crop_size={size}"]
    if isinstance(recipe, ReIDRecipe):
        return [f"model.crop_size={size}"]
    assert isinstance(recipe, SingleObjectRecipe)
    low, high = recipe.data.template_size, recipe.data.crop_size
    if height != width or not low <= height <= high:
        raise ValueError(
            f"image {height}x{width}: the search regions of {recipe.name} are square, "
            f"{low} to {high} pixels a side"
        )
    return [f"data.search_size={height}", f"model.search_size={height}"]


def training_batch(
    recipe: TrainedRecipe, *, objects: int, forget: Callable[[Tensor], Tensor] = lambda x: x
) -> Batch:
    """A batch of the recipe's largest size, black.

    Args:
        recipe: whose sizes.
        objects: boxes to learn in each frame of a detector.
        forget: applied to each tensor whose values decide no shape.
    """
    height, width = image_size(recipe)
    if isinstance(recipe, VideoDetectionRecipe | FrameDetectionRecipe):
        kind = torch.uint8 if isinstance(recipe, VideoDetectionRecipe) else torch.float32
        frame = Frame(
            image=forget(torch.zeros((3, height, width), dtype=kind)),
            sample_id="planned",
            boxes_xyxy=forget(spread_boxes(objects, (height, width))),
            labels=forget(torch.zeros((objects,), dtype=torch.int64)),
        )
        if isinstance(recipe, VideoDetectionRecipe):
            return Clip(key=frame, references=(frame,) * recipe.data.num_references)
        return FrameBatch(frames=(frame,) * recipe.data.images_per_batch)
    if isinstance(recipe, ReIDRecipe):
        each = recipe.data.crops_per_identity
        labels = torch.arange(recipe.data.identities_per_batch).repeat_interleave(each)
        assert recipe.model.identities is not None
        return CropBatch(
            images=forget(torch.zeros((len(labels), 3, height, width))),
            labels=labels % recipe.model.identities,
            sample_ids=("planned",) * len(labels),
        )
    assert isinstance(recipe, SingleObjectRecipe)
    count, template = recipe.data.pairs_per_batch, recipe.data.template_size
    return PairBatch(
        templates=forget(torch.zeros((count, 3, template, template))),
        searches=forget(torch.zeros((count, 3, height, width))),
        boxes_xyxy=spread_boxes(1, (height, width)).repeat(count, 1),
        positive=torch.ones(count, dtype=torch.bool),
        sample_ids=("planned",) * count,
    )


def spread_boxes(count: int, size: tuple[int, int]) -> Tensor:
    """Boxes ``(count, 4)`` of all sizes, from half of an image to a thirtieth, inside it."""
    sides = torch.tensor(size[::-1]) * torch.logspace(-1, -5, count, base=2)[:, None]
    corners = (torch.tensor(size[::-1]) - sides) * torch.linspace(0, 1, count)[:, None]
    return torch.cat([corners, corners + sides], dim=1)
