"""The traffic of a step that GPUs share is that of DistributedDataParallel's own buckets."""

from __future__ import annotations

import pytest
import torch
from processes import in_processes

from halftrack.errors import UserError
from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.studies.memory.traffic import traffic
from halftrack.training.processes.distributed import SharedLearner
from halftrack.training.ranks import together

SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
WIDE = "model.roi_head.fc_out_channels=2048"
SIAMESE = "siamese_rpn_r50_20e_lasot"


def recipe_of(name: str, *fields: str) -> TrainedRecipe:
    return override(load_recipe(name).for_training(), fields)


def test_a_published_recipe_is_shared_as_its_buckets_are() -> None:
    found = traffic(recipe_of(SELSA, "training.accumulate=8"), 4)
    assert (found.gpus, found.batches) == (4, 2)
    assert sum(found.buckets) == found.weights
    assert found.weights == pytest.approx(281.6e6, rel=1e-3)
    told = found.lines()
    assert "each of 4 GPUs takes 2 of a step's batches" in told[0]
    assert f"281.6 MB of gradients in {len(found.buckets)} buckets" in told[1]
    assert "each GPU sends 422.4 MB" in told[1]
    assert found.gathered == pytest.approx(282.7e6, rel=1e-2)
    assert "in each pass every GPU sends about 635." in told[3]


def test_buckets_are_those_of_a_run() -> None:
    recipe = recipe_of("faster-rcnn_tiny_sample", "training.accumulate=2", WIDE)

    def bucket_sizes() -> list[int]:
        with together(torch.device("cpu")) as ranks:
            learner = SharedLearner(
                recipe.build_model(),
                recipe.training,
                recipe.precision,
                ranks=ranks,
                device=torch.device("cpu"),
                batches_per_epoch=2,
            )
            learner.begin_epoch(0)
            told = learner._compute._get_ddp_logging_data()["bucket_sizes"]
            return [int(size) for size in told.split(", ")]

    first, second = in_processes(2, bucket_sizes)
    found = list(traffic(recipe, 2).buckets)
    assert first == second
    assert len(found) > 2
    found[0] += 4  # a parameter that nothing uses
    assert sorted(first) == sorted(found)


def test_the_last_phase_trains_the_most_and_half_of_it_travels_in_half() -> None:
    whole = traffic(recipe_of(SIAMESE, "training.accumulate=2"), 2)
    half = traffic(
        recipe_of(SIAMESE, "training.accumulate=2", "training.gradient_compression=bf16"), 2
    )
    assert whole.weights == half.weights == pytest.approx(214.9e6, rel=1e-3)
    assert sum(half.buckets) == whole.weights // 2


def test_a_step_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(UserError, match=r"training.accumulate=6: 4 processes cannot share"):
        traffic(recipe_of(SELSA, "training.accumulate=6"), 4)
