"""A step of ReID launches at most 500 kernels and waits at most twice, of crops of any size.

Published depth with few channels: the counts are those of the published model.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from halftrack.frames import CropBatch
from halftrack.models import ReIDConfig
from halftrack.precision import Launches, Precision
from halftrack.recipes import load_recipe
from halftrack.training import Learner

PUBLISHED = "reid_r50_fp16_8x32_6e_mot17"


def counted(count: int, height: int = 256, width: int = 128) -> Launches:
    config = ReIDConfig(num_identities=380)
    model = replace(config, backbone=replace(config.backbone, base_channels=8)).build()
    training = replace(load_recipe(PUBLISHED).training, lr=1e-4, accumulate=1)
    learner = Learner(model, training, Precision(), device=torch.device("cpu"), batches_per_epoch=1)
    batch = CropBatch(
        images=torch.rand(count, 3, height, width) * 255,
        labels=torch.arange(count) // 4,
        sample_ids=("crop",) * count,
    )
    for _ in range(2):
        with Launches() as launches:
            learner.gradients(batch, seed=0)
            learner.step()
    return launches


@pytest.mark.parametrize("size", [(256, 128), (128, 64)])
def test_a_published_step_launches_at_most_500_kernels_and_waits_twice(
    size: tuple[int, int],
) -> None:
    launches = counted(8, *size)
    assert launches.kernels <= 500
    assert launches.waits <= 2, [part.waits for part in launches.parts]


def test_twice_the_crops_wait_as_often_and_launch_a_tenth_more_at_most() -> None:
    one, twice = counted(8), counted(16)
    assert twice.waits == one.waits
    assert twice.kernels <= 1.1 * one.kernels
