"""Augmentation of a template or a search region: what is drawn, and what that does to them.

Must agree with MMTracking 0.14's SeqGrayAug, SeqShiftScaleAug, SeqColorAug and SeqBlurAug; images
are RGB here, BGR there. SiamRPN++, https://arxiv.org/abs/1812.11703.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from halftrack.data.index import Floats
from halftrack.data.sot.config import BLUR_SIZES, PairDataConfig
from halftrack.data.sot.crops import (
    Taps,
    box_in_crop,
    crop_like_siamfc,
    region_taps,
    resample,
)
from halftrack.layers import SiameseGeometry

__all__ = [
    "Blur",
    "View",
    "blur",
    "cut_view",
    "draw_view",
    "recolour",
    "shift_scale",
    "view_of_crop",
]

# ImageNet's principal colours: the change of R, G and B for one standard deviation of each of the
# three numbers drawn, a column each.
_COLOURS = np.array(
    [
        [-0.55919361, 0.98062831, -0.41940627],
        [1.72091413, 0.19879334, -1.82968581],
        [4.64467907, 4.73710203, 4.88324118],
    ],
    dtype=np.float32,
)
# OpenCV's weights of R, G and B in grey.
_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Blur:
    """An upright cross of which each arm averages ``size`` pixels."""

    size: int
    """Pixels of an arm, odd."""
    vertical: float
    """The vertical arm's share; the rest is the horizontal one's."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Augmentation of one image, in this order."""

    scale_xy: tuple[float, float] = (1.0, 1.0)
    """Pixels of the crop shown for each of the image's; less where the crop is too small."""
    shift_xy: tuple[float, float] = (0.0, 0.0)
    """Shift of the region on the crop, in the crop's pixels; less where the crop ends."""
    grey: bool = False
    """All three channels become the luminance."""
    brightness: float = 1.0
    """Factor of all values."""
    colour: tuple[float, float, float] | None = None
    """Shift of the colours along each principal colour, in standard deviations."""
    blur: Blur | None = None
    """Blur of the image, applied last."""


def draw_view(
    config: PairDataConfig, place: int, rng: random.Random, *, grey: bool = False
) -> View:
    """Draw the changes to one image of a pair.

    Args:
        config: the ranges and chances of each change.
        place: 0 for the template, 1 for the search region.
        rng: source of chance.
        grey: whether the pair becomes grey, which its two images share.
    """
    scale, shift, brightness = config.scale[place], config.shift[place], config.brightness[place]
    scale_x, scale_y = (1 + rng.uniform(-scale, scale) for _ in range(2))
    shift_x, shift_y = (rng.uniform(-shift, shift) for _ in range(2))
    colour = None
    if rng.random() < config.colour_probability[place]:
        colour = (rng.gauss(), rng.gauss(), rng.gauss())
    # Drawn only where asked for: the published recipes' draws stay what they were.
    factor = 1 + rng.uniform(-brightness, brightness) if brightness else 1
    blurred = rng.random() < config.blur_probability[place]
    return View(
        scale_xy=(scale_x, scale_y),
        shift_xy=(shift_x, shift_y),
        grey=grey,
        brightness=factor,
        colour=colour,
        blur=Blur(size=rng.choice(BLUR_SIZES), vertical=rng.random()) if blurred else None,
    )


def cut_view(
    image: Tensor,
    box_xyxy: Floats,
    *,
    geometry: SiameseGeometry,
    crop_size: int,
    view: View,
    size: int,
) -> tuple[Tensor, Floats]:
    """Crop an object from its image and change the crop as drawn.

    Only that part of the crop is computed that the view reads: the same pixels for less work.

    Args:
        image: uint8 ``(3, height, width)``.
        box_xyxy: float32 ``(4,)`` the object in the image.
        geometry: its template says how much of the image the crop shows.
        crop_size: width and height of the crop, in pixels.
        view: what is done to it.
        size: width and height of the result.

    Returns:
        float32 ``(3, size, size)`` and the box in it, float32 ``(4,)``.
    """
    rows, columns, box = _place(box_in_crop(box_xyxy, geometry, crop_size), view, crop_size, size)
    wanted = rows.reach(crop_size), columns.reach(crop_size)
    part = crop_like_siamfc(image, box_xyxy, geometry, crop_size, samples=wanted)
    pixels = resample(part, rows.within(wanted[0]), columns.within(wanted[1]))
    return recolour(pixels, view), box


