"""Training targets of boxes: assignment by IoU, and random sampling of positives and negatives.

mmdet's MaxIoUAssigner and RandomSampler, draw for draw: random numbers are taken only where there
are more candidates than wanted, positives first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.boxes import iou
from halftrack.errors import UserError

__all__ = ["MatchingConfig", "Sample", "assign", "require_area", "sample"]


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
