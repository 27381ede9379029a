"""The two sizes of a quickstart: the tiny recipes as they are, and shorter runs of the same."""

from __future__ import annotations

import pytest

from halftrack.recipes import load_recipe
from halftrack.studies.quickstart.plan import TASKS, Plan, full_plan, quick_plan


def test_the_full_one_is_the_tiny_recipes_in_three_precisions() -> None:
    plan = full_plan()
    assert plan.precisions == ("fp32", "bf16", "fp16")
    names = ("selsa", "faster-rcnn", "reid", "tracktor", "siamese_rpn")
    recipes = (plan.vid, plan.detector, plan.embedder, plan.tracker, plan.sot)
    for name, recipe in zip(names, recipes, strict=True):
        assert recipe.to_dict() == load_recipe(f"{name}_tiny_sample").to_dict() | {"summary": ""}


@pytest.mark.parametrize("plan", [full_plan(), quick_plan()], ids=["full", "quick"])
def test_every_task_is_scored_on_videos_that_no_training_sees(plan: Plan) -> None:
    assert tuple(plan.video) == TASKS
    for task, video in plan.video.items():
        assert video.layout == task
        assert video.val_videos >= 4
    assert plan.vid.data.training_sets == ("vid",)
    assert (plan.detector.data.training_split, plan.tracker.data.test_split) == ("train", "test")
    assert (plan.sot.data.lasot_split, plan.sot.split) == ("train", "test")


def test_the_tracker_of_the_quick_one_has_its_detector() -> None:
    plan = quick_plan()
    assert plan.tracker.detector == plan.detector.model
    assert plan.tracker.data == plan.detector.data
    assert plan.tracker.reid == plan.embedder.model


def test_a_process_of_the_quick_one_prepares_its_own_batches() -> None:
    plan = quick_plan()
    trained = (plan.vid, plan.detector, plan.embedder, plan.sot)
    assert {recipe.training.workers for recipe in trained} == {0}
