"""Families of camera motion: the Jacobian of the image by each, and the warp after a step.

Evangelidis and Psarakis (PAMI 2008), section 3.2; x, y and the warp as in ``camera_motion``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["MOTIONS", "MotionFamily"]


class MotionFamily(NamedTuple):
    """A family of motions: the Jacobian of the image, and the warp after a step."""

    jacobian: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], list[Tensor]]
    advance: Callable[[Tensor, list[float]], Tensor]


def _translation_jacobian(dx: Tensor, dy: Tensor, *_: Tensor) -> list[Tensor]:
    return [dx, dy]


def _euclidean_jacobian(dx: Tensor, dy: Tensor, x: Tensor, y: Tensor, at: Tensor) -> list[Tensor]:
    cos, sin = at[0, 0].item(), at[1, 0].item()
    turned_x, turned_y = torch.sub(-sin * x, y, alpha=cos), torch.sub(cos * x, y, alpha=sin)
    return [turned_x.mul_(dx).addcmul_(turned_y, dy), dx, dy]


def _affine_jacobian(dx: Tensor, dy: Tensor, x: Tensor, y: Tensor, *_: Tensor) -> list[Tensor]:
    return [dx * x, dy * x, dx * y, dy * y, dx, dy]


def _homography_jacobian(dx: Tensor, dy: Tensor, x: Tensor, y: Tensor, at: Tensor) -> list[Tensor]:
    (a, b, c), (d, e, f), (g, h, _) = at.tolist()
    scale = (g * x + h * y + 1).reciprocal()
    dx, dy = dx * scale, dy * scale
    depth = -(dx * (a * x + b * y + c) + dy * (d * x + e * y + f)) * scale
    return [dx * x, dy * x, depth * x, dx * y, dy * y, depth * y, dx, dy]


def _advance_euclidean(warp: Tensor, step: list[float]) -> Tensor:
    angle = math.atan2(warp[1, 0].item(), warp[0, 0].item()) + step[0]
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = warp[0, 2].item() + step[1], warp[1, 2].item() + step[2]
    return warp.new_tensor([[cos, -sin, x], [sin, cos, y], [0, 0, 1]])


def _advance_entries(warp: Tensor, step: list[float]) -> Tensor:
    """Add a step to the entries of the warp, column by column; short steps change the last ones."""
    if len(step) == 8:
        return warp + warp.new_tensor([*step, 0.0]).reshape(3, 3).T
    entries = [0.0] * (6 - len(step)) + step
    return warp + warp.new_tensor([entries[0::2], entries[1::2], [0.0] * 3])


MOTIONS: dict[str, MotionFamily] = {
    "translation": MotionFamily(_translation_jacobian, _advance_entries),
    "euclidean": MotionFamily(_euclidean_jacobian, _advance_euclidean),
    "affine": MotionFamily(_affine_jacobian, _advance_entries),
    "homography": MotionFamily(_homography_jacobian, _advance_entries),
}
"""The families by name."""
