"""Normalisation and padding of images for a network, on the device that the images are on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from halftrack.boxes import constant
from halftrack.layers.compilable import coarse

__all__ = ["mean_and_std", "normalise_and_pad"]

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


def normalise_and_pad(images: Sequence[Tensor], *, divisor: int, few_sizes: bool = False) -> Tensor:
    """A batch ``(n, 3, H, W)`` in fp32: normalised, then padded with zeros right and below.

    Args:
        images: ``(3, height, width)`` RGB, 0 to 255 in uint8 or float32, of any sizes.
        divisor: H and W are the largest height and width, rounded up to a multiple of this.
        few_sizes: round these multiples up to three significant bits: 7, 8, 10, 12, 14, 16, 20 ...
    """
    height = max(image.shape[-2] for image in images)
    width = max(image.shape[-1] for image in images)
    multiples = [-(-side // divisor) for side in (height, width)]
    if few_sizes:
        multiples = [coarse(multiple) for multiple in multiples]
    height, width = (multiple * divisor for multiple in multiples)
    mean, std = mean_and_std(images[0].device)
    batch = mean.expand(len(images), 3, height, width).clone()
    # What no image covers stays the mean, which becomes 0.
    parts = [batch[i, :, : m.shape[-2], : m.shape[-1]] for i, m in enumerate(images)]
    torch._foreach_copy_(parts, list(images))
    return batch.sub_(mean).div_(std)


def mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of RGB, ``(3, 1, 1)`` each: those of ImageNet."""
    mean, std = (constant(values, device)[:, None, None] for values in (_MEAN, _STD))
    return mean, std
