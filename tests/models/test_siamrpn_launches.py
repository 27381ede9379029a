"""A step of SiamRPN++ launches few kernels and waits at most 3 times, however many pairs it has.

Published depth and geometry with few channels: the counts are those of the published model.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from halftrack.frames import PairBatch
from halftrack.models import SiamRPNConfig
from halftrack.precision import Launches, Precision
from halftrack.recipes import load_recipe
from halftrack.training import Learner

PUBLISHED = "siamese_rpn_r50_20e_lasot"


def pairs(count: int, side: int) -> PairBatch:
    """Every fifth is negative, as published."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, generator=generator) * 60 + 70
    sizes = torch.rand(count, 2, generator=generator) * 60 + 40
    return PairBatch(
        templates=torch.rand(count, 3, 127, 127, generator=generator) * 255,
        searches=torch.rand(count, 3, side, side, generator=generator) * 255,
        boxes_xyxy=torch.cat([corners, corners + sizes], dim=1),
        positive=torch.arange(count) % 5 != 4,
        sample_ids=("pair",) * count,
    )


def counted(count: int, side: int = 255) -> Launches:
    config = SiamRPNConfig()
    backbone = replace(config.backbone, base_channels=8)
    geometry = replace(config.geometry, search_size=side)
    model = replace(config, backbone=backbone, neck_channels=16, geometry=geometry).build()
    training = replace(load_recipe(PUBLISHED).training, lr=1e-4, accumulate=1)
    learner = Learner(model, training, Precision(), device=torch.device("cpu"), batches_per_epoch=1)
    learner.begin_epoch(0)
    batch = pairs(count, side)
    for _ in range(2):  # the first step folds the frozen norms
        with Launches() as launches:
            learner.gradients(batch, seed=0)
            learner.step()
    return launches


@pytest.fixture(scope="module")
def published() -> Launches:
    return counted(28)


def test_a_published_step_launches_at_most_620_kernels_and_waits_3_times(
    published: Launches,
) -> None:
    assert published.kernels <= 620
    assert published.waits <= 3, [part.waits for part in published.parts]


def test_smaller_search_regions_launch_as_many_kernels_and_wait_as_often() -> None:
    usual, smaller = counted(4), counted(4, side=239)
    assert smaller.kernels == usual.kernels
    assert smaller.waits == usual.waits


def test_twice_the_pairs_wait_as_often_and_launch_a_tenth_more_at_most(
    published: Launches,
) -> None:
    twice = counted(56)
    assert twice.waits == published.waits
    assert twice.kernels <= 1.1 * published.kernels
