"""Images of a batch are matched and sampled at once as they would be one by one, draw for draw."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from halftrack.boxes import iou
from halftrack.frames import Frame
from halftrack.models.matching import (
    MatchingConfig,
    Objects,
    assign_objects,
    mean_loss,
    sample_boxes,
)


def boxes(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    # Whole pixels: ties between objects, and anchors that are two objects' best.
    corner = torch.randint(0, 12, (count, 2), generator=generator)
    side = torch.randint(1, 8, (count, 2), generator=generator)
    return torch.cat([corner, corner + side], dim=1).float()


def frame(objects: int, seed: int) -> Frame:
    labels = torch.arange(objects) + 10 * seed
    image = torch.zeros(3, 20, 20, dtype=torch.uint8)
    return Frame(image=image, sample_id="", boxes_xyxy=boxes(objects, seed), labels=labels)


def assigned_alone(given: Tensor, objects: Tensor, config: MatchingConfig) -> Tensor:
    """mmdet's rule for one image, with its loop over objects."""
    if not len(objects):
        return torch.full((len(given),), -1)
    overlaps = iou(objects, given)
    best, nearest = overlaps.max(dim=0)
    result = torch.full_like(nearest, -2)
    result[best < config.negative_iou] = -1
    positive = best >= config.positive_iou
    result[positive] = nearest[positive]
    for index, row in enumerate(overlaps if config.low_quality_iou is not None else ()):
        if row.max() >= config.low_quality_iou:
            result[row == row.max()] = index
    return result


@pytest.mark.parametrize("low_quality", [None, 0.3])
@pytest.mark.parametrize("counts", [(3, 0, 6), (0, 0), (1,), (5, 5)])
def test_assignment_is_that_of_each_image_alone(
    counts: tuple[int, ...], low_quality: float | None
) -> None:
    config = MatchingConfig(positive_iou=0.6, negative_iou=0.4, low_quality_iou=low_quality)
    frames = [frame(count, seed) for seed, count in enumerate(counts)]
    given = torch.stack([boxes(40, 100 + seed) for seed in range(len(frames))])
    allowed = torch.rand(given.shape[:2], generator=torch.Generator().manual_seed(0)) > 0.3
    objects = Objects.of(frames)
    found = assign_objects(given, objects, config, allowed=allowed)
    first = 0
    for image, each in enumerate(frames):
        expected = torch.full((40,), -2)
        alone = assigned_alone(given[image][allowed[image]], each.boxes_xyxy, config)
        expected[allowed[image]] = torch.where(alone >= 0, alone + first, alone)
        assert torch.equal(found[image], expected)
        first += len(each.boxes_xyxy)
    assert torch.equal(objects.labels, torch.cat([each.labels for each in frames]))


def test_draws_are_those_of_each_image_alone_in_their_order() -> None:
    config = MatchingConfig(positive_iou=0.5, negative_iou=0.5, low_quality_iou=None, num_samples=8)
    generator = torch.Generator().manual_seed(0)
    assigned = torch.randint(-2, 3, (5, 30), generator=generator)
    assigned[1] = -1
    assigned[2] = -2
    assigned[3, 6:] = 1
    torch.manual_seed(7)
    found = sample_boxes(assigned, config)
    torch.manual_seed(7)
    rows, counts = [], []
    for image, row in enumerate(assigned):
        kept: list[Tensor] = []
        for wanted in (row >= 0, row == -1):
            candidates, room = wanted.nonzero().flatten(), 8 - sum(map(len, kept))
            room = room if kept else 4
            if len(candidates) > room:
                candidates = candidates[torch.randperm(len(candidates))[:room]].sort().values
            kept.append(candidates)
        rows += [part + image * 30 for part in kept]
        counts.append((len(kept[0]), len(kept[1])))
    assert torch.equal(found.rows, torch.cat(rows))
    assert found.counts == tuple(counts)
    positive = found.rows[found.positive]
    assert torch.equal(positive, torch.cat(rows[::2]))
    assert torch.equal(found.objects, assigned.flatten()[positive])


GIVEN, WANTED = torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.zeros(4)


def test_one_part_is_its_sum_over_its_count() -> None:
    assert mean_loss(F.l1_loss, GIVEN, WANTED, [4], [8]) == 2.0


def test_parts_are_averaged_whatever_their_rows() -> None:
    assert mean_loss(F.l1_loss, GIVEN, WANTED, [3, 1], [3, 2]) == (2.0 + 5.0) / 2


@pytest.mark.parametrize("rows", [[4], [4, 0]])
def test_parts_without_rows_count_as_zero_and_keep_the_graph(rows: list[int]) -> None:
    given = GIVEN.clone().requires_grad_()
    loss = mean_loss(F.l1_loss, given, WANTED, rows, [1] * len(rows))
    loss.backward()
    assert loss == 16.0 / len(rows)
    assert (given.grad == 1 / len(rows)).all()
