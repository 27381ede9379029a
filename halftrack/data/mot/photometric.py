"""Photometric distortion of float images: what is drawn, and what it does to pixels.

SSD's augmentation, https://arxiv.org/abs/1512.02325, as mmdet 2.28 has it: values are not clipped,
so they may be negative or above 255, and OpenCV's float HSV formulas decide what becomes of those.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from halftrack.data.mot.config import MotDetectionConfig

__all__ = ["Distortion", "distort", "draw_distortion"]

_FLT_EPSILON = torch.finfo(torch.float32).eps
# Pixels worked on at a time: their dozen temporaries stay in a core's cache.
_STRIP = 32768


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """Distortion of one image's colours; None leaves a property as it is."""

    brightness: float | None = None
    """Added to all channels, first of all."""
    contrast: float | None = None
    """Factor for all channels."""
    contrast_first: bool = True
    """Contrast comes before saturation and hue rather than after."""
    saturation: float | None = None
    """Factor for the saturation."""
    hue: float | None = None
    """Degrees that the hue is turned."""
    channels: tuple[int, int, int] | None = None
    """Order of the RGB channels, applied last."""


def draw_distortion(config: MotDetectionConfig, rng: random.Random) -> Distortion:
    """Draw the distortion of one image; each property is distorted with probability 0.5.

    Args:
        config: its brightness, contrast, saturation and hue say how far.
        rng: source of chance.
    """

    def perhaps(low: float, high: float) -> float | None:
        return rng.uniform(low, high) if rng.random() < 0.5 else None

    brightness = perhaps(-config.brightness, config.brightness)
    contrast_first = rng.random() < 0.5
    contrast = perhaps(*config.contrast)
    saturation = perhaps(*config.saturation)
    hue = perhaps(-config.hue, config.hue)
    order = rng.sample(range(3), 3) if rng.random() < 0.5 else None
    return Distortion(
        brightness=brightness,
        contrast=contrast,
        contrast_first=contrast_first,
        saturation=saturation,
        hue=hue,
        channels=None if order is None else (order[0], order[1], order[2]),
    )


def distort(image: Tensor, distortion: Distortion) -> Tensor:
    """Apply a distortion.

    The conversion to HSV and back happens even where neither saturation nor hue is distorted: it
    mirrors the channels of a pixel without a positive value at the largest of them.

    Args:
        image: float32 ``(3, height, width)`` RGB, 0 to 255; its memory is reused.
        distortion: what to do.

    Returns:
        The distorted image, contiguous.

    Raises:
        ValueError: if the image is not float32 or has not three channels.
    """
    if image.dtype != torch.float32 or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(
            f"image of {image.dtype} {tuple(image.shape)}: expected float32 (3, height, width)"
        )
    image = image.contiguous()
    for strip in image.view(3, -1).split(_STRIP, dim=1):
        if distortion.brightness is not None:
            strip.add_(distortion.brightness)
        if distortion.contrast is not None and distortion.contrast_first:
            strip.mul_(distortion.contrast)
        if distortion.hue is None:
            _saturate(strip, 1.0 if distortion.saturation is None else distortion.saturation)
        else:
            _saturate_and_turn(strip, distortion.saturation, distortion.hue)
        if distortion.contrast is not None and not distortion.contrast_first:
            strip.mul_(distortion.contrast)
        if distortion.channels is not None:
            strip.copy_(strip[list(distortion.channels)])
    return image


def _saturate(strip: Tensor, factor: float) -> None:
    """To HSV and back with the saturation multiplied; the hue cancels out."""
    value = strip.amax(dim=0)
    if factor == 1.0 and float(value.min()) > 0:
        return
    # v (1 - f s x), where s x = (v - c) / (|v| + eps) for each channel c
    scale = value / (value.abs() + _FLT_EPSILON) * factor
    strip.sub_(value).mul_(scale).add_(value)


def _saturate_and_turn(strip: Tensor, factor: float | None, degrees: float) -> None:
    """To HSV, saturation multiplied, hue turned, and back."""
    red, green, blue = strip
    value = strip.amax(dim=0)
    difference = value - strip.amin(dim=0)
    chroma = value * difference / (value.abs() + _FLT_EPSILON)
    if factor is not None:
        chroma.mul_(factor)
    # The hue in sixths of a turn; where two channels are largest, red counts before green.
    turns = (difference + _FLT_EPSILON).reciprocal_()
    hue = (red - green).mul_(turns).add_(4.0)
    hue = torch.where(value == green, (blue - red).mul_(turns).add_(2.0), hue)
    hue = torch.where(value == red, (green - blue).mul_(turns), hue)
    hue += degrees / 60.0
    hue.sub_((hue / 6.0).floor_(), alpha=6.0)
    # How much of the chroma each channel lacks: a trapezium of the hue around its own colour.
    red_lacks = (hue - 3.0).abs_().neg_().add_(2.0).clamp_(0.0, 1.0)
    green_lacks = (hue - 2.0).abs_().sub_(1.0).clamp_(0.0, 1.0)
    blue_lacks = (hue - 4.0).abs_().sub_(1.0).clamp_(0.0, 1.0)
    torch.addcmul(value, chroma, red_lacks, value=-1.0, out=red)
    torch.addcmul(value, chroma, green_lacks, value=-1.0, out=green)
    torch.addcmul(value, chroma, blue_lacks, value=-1.0, out=blue)
