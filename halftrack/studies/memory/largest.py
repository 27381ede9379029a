"""The most samples and the largest images with which a step fits, found in few predictions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from halftrack.recipes import Sharing, TrainedRecipe, override

__all__ = ["Largest", "largest_image", "largest_that_fits", "most_samples"]

Peak = Callable[[TrainedRecipe], int]
_MOST = 16  # times a recipe's own size; beyond, a prediction would take minutes
_CELL = 16  # px: network input is padded to multiples of it


@dataclass(frozen=True, kw_only=True)
class Largest:
    """The largest size of one kind with which the step fits, all else as in the recipe."""

    precision: str
    """The precision's name."""
    settings: tuple[str, ...]
    """The fields to set for it; none if not even the least fits."""
    peak: int
    """Live bytes then; 0 if nothing fits."""
    bounded: bool
    """True if the search ended at its bound: larger ones may fit, or the recipe has none."""


def most_samples(recipe: TrainedRecipe, own: Sharing, peak: Peak, budget: float) -> Largest:
    """The largest number of samples (of SELSA: clips, or reference frames) that can share a pass.

    Args:
        recipe: all else.
        own: the number that grows.
        peak: predicts the live bytes of a recipe's step.
        budget: live bytes there may be.
    """

    def fields(times: int) -> list[str]:
        return own.fields(own.unit * times)

    start = own.value // own.unit
    most = start * _MOST if own.most is None else own.most // own.unit
    return _largest(recipe, fields, peak, budget, start=start, most=most)


def largest_image(recipe: TrainedRecipe, peak: Peak, budget: float) -> Largest:
    """The largest images that fit, sides in the recipe's proportion and multiples of 16 pixels.

    Args:
        recipe: all else.
        peak: predicts the live bytes of a recipe's step.
        budget: live bytes there may be.
    """
    own = recipe.image_size
    cells = -(-min(own) // _CELL)

    def fields(short: int) -> list[str]:
        height, width = (round(side / min(own) * short) * _CELL for side in own)
        return recipe.image_fields((height, width))

    most = cells * round(_MOST**0.5)
    return _largest(recipe, fields, peak, budget, start=cells, most=most, power=2)


def _largest(
    recipe: TrainedRecipe,
    fields: Callable[[int], list[str]],
    peak: Peak,
    budget: float,
    *,
    start: int,
    most: int,
    power: int = 1,
) -> Largest:
    peak_at = functools.cache(lambda size: peak(override(recipe, fields(size))))
    size = largest_that_fits(peak_at, budget, start=start, most=most, power=power)
    return Largest(
        precision=recipe.precision.name,
        settings=tuple(fields(size)) if size else (),
        peak=peak_at(size) if size else 0,
        bounded=size == most,
    )


def largest_that_fits(
    peak: Callable[[int], int], budget: float, *, start: int, most: int, power: int = 1
) -> int:
    """The largest size from 1 to ``most`` with ``peak(size) <= budget``; 0 if not even 1 fits.

    Args:
        peak: bytes at a size; must not fall as the size grows.
        budget: bytes there are.
        start: the size asked about first.
        most: the largest size asked about.
        power: bytes grow about as this power of the size; good guesses need fewer predictions.
    """
    fits, fails, size = 0, most + 1, start
    asked: dict[int, int] = {}
    while fails - fits > 1:
        asked[size] = peak(size)
        if asked[size] <= budget:
            fits = size
        else:
            fails = size
        # A curve that defies its power is halved instead.
        guess = _guess(asked, budget, power) if len(asked) < 8 else (fits + fails) // 2
        size = min(max(guess, fits + 1), fails - 1)
    return fits


def _guess(asked: Mapping[int, int], budget: float, power: int) -> int:
    """Where the straight line through the nearest two points, over ``size ** power``, meets it."""
    near = sorted(asked, key=lambda size: abs(asked[size] - budget))[:2]
    points = [(float(size**power), asked[size]) for size in near]
    (x0, y0), (x1, y1) = points if len(points) > 1 else [(0.0, 0), *points]
    if y0 == y1:
        return near[0]
    meets = x0 + (budget - y0) * (x1 - x0) / (y1 - y0)
    return int(max(meets, 0.0) ** (1 / power))