def view_of_crop(
    pixels: Tensor, box_xyxy: Floats, *, view: View, size: int
) -> tuple[Tensor, Floats]:
    """The same from a crop that is there already.

    Args:
        pixels: uint8 or float32 ``(3, crop_size, crop_size)``.
        box_xyxy: float32 ``(4,)`` the object in the crop.
        view: what is done to it.
        size: width and height of the result.

    Returns:
        float32 ``(3, size, size)`` and the box in it, float32 ``(4,)``.
    """
    moved, box = shift_scale(pixels, box_xyxy, view=view, size=size)
    return recolour(moved, view), box


def shift_scale(
    pixels: Tensor, box_xyxy: Floats, *, view: View, size: int
) -> tuple[Tensor, Floats]:
    """The first step of a view: where it lies on the crop; arguments as for ``view_of_crop``."""
    rows, columns, box = _place(box_xyxy, view, pixels.shape[-1], size)
    return resample(pixels, rows, columns), box


def recolour(pixels: Tensor, view: View) -> Tensor:
    """The other steps of a view: grey, brightness, moved colours, blur.

    Args:
        pixels: float32 ``(3, height, width)`` RGB, 0 to 255; its memory may be reused.
        view: what is done; values are not clipped afterwards.
    """
    if view.grey:
        # The reference turns the crop grey; both are linear, so the order does not matter.
        weights = torch.tensor(_GREY, dtype=torch.float32, device="cpu")
        pixels = torch.einsum("chw,c->hw", pixels, weights).expand(3, -1, -1).contiguous()
    if view.brightness != 1:
        pixels = pixels.mul_(view.brightness)
    if view.colour is not None:
        offset = _COLOURS @ np.array(view.colour)
        pixels = pixels.sub_(torch.from_numpy(offset.astype(np.float32))[:, None, None])
    return pixels if view.blur is None else blur(pixels, view.blur)


def blur(pixels: Tensor, cross: Blur) -> Tensor:
    """Average each pixel with those beside, above and below it; edges are mirrored.

    Args:
        pixels: float32 ``(channels, height, width)``, wider and higher than half an arm.
        cross: which pixels, and how much they weigh.
    """
    along = _running_mean(pixels, cross.size, dim=2).mul_(1 - cross.vertical)
    return along.add_(_running_mean(pixels, cross.size, dim=1), alpha=cross.vertical)


def _place(box_xyxy: Floats, view: View, crop_size: int, size: int) -> tuple[Taps, Taps, Floats]:
    """Rows and columns of the crop that a view reads, and the box in the view."""
    corner: list[float] = []
    far: list[float] = []
    scales: list[float] = []
    for scale, shift in zip(view.scale_xy, view.shift_xy, strict=True):
        scale = min(scale, crop_size / size)
        low, high = (crop_size // 2 + side * 0.5 * scale * size for side in (-1, 1))
        shift = max(-low, min(crop_size - high, shift))
        corner.append(low + shift)
        far.append(high + shift)
        scales.append(scale)
    rows, columns = region_taps(np.array([*corner, *far]), size)
    # Two roundings to float32, as in the reference.
    moved = (box_xyxy - np.array(corner * 2)).astype(np.float32)
    return rows, columns, moved / np.array(scales * 2, dtype=np.float32)


def _running_mean(pixels: Tensor, size: int, *, dim: int) -> Tensor:
    """The mean of ``size`` neighbours along an axis, from differences of running sums."""
    half = size // 2
    # Left, right, top, bottom. "reflect" does not repeat the edge, as OpenCV's default.
    pad = (half, half, 0, 0) if dim == 2 else (0, 0, half, half)
    # In float64: a sum of 300 values to 255 leaves float32 too few digits for a difference.
    sums = F.pad(pixels, pad, mode="reflect").double().cumsum(dim=dim)
    length = pixels.shape[dim]
    means = sums.narrow(dim, size - 1, length).clone()
    means.narrow(dim, 1, length - 1).sub_(sums.narrow(dim, 0, length - 1))
    return means.div_(size).float()
