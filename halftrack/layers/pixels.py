"""Normalisation and padding of images for a network, on the device that the images are on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["normalise_and_pad"]

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


def normalise_and_pad(images: Sequence[Tensor], *, divisor: int) -> Tensor:
    """A batch ``(n, 3, H, W)`` in fp32: normalised, then padded with zeros right and below.

    Args:
        images: ``(3, height, width)`` RGB, 0 to 255 in uint8 or float32, of any sizes.
        divisor: H and W are the largest height and width, rounded up to a multiple of this.
    """
    height = max(image.shape[-2] for image in images)
    width = max(image.shape[-1] for image in images)
    height, width = (-(-side // divisor) * divisor for side in (height, width))
    device = images[0].device
    mean = torch.tensor(_MEAN, device=device)[:, None, None]
    std = torch.tensor(_STD, device=device)[:, None, None]
    return torch.stack(
        [
            F.pad(
                (image.float() - mean) / std,
                (0, width - image.shape[-1], 0, height - image.shape[-2]),
            )
            for image in images
        ]
    )
