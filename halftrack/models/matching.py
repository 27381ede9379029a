"""Training targets of boxes: assignment by IoU, and random sampling of positives and negatives.

mmdet's MaxIoUAssigner and RandomSampler, draw for draw: random numbers are taken only where there
are more candidates than wanted, positives first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halftrack.boxes import iou, on_device, pad_rows
from halftrack.errors import UserError
from halftrack.frames import Frame
from halftrack.models.detector_config import MatchingConfig

__all__ = [
    "NEITHER",
    "Draws",
    "Objects",
    "Samples",
    "assign_objects",
    "draw_ranks",
    "mean_loss",
    "permuted_ranks",
    "require_area",
    "sample_boxes",
]

Draws = Sequence[torch.Generator] | None
"""Random numbers of each image of a batch; None: torch's own, image after image."""

BACKGROUND, NEITHER = -1, -2
"""Marks of a box without an object: to learn as background, or not at all."""


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

    These are -1, to learn as background, and -2, to learn nothing of.

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
def sample_boxes(assigned: Tensor, config: MatchingConfig, draws: Draws = None) -> Samples:
    """Draw from the assignment ``(b, n)``: positives up to their share, negatives for the rest.

    The host waits once, for the candidates' numbers in all images (host sync).

    Args:
        assigned: to each box.
        config: the size of the sample.
        draws: random numbers of each image.
    """
    kinds = torch.stack([assigned >= 0, assigned == BACKGROUND], dim=1)
    counts = np.array(kinds.count_nonzero(dim=2).tolist())
    generators = [None] * len(counts) if draws is None else draws
    drawn = [
        ranks
        for (positive, negative), own in zip(counts, generators, strict=True)
        for ranks in draw_ranks(positive, negative, config, own)
    ]
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


class Loss(Protocol):
    """A loss of torch.nn.functional."""

    def __call__(self, given: Tensor, wanted: Tensor, /, *, reduction: str) -> Tensor:
        """The loss of rows, reduced."""


def mean_loss(
    loss: Loss, given: Tensor, wanted: Tensor, rows: Sequence[int], counts: Sequence[int]
) -> Tensor:
    """The mean over parts of a batch of each part's summed loss over its own count.

    Args:
        loss: of given and wanted rows.
        given: ``(n, ...)``, part after part.
        wanted: likewise.
        rows: number of rows of each part.
        counts: number that each part's sum is divided by.
    """
    if len(rows) == 1:
        return loss(given, wanted, reduction="sum") / counts[0]
    parts = loss(given, wanted, reduction="none").split(rows)
    sums = [own.sum() / count for own, count in zip(parts, counts, strict=True)]
    return torch.stack(sums).mean()


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


def draw_ranks(
    positive: int, negative: int, config: MatchingConfig, draws: torch.Generator | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks of the candidates drawn of an image that has so many of both kinds, ascending.

    Random numbers are taken only where there is a choice.
    """
    wanted = int(config.num_samples * config.positive_fraction)
    positives = _drawn(positive, wanted, draws)
    return positives, _drawn(negative, config.num_samples - len(positives), draws)


def permuted_ranks(
    candidates: int, wanted: int, draws: torch.Generator | None = None
) -> NDArray[np.int64]:
    """Up to so many ranks, drawn at random and ascending."""
    # Drawn on the CPU on every device, so that a seed means the same sample everywhere.
    order = torch.randperm(candidates, generator=draws, device="cpu")
    return np.sort(order[:wanted].numpy())


def _drawn(candidates: int, wanted: int, draws: torch.Generator | None) -> NDArray[np.int64]:
    if candidates <= wanted:
        return np.arange(candidates)
    return permuted_ranks(candidates, wanted, draws)
