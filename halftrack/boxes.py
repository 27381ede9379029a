"""Boxes: IoU, delta coding, clipping, suppression. Pure functions that compute in fp32.

A 256x256 area is infinite in fp16 and one unit at 1024 px is 8 px in bf16, so all of them are fp32
islands. Boxes are xyxy pixels without +1; conventions and constants are mmdet's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from halftrack.precision import fp32_island

__all__ = [
    "Padded",
    "area",
    "clip",
    "constant",
    "decode_deltas",
    "encode_deltas",
    "iou",
    "nms",
    "nms_by_class",
    "on_device",
    "pad_rows",
    "start_box_fault",
    "unsuppressed",
]

_MAX_LOG_RATIO = math.log(1000 / 16)
# Time and memory of a suppression grow with the square of its boxes: a GPU takes 128 MiB for these.
_MOST_SUPPRESSED = 2**15


def on_device(values: ArrayLike, device: torch.device) -> Tensor:
    """A tensor of what the host knows, sent to a device without waiting for it."""
    return torch.from_numpy(np.asarray(values)).to(device, non_blocking=True)


_constants: dict[tuple[tuple[float, ...], torch.device], Tensor] = {}


def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A tensor ``(n,)`` on a device, fp32, kept: made anew it is copied to a GPU, and awaited."""
    kept = _constants.get((values, device))
    if kept is None:
        with torch.inference_mode(False):  # of use after an inference mode around it, too
            kept = torch.tensor(values, device=device)
        if type(kept) is Tensor:  # and not without values, as in a FakeTensorMode
            _constants[values, device] = kept
    return kept


class Padded(NamedTuple):
    """Rows of several images in one tensor: each image has as many as the fullest one."""

    rows: Tensor
    """``(b, n, ...)``, n at least 1; absent rows are 0."""
    present: Tensor
    """bool ``(b, n)``: the rows that an image has."""
    places: Tensor
    """int64 ``(b, n)`` place of each row among those of all images, image after image; -1 for
    absent ones."""


def pad_rows(rows: Sequence[Tensor]) -> Padded:
    """Pad the rows ``(k, ...)`` of each image, of which there is at least one."""
    counts = np.array([len(part) for part in rows])
    present = np.arange(max(counts.max(), 1)) < counts[:, None]
    numbers = np.full(present.shape, -1)
    numbers[present] = np.arange(counts.sum())
    places = on_device(numbers, rows[0].device)
    # The row of zeros is the last, where -1 points to.
    joined = torch.cat([*rows, rows[0].new_zeros((1, *rows[0].shape[1:]))])
    return Padded(joined[places], places >= 0, places)


@fp32_island
def area(boxes_xyxy: Tensor) -> Tensor:
    """Areas ``(...)`` of boxes ``(..., 4)``."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(dim=-1)


@fp32_island
def iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Intersection over union ``(..., n, m)`` of boxes ``(..., n, 4)`` and ``(..., m, 4)``.

    No gradient goes through it: it computes in place, as an image's anchors are many.
    """
    boxes, others = boxes_xyxy.detach()[..., :, None, :], others_xyxy.detach()[..., None, :, :]
    width, height = (
        torch.minimum(boxes[..., axis + 2], others[..., axis + 2])
        .sub_(torch.maximum(boxes[..., axis], others[..., axis]))
        .clamp_(min=0)
        for axis in (0, 1)
    )
    overlap = width.mul_(height)
    union = (area(boxes) + area(others)).sub_(overlap).clamp_(min=1e-6)
    return overlap.div_(union)


@fp32_island
def clip(boxes_xyxy: Tensor, size: tuple[int, int] | Tensor) -> Tensor:
    """Clip boxes ``(..., 4)`` to an image of ``size``.

    Args:
        boxes_xyxy: the boxes.
        size: height and width, or the limits of x, y, x and y as a tensor that goes with the boxes.
    """
    if not isinstance(size, Tensor):
        size = on_device(np.array([*size[::-1]] * 2, dtype=np.float32), boxes_xyxy.device)
    return torch.minimum(boxes_xyxy.clamp(min=0), size)


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
    size: tuple[int, int] | Tensor | None = None,
) -> Tensor:
    """Move each box by its k deltas, giving ``(..., k, 4)``; sizes change by at most 1000/16.

    Args:
        boxes_xyxy: ``(..., 4)``.
        deltas: ``(..., k, 4)``, in units of ``std``.
        std: factor of the deltas, one for all or one for each of the four.
        size: what ``clip`` takes to clip the result to; None lets boxes leave the image.
    """
    centre, extent = _centre_and_size(boxes_xyxy[..., None, :])
    deltas = deltas * _factor(std, deltas)
    stretch = deltas[..., 2:].clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()
    new_centre = centre + deltas[..., :2] * extent
    half = 0.5 * extent * stretch
    moved = torch.cat([new_centre - half, new_centre + half], dim=-1)
    return moved if size is None else clip(moved, size)


def _factor(std: float | tuple[float, ...], like: Tensor) -> float | Tensor:
    return std if isinstance(std, float | int) else constant(std, like.device)


def _centre_and_size(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return (low + high) * 0.5, high - low


@fp32_island
def nms(boxes_xyxy: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Suppress boxes that overlap a better one by more than ``threshold``.

    Returns:
        Indices ``(k,)`` of the boxes that are kept, best first.
    """
    return _kept(boxes_xyxy, scores, threshold)


def _kept(boxes_xyxy: Tensor, scores: Tensor, threshold: float) -> Tensor:
    import torchvision  # here, for it takes as long as torch: weights are read without it

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


@fp32_island
def unsuppressed(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Suppress boxes within each class of each of several images, many images a call.

    Args:
        boxes_xyxy: ``(b, n, 4)``; those without an area, or that are not finite, are not kept.
        scores: ``(b, n)``.
        labels: class of each box, ``(n,)`` for all images.
        threshold: as in ``nms``.

    Returns:
        Flags ``(b, n)`` of the boxes that are kept.
    """
    solid = (boxes_xyxy[..., 2:] > boxes_xyxy[..., :2]).all(dim=-1)
    boxes = boxes_xyxy.masked_fill(~solid[..., None], 0.0)
    offsets = labels.to(boxes) * (boxes.amax(dim=(1, 2)) + 1)[:, None]
    # In fp64 images are held apart without rounding: what is kept of one does not depend on others.
    shifted = (boxes + offsets[..., None]).double()
    least, most = shifted.aminmax()
    images = torch.arange(len(boxes), device=boxes.device)[:, None, None]
    apart = shifted + images * (most - least + 1)
    at_once = max(1, _MOST_SUPPRESSED // max(1, boxes.shape[1]))
    flags = [
        torch.zeros_like(score).index_fill_(0, _kept(box, score, threshold), 1.0)
        for box, score in zip(
            (part.flatten(0, 1) for part in apart.split(at_once)),
            (part.flatten() for part in scores.double().split(at_once)),
            strict=True,
        )
    ]
    return torch.cat(flags).view_as(solid).bool() & solid
