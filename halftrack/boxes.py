"""Boxes: IoU, delta coding, clipping, suppression. Pure functions that compute in fp32.

A 256x256 area is infinite in fp16 and one unit at 1024 px is 8 px in bf16, so all of them are fp32
islands. Boxes are xyxy pixels without +1; conventions and constants are mmdet's.
"""

from __future__ import annotations

import math

import torch
import torchvision
from torch import Tensor

from halftrack.precision import fp32_island

__all__ = [
    "area",
    "clip",
    "decode_deltas",
    "encode_deltas",
    "iou",
    "nms",
    "nms_by_class",
    "start_box_fault",
]

_MAX_LOG_RATIO = math.log(1000 / 16)


@fp32_island
def area(boxes_xyxy: Tensor) -> Tensor:
    """Areas ``(n,)`` of boxes ``(n, 4)``."""
    return (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])


@fp32_island
def iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Intersection over union ``(n, m)`` of boxes ``(n, 4)`` and ``(m, 4)``."""
    low = torch.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    high = torch.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=2)
    union = area(boxes_xyxy)[:, None] + area(others_xyxy)[None, :] - overlap
    return overlap / union.clamp(min=1e-6)


@fp32_island
def clip(boxes_xyxy: Tensor, size: tuple[int, int]) -> Tensor:
    """Clip boxes ``(..., 4)`` to an image of ``size`` (height, width)."""
    height, width = size
    x = boxes_xyxy[..., 0::2].clamp(0, width)
    y = boxes_xyxy[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)


@fp32_island
def encode_deltas(
    boxes_xyxy: Tensor, targets_xyxy: Tensor, *, std: float | tuple[float, ...] = 1.0
) -> Tensor:
    """Encode each target as deltas (dx, dy, dw, dh) ``(n, 4)`` from its box, divided by ``std``."""
    centre, size = _centre_and_size(boxes_xyxy)
    target_centre, target_size = _centre_and_size(targets_xyxy)
    shift = (target_centre - centre) / size
    stretch = torch.log(target_size / size)
    return torch.cat([shift, stretch], dim=-1) / _factor(std, shift)


@fp32_island
def decode_deltas(
    boxes_xyxy: Tensor,
    deltas: Tensor,
    *,
    std: float | tuple[float, ...] = 1.0,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Move each box by its k deltas, giving ``(n, k, 4)``; sizes change by at most 1000/16.

    Args:
        boxes_xyxy: ``(n, 4)``.
        deltas: ``(n, k, 4)``, in units of ``std``.
        std: factor of the deltas, one for all or one for each of the four.
        size: height and width that the result is clipped to; None lets boxes leave the image.
    """
    centre, extent = _centre_and_size(boxes_xyxy)
    deltas = deltas * _factor(std, deltas)
    stretch = deltas[..., 2:].clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()
    new_centre = centre[:, None] + deltas[..., :2] * extent[:, None]
    half = 0.5 * extent[:, None] * stretch
    moved = torch.cat([new_centre - half, new_centre + half], dim=-1)
    return moved if size is None else clip(moved, size)


def _factor(std: float | tuple[float, ...], like: Tensor) -> float | Tensor:
    return std if isinstance(std, float | int) else like.new_tensor(std)


def _centre_and_size(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return (low + high) * 0.5, high - low


@fp32_island
def nms(boxes_xyxy: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Suppress boxes that overlap a better one by more than ``threshold``.

    Returns:
        Indices ``(k,)`` of the boxes that are kept, best first.
    """
    kept: Tensor = torchvision.ops.nms(boxes_xyxy, scores, threshold)
    return kept


@fp32_island
def nms_by_class(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Suppress boxes within each class; one call, with the classes moved out of each other's reach.

    Returns:
        Indices ``(k,)`` of the boxes that are kept, best first.
    """
    if not len(boxes_xyxy):
        return torch.zeros((0,), dtype=torch.int64, device=boxes_xyxy.device)
    offsets = labels.to(boxes_xyxy) * (boxes_xyxy.max() + 1)
    return nms(boxes_xyxy + offsets[:, None], scores, threshold)


@fp32_island
def start_box_fault(box_xyxy: Tensor, size: tuple[int, int]) -> str | None:
    """The reason why no tracker can start from a box ``(4,)``; None if one can.

    Args:
        box_xyxy: in original pixels, on the CPU.
        size: height and width of the image.
    """
    x1, y1, x2, y2 = box_xyxy.tolist()
    height, width = size
    if not torch.isfinite(box_xyxy).all():
        return "is not finite"
    if x2 <= x1 or y2 <= y1:
        return "is empty; expected x1 < x2 and y1 < y2"
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return f"is wholly outside the image of width {width} and height {height}"
    return None
