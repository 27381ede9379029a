"""Training targets of boxes: assignment by IoU, and random sampling of positives and negatives.

mmdet's MaxIoUAssigner and RandomSampler, draw for draw: random numbers are taken only where there
are more candidates than wanted, positives first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.boxes import iou, on_device, pad_rows
from halftrack.errors import UserError
from halftrack.frames import Frame

__all__ = [
    "NEITHER",
    "MatchingConfig",
    "Objects",
    "Sample",
    "Samples",
    "assign",
    "assign_objects",
    "require_area",
    "sample",
    "sample_boxes",
]

BACKGROUND, NEITHER = -1, -2
"""Marks of a box without an object: to learn as background, or not at all."""


@dataclass(frozen=True, kw_only=True)
class MatchingConfig:
    """Thresholds of the assignment and size of the sample."""

    positive_iou: Share
    """Least IoU with an object of a positive box."""
    negative_iou: Share
    """IoU below which a box is negative."""
    low_quality_iou: Annotated[float | None, Bounds(least=0, most=1)]
    """Least IoU at which an object's best boxes are positive anyway; None: never."""
    num_samples: Annotated[int, Bounds(least=1, most=1_000_000)] = 256
    """Boxes sampled."""
    positive_fraction: Share = 0.5
    """Share of them that may be positive."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True)
class Sample:
    """Indices of the sampled boxes, ascending, and the object of each positive one."""

    positive: Tensor
    """int64 ``(p,)``."""
    negative: Tensor
    """int64 ``(n,)``."""
    objects: Tensor
    """int64 ``(p,)`` index of the object each positive box is assigned to."""


def assign(boxes_xyxy: Tensor, objects_xyxy: Tensor, config: MatchingConfig) -> Tensor:
    """int64 ``(n,)``: the object of each box, -1 for background, -2 for boxes that are neither."""
    if not len(objects_xyxy) or not len(boxes_xyxy):
        return boxes_xyxy.new_full((len(boxes_xyxy),), -1, dtype=torch.int64)
    overlaps = iou(objects_xyxy, boxes_xyxy)
    best, assigned = overlaps.max(dim=0)
    result = torch.full_like(assigned, -2)
    result = torch.where(best < config.negative_iou, -1, result)
    result = torch.where(best >= config.positive_iou, assigned, result)
    if config.low_quality_iou is not None:
        best_of_object = overlaps.max(dim=1).values
        # Later objects win shared boxes, as in the reference.
        for index in range(len(objects_xyxy)):
            ties = overlaps[index] == best_of_object[index]
            ties &= best_of_object[index] >= config.low_quality_iou
            result = torch.where(ties, index, result)
    return result


def sample(assigned: Tensor, config: MatchingConfig) -> Sample:
    """Draw from the assignment ``(n,)``: positives up to their share, negatives for the rest."""
    wanted = int(config.num_samples * config.positive_fraction)
    positive = _draw(torch.nonzero(assigned >= 0).flatten(), wanted)
    negative = _draw(torch.nonzero(assigned == -1).flatten(), config.num_samples - len(positive))
    return Sample(positive, negative, assigned[positive])


@dataclass(frozen=True)
class Objects:
    """The objects of a batch of frames, image after image, and as many places for each image."""

    boxes_xyxy: Tensor
    """``(m, 4)`` of all images."""
    labels: Tensor
    """int64 ``(m,)``."""
    padded_xyxy: Tensor
    """``(b, p, 4)`` of each image."""
    places: Tensor
    """int64 ``(b, p)`` index of each among those of all images; -1 for padding."""

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> Objects:
        """The objects of the frames."""
        padded = pad_rows([frame.boxes_xyxy for frame in frames])
        return cls(
            boxes_xyxy=torch.cat([frame.boxes_xyxy for frame in frames]),
            labels=torch.cat([frame.labels for frame in frames]),
            padded_xyxy=padded.rows,
            places=padded.places,
        )


@dataclass(frozen=True)
class Samples:
    """The boxes sampled of each image of a batch, image after image, its positive ones first."""

    rows: Tensor
    """int64 ``(s,)`` index among the boxes ``(b * n, ...)`` of all images."""
    positive: Tensor
    """int64 ``(p,)`` places of the positive ones in ``rows``."""
    objects: Tensor
    """int64 ``(p,)`` object of each positive one, among those of all images."""
    counts: tuple[tuple[int, int], ...]
    """Positive and negative ones of each image."""


@torch.no_grad()
def assign_objects(
    boxes_xyxy: Tensor, objects: Objects, config: MatchingConfig, *, allowed: Tensor
) -> Tensor:
    """int64 ``(b, n)``: the object of each box among all images', BACKGROUND or NEITHER.

    Args:
        boxes_xyxy: ``(b, n, 4)``, or ``(n, 4)`` where all images have the same.
        objects: of the images.
        config: the thresholds.
        allowed: bool ``(b, n)``; other boxes are neither, and no object's best.
    """
    overlaps = iou(objects.padded_xyxy, boxes_xyxy)
    pairs = (objects.places >= 0)[:, :, None] & allowed[:, None]
    overlaps.masked_fill_(~pairs, -1.0)
    best, nearest = overlaps.max(dim=1)
    result = torch.full_like(nearest, NEITHER).masked_fill_(best < config.negative_iou, BACKGROUND)
    own = objects.places.gather(1, nearest)
    result = torch.where(best >= config.positive_iou, own, result)
    if config.low_quality_iou is not None:
        best_of_object = overlaps.amax(dim=2, keepdim=True)
        ties = (overlaps == best_of_object) & (best_of_object >= config.low_quality_iou)
        # Later objects win shared boxes, as in the reference.
        order = torch.arange(1, ties.shape[1] + 1, device=ties.device, dtype=torch.int32)
        last = (ties * order[:, None]).amax(dim=1).long()
        tied = objects.places.gather(1, (last - 1).clamp_(min=0))
        result = torch.where(last > 0, tied, result)
    return result.masked_fill_(~allowed, NEITHER)


@torch.no_grad()
def sample_boxes(assigned: Tensor, config: MatchingConfig) -> Samples:
    """Draw from the assignment ``(b, n)``: positives up to their share, negatives for the rest.

    The host waits once, for the candidates' numbers in all images (host sync).
    """
    kinds = torch.stack([assigned >= 0, assigned == BACKGROUND], dim=1)
    counts = np.array(kinds.count_nonzero(dim=2).tolist())
    drawn = [ranks for found in counts for ranks in _draw_image(found[0], found[1], config)]
    sizes = np.array([len(ranks) for ranks in drawn])
    # The candidates of all images are numbered through, from 1: positives, negatives, the next.
    before = np.cumsum(counts) - counts.flatten()
    numbers = np.concatenate(drawn) + np.repeat(before + 1, sizes)
    image, kind = np.divmod(np.repeat(np.arange(len(drawn)), sizes), 2)
    # A candidate's place in `kinds` lies so many rows beyond that in `assigned`.
    beyond = (image + kind) * assigned.shape[1]
    positive = np.flatnonzero(kind == 0)
    sent = on_device(np.concatenate([numbers, beyond, positive]), assigned.device)
    sought, beyond_, places = sent.split([len(numbers), len(beyond), len(positive)])
    rows = torch.searchsorted(kinds.flatten().cumsum(0), sought) - beyond_
    return Samples(
        rows=rows,
        positive=places,
        objects=assigned.flatten()[rows[places]],
        counts=tuple((int(p), int(n)) for p, n in sizes.reshape(-1, 2)),
    )


def require_area(corners: Sequence[Sequence[float]], sample_ids: Sequence[str]) -> None:
    """Refuse boxes whose size has no finite logarithm, which is what is learned of it.

    Args:
        corners: x1, y1, x2 and y2 of the boxes, one of each pair.
        sample_ids: names of the pairs.

    Raises:
        UserError: for the first such box, with its sample.
    """
    for x1, y1, x2, y2, name in zip(*corners, sample_ids, strict=True):
        if not (0 < x2 - x1 < math.inf and 0 < y2 - y1 < math.inf):
            raise UserError(
                f"the target of {name}, x1={x1:g}, y1={y1:g}, x2={x2:g}, y2={y2:g}, has no area or "
                "is not finite: mend its annotation, or leave it out"
            )


def _draw(candidates: Tensor, wanted: int) -> Tensor:
    if len(candidates) <= wanted:
        return candidates
    # Drawn on the CPU on every device, so that a seed means the same sample everywhere.
    order = torch.randperm(len(candidates), device="cpu")[:wanted].to(candidates.device)
    return candidates[order].sort().values


def _draw_image(
    positive: int, negative: int, config: MatchingConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks of the candidates drawn of an image that has so many of both kinds."""
    wanted = int(config.num_samples * config.positive_fraction)
    positives = _draw_ranks(positive, wanted)
    return positives, _draw_ranks(negative, config.num_samples - len(positives))


def _draw_ranks(candidates: int, wanted: int) -> NDArray[np.int64]:
    if candidates <= wanted:
        return np.arange(candidates)
    # Drawn on the CPU on every device, so that a seed means the same sample everywhere.
    return np.sort(torch.randperm(candidates, device="cpu")[:wanted].numpy())
