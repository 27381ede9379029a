"""Normalisation and padding of images for a network, on the device that the images are on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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


# Kept for each device: made anew they would be copied to a GPU, and awaited, with every batch.
_kept: dict[torch.device, tuple[Tensor, Tensor]] = {}


def mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of RGB, ``(3, 1, 1)`` each: those of ImageNet."""
    kept = _kept.get(device)
    if kept is not None:
        return kept
    with torch.inference_mode(False):  # of use after an inference mode around it, too
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (_MEAN, _STD))
    if type(mean) is Tensor:  # and not without values, as in a FakeTensorMode
        _kept[device] = mean, std
    return mean, std
