"""Training targets of SiamRPN++'s pairs: the anchors whose class counts, and deltas to the object.

MMTracking 0.14's targets, draw for draw, of all pairs at once: the host reads one list of numbers.
Legend: b pairs, n anchors each, s sampled anchors of all pairs, the p positive ones first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halftrack.boxes import encode_deltas, iou, on_device
from halftrack.models.detector_config import MatchingConfig
from halftrack.models.matching import draw_ranks, permuted_ranks, require_area

__all__ = ["PairTargets", "assign_pairs"]


@dataclass(frozen=True)
class PairTargets:
    """Targets of the sampled anchors, which are numbered through all pairs."""

    sampled: Tensor
    """int64 ``(s,)``: pair times n plus anchor."""
    weights: Tensor
    """``(s,)``: each side of a pair weighs a half."""
    deltas: Tensor
    """``(p, 4)`` from the positive ones to their objects."""

    @property
    def positive(self) -> Tensor:
        """int64 ``(p,)``: the sampled anchors that are on an object."""
        return self.sampled[: len(self.deltas)]


@torch.no_grad()
def assign_pairs(
    boxes_xyxy: Tensor,
    positive: Tensor,
    *,
    anchors_xyxy: Tensor,
    near: Tensor,
    matching: MatchingConfig,
    num_negatives: int,
    sample_ids: Sequence[str],
) -> PairTargets:
    """Find the object's place in positive pairs, and background in negative ones.

    Args:
        boxes_xyxy: ``(b, 4)`` the object in the search region; of a negative pair another object.
        positive: bool ``(b,)``, whether template and search region show the same object.
        anchors_xyxy: ``(n, 4)``.
        near: bool ``(b, n)`` anchors around each box, of which negative pairs draw.
        matching: of anchors to the object of a positive pair.
        num_negatives: anchors drawn of a negative pair.
        sample_ids: names of the pairs.

    Raises:
        UserError: for a box without area or that is not finite, with its pair.
    """
    candidates = _candidates(iou(boxes_xyxy, anchors_xyxy), positive, near, matching)
    sizes = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    valid = ((sizes > 0) & (sizes < torch.inf)).all(dim=1)
    # Host sync: all that the host must know of the pairs, at once.
    *counts, flags, sound = torch.cat(
        [candidates.sum(dim=2), positive[None], valid[None]]
    ).tolist()  # fmt: skip
    if not all(sound):
        require_area(boxes_xyxy.t().tolist(), sample_ids)
    drawn = list(_draws(zip(flags, *counts, strict=True), matching, num_negatives))
    ranks, shares = _in_one_row(drawn, counts)
    ranks, shares = on_device(np.stack([ranks, shares]), boxes_xyxy.device)
    # The candidate of a rank is where so many have been counted.
    places = torch.searchsorted(candidates.flatten().cumsum(dim=0), ranks + 1)
    sampled = places % near.numel()
    found = sampled[: sum(len(on_object) for on_object, _ in drawn)]
    count = len(anchors_xyxy)
    return PairTargets(
        sampled=sampled,
        weights=0.5 / shares,
        deltas=encode_deltas(anchors_xyxy[found % count], boxes_xyxy[found // count]),
    )


def _candidates(
    overlaps: Tensor, positive: Tensor, near: Tensor, matching: MatchingConfig
) -> Tensor:
    """Bool ``(2, b, n)``: anchors that may be drawn as positive, and as negative.

    A pair has one object, so its overlaps ``(b, n)`` alone say what ``assign_objects`` says.
    """
    on_object = overlaps >= matching.positive_iou
    if matching.low_quality_iou is not None:
        best = overlaps.amax(dim=1, keepdim=True)
        on_object |= (overlaps == best) & (best >= matching.low_quality_iou)
    background = (overlaps < matching.negative_iou) & ~on_object
    return torch.stack(
        [on_object & positive[:, None], torch.where(positive[:, None], background, near)]
    )


def _draws(
    pairs: Any, matching: MatchingConfig, num_negatives: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ranks among its candidates of what each pair draws, on its object and off it, ascending."""
    limit = int(matching.num_samples * (1 - matching.positive_fraction))
    for is_positive, on_object, background in pairs:
        if is_positive:
            found, off = draw_ranks(on_object, background, matching)
            yield found, off[:limit]
        else:
            yield np.arange(0), permuted_ranks(background, num_negatives)


def _in_one_row(
    drawn: Sequence[tuple[np.ndarray, np.ndarray]], counts: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks among all candidates, positive ones first, and how many their pair drew with each."""
    sides = [side for one in zip(*drawn, strict=True) for side in one]
    before = np.cumsum([0, *(count for side in counts for count in side)])
    sizes = [len(side) for side in sides]
    ranks = np.concatenate(sides) + np.repeat(before[:-1], sizes)
    return ranks, np.repeat(sizes, sizes)
