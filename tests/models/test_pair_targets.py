"""Targets of many pairs at once are those of each pair, drawn in the same order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from halftrack.boxes import encode_deltas, iou
from halftrack.models import MatchingConfig
from halftrack.models.pair_targets import PairTargets, assign_pairs

ANCHORS = torch.rand(400, 4, generator=torch.Generator().manual_seed(5)) * 200
ANCHORS[:, 2:] = ANCHORS[:, :2] + 40
MATCHING = MatchingConfig(
    positive_iou=0.3, negative_iou=0.1, low_quality_iou=None, num_samples=32, positive_fraction=0.25
)


def made(
    positive: list[bool], matching: MatchingConfig = MATCHING
) -> tuple[torch.Tensor, torch.Tensor, PairTargets]:
    """Boxes, near anchors and targets of pairs."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(len(positive), 2, generator=generator) * 100 + 30
    boxes = torch.cat([corner, corner + 45], dim=1)
    near = torch.rand(len(positive), len(ANCHORS), generator=generator) < 0.05
    torch.manual_seed(1)
    targets = assign_pairs(
        boxes,
        torch.tensor(positive),
        anchors_xyxy=ANCHORS,
        near=near,
        matching=matching,
        num_negatives=5,
        sample_ids=("pair",) * len(positive),
    )
    return boxes, near, targets


def alone(box: Tensor, matching: MatchingConfig) -> tuple[Tensor, Tensor]:
    """Positive and negative anchors of one pair: mmdet's assigner and sampler, step by step."""
    overlaps = iou(box[None], ANCHORS)[0]
    positive = overlaps >= matching.positive_iou
    if matching.low_quality_iou is not None and overlaps.max() >= matching.low_quality_iou:
        positive |= overlaps == overlaps.max()
    negative = (overlaps < matching.negative_iou) & ~positive
    wanted = int(matching.num_samples * matching.positive_fraction)
    on = drawn(positive.nonzero().flatten(), wanted)
    return on, drawn(negative.nonzero().flatten(), matching.num_samples - len(on))


def drawn(candidates: Tensor, wanted: int) -> Tensor:
    """As many as wanted, in their order; nothing is drawn where there are no more."""
    if len(candidates) <= wanted:
        return candidates
    return candidates[torch.randperm(len(candidates))[:wanted]].sort().values


@pytest.mark.parametrize("low_quality_iou", [None, 0.0])
@pytest.mark.parametrize("positive_iou", [0.3, 0.45, 0.99])
def test_pairs_together_draw_what_each_draws_by_itself(
    low_quality_iou: float | None, positive_iou: float
) -> None:
    kinds = [True, False, True, True, False]
    matching = MatchingConfig(
        positive_iou=positive_iou,
        negative_iou=0.1,
        low_quality_iou=low_quality_iou,
        num_samples=32,
        positive_fraction=0.25,
    )
    boxes, near, targets = made(kinds, matching)
    torch.manual_seed(1)
    positives, negatives, deltas = [], [], []
    for number, (box, is_positive) in enumerate(zip(boxes, kinds, strict=True)):
        if is_positive:
            on, off = alone(box, matching)
            off = off[:24]
        else:
            on = torch.zeros(0, dtype=torch.int64)
            candidates = near[number].nonzero().flatten()
            off = candidates[torch.randperm(len(candidates))[:5]].sort().values
        deltas.append(encode_deltas(ANCHORS[on], box[None].expand(len(on), 4)))
        for side, all_of in ((on, positives), (off, negatives)):
            all_of += [(400 * number + int(anchor), 0.5 / len(side)) for anchor in side]
    found = list(zip(targets.sampled.tolist(), targets.weights.tolist(), strict=True))
    assert found == [(anchor, pytest.approx(weight)) for anchor, weight in positives + negatives]
    assert targets.positive.tolist() == [anchor for anchor, _ in positives]
    assert torch.equal(targets.deltas, torch.cat(deltas))


def test_pairs_without_any_candidate_have_no_targets() -> None:
    targets = assign_pairs(
        torch.tensor([[0.0, 0.0, 9.0, 9.0]]),
        torch.tensor([False]),
        anchors_xyxy=ANCHORS,
        near=torch.zeros(1, len(ANCHORS), dtype=torch.bool),
        matching=MATCHING,
        num_negatives=5,
        sample_ids=("pair",),
    )
    assert len(targets.sampled) == len(targets.weights) == len(targets.positive) == 0
