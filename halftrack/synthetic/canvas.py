"""Canvas of a film's frame: pictures are scaled onto whole pixels and laid over what is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Array", "Canvas", "blend", "scaled_into"]

Array = NDArray[np.float32]
"""Pixels, 0 to 255."""


@dataclass(kw_only=True)
class Canvas:
    """An image that is being painted, and whose pixels are whose."""

    image: Array
    """``(height, width, 3)``, 0 to 255."""
    owner: NDArray[np.uint8]
    """``(height, width)`` identity + 1 of the individual that is seen; 0 for ground and posts."""


def scaled_into(
    picture: Image.Image, box_xyxy: tuple[float, float, float, float]
) -> tuple[Array, int, int]:
    """Scale a picture into a box between pixels; the part on whole pixels, and its left and top."""
    x1, y1, x2, y2 = box_xyxy
    left, top, right, bottom = np.ceil(x1), np.ceil(y1), np.floor(x2), np.floor(y2)
    per_x, per_y = picture.width / (x2 - x1), picture.height / (y2 - y1)
    source = (
        (left - x1) * per_x,
        (top - y1) * per_y,
        min((right - x1) * per_x, picture.width),
        min((bottom - y1) * per_y, picture.height),
    )
    scaled = picture.resize(
        (int(right - left), int(bottom - top)), Image.Resampling.BILINEAR, box=source
    )
    return np.asarray(scaled, dtype=np.float32), int(left), int(top)


def blend(canvas: Canvas, patch: Array, left: int, top: int, *, owner: int | None) -> int:
    """Lay a premultiplied patch over the canvas; return the number of solid pixels inside it."""
    height, width = canvas.owner.shape
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + patch.shape[1], width), min(top + patch.shape[0], height)
    if x1 >= x2 or y1 >= y2:
        return 0
    part = patch[y1 - top : y2 - top, x1 - left : x2 - left]
    region = canvas.image[y1:y2, x1:x2]
    region *= 1.0 - part[..., 3:] / 255.0
    region += part[..., :3]
    if owner is None:
        return 0
    solid = part[..., 3] > 127
    canvas.owner[y1:y2, x1:x2][solid] = owner
    return int(np.count_nonzero(solid))
