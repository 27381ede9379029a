"""A plan asks for every way to take a step, says what fits, and searches for what would."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from halftrack.errors import UserError
from halftrack.precision.memory import KINDS
from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.rehearsing.gpu import CONTEXT
from halftrack.report import render_table
from halftrack.studies.memory import plan as plan_module
from halftrack.studies.memory.plan import MemoryPlan, plan_memory

GIB = 2**30
SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
SIAMESE = "siamese_rpn_r50_20e_lasot"


def stand_in(
    recipe: TrainedRecipe, *, epoch: int = 0, objects: int = 50, gpus: int = 1
) -> SimpleNamespace:
    """A GiB for each sample that shares a pass, half of it in half precision or recomputed."""
    samples = getattr(recipe.data, "num_references", None) or recipe.data.pairs_per_batch
    peak = samples * GIB * (2 if epoch else 1)
    if recipe.precision.is_half:
        peak //= 2
    if recipe.model.backbone.recompute:
        peak //= 2
    if recipe.training.accumulate > 1:
        peak += GIB
    if gpus > 1:
        peak -= {"none": 0, "optimizer": GIB // 2, "full": GIB}[recipe.training.shard]
    modules = {"": 3, "backbone.layer1.0.conv1": 5, "backbone.layer1.1": 7, "neck": 11, "bn": 0.4}
    modules = {path: round(size * 2**20) for path, size in modules.items()}
    by_kind = dict.fromkeys(KINDS, 0) | {"activations": peak}
    return SimpleNamespace(peak=peak, peak_by_kind=by_kind, peak_by_module=modules)


@pytest.fixture(autouse=True)
def _predictions_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "predicted_step", stand_in)


def planned(name: str, *fields: str, gpu_memory: int | None = None, gpus: int = 1) -> MemoryPlan:
    recipe = load_recipe(name)
    assert isinstance(recipe, TrainedRecipe)
    return plan_memory(override(recipe, fields), gpu_memory=gpu_memory, gpus=gpus)


def test_every_precision_is_planned_with_and_without_each_measure() -> None:
    steps = planned(SELSA).steps
    ways = {(s.precision, s.recompute, s.accumulates): s.peak / GIB for s in steps}
    assert len(ways) == len(steps) == 12
    assert ways["fp32", (), False] == 2
    assert ways["fp16", (2, 3, 4), True] == 1.5


def test_a_recipes_own_recomputation_is_planned_first() -> None:
    steps = planned(SELSA, "model.backbone.recompute=(2,)").steps
    assert list(dict.fromkeys(step.recompute for step in steps)) == [(2,), (), (2, 3, 4)]


def test_several_gpus_are_planned_with_each_way_to_shard() -> None:
    own = ("training.accumulate=8", "training.shard=optimizer")
    plan = planned(SELSA, *own, gpus=8, gpu_memory=4 * GIB)
    ways = {(s.precision, s.recompute, s.shard): s.peak / GIB for s in plan.steps}
    assert len(ways) == len(plan.steps) == 18
    assert ways["fp32", (), "none"] - ways["fp32", (), "optimizer"] == 0.5
    assert ways["fp32", (), "none"] - ways["fp32", (), "full"] == 1
    assert [(step.shard, step.peak) for step in plan.as_given] == [("optimizer", 2.5 * GIB)]
    title, rows = next(iter(plan.tables().items()))
    assert title.endswith(", each of 8 GPUs")
    assert [row["shard"] for row in rows[:3]] == ["none", "optimizer", "full"]
    assert all("accumulate" not in row for row in rows)
    assert any("each of 8 GPUs takes 1 of a step's batches" in line for line in plan.notes())
    assert plan.numbers()["traffic"]["gpus"] == 8
    assert planned(SELSA, *own).as_given[0].shard == "none"  # one GPU has nobody to share with
    assert any("training.shard=full: of the weights" in line for line in plan.notes())
    compiled = planned(SELSA, *own, "training.compile=default", gpus=8)
    assert {step.shard for step in compiled.steps} == {"none", "optimizer"}
    (told,) = (line for line in compiled.notes() if "training.shard=" in line and "full" in line)
    assert told.startswith("training.shard='full', training.compile='default': ")
    clips = planned(SELSA, *own, "training.clips_per_pass=8", gpus=4)
    assert "training.clips_per_pass=2" in clips.sharing


def test_a_model_that_cannot_be_divided_is_planned_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def undivided(recipe: TrainedRecipe, **given: int) -> SimpleNamespace:
        if recipe.training.shard == "full":
            raise UserError("training.shard='full': a parameter of no part")
        return stand_in(recipe, **given)

    monkeypatch.setattr(plan_module, "predicted_step", undivided)
    plan = planned(SELSA, "training.accumulate=8", gpus=8)
    assert {step.shard for step in plan.steps} == {"none", "optimizer"}
    assert "training.shard='full': a parameter of no part" in plan.notes()
    assert not any("training.shard=full" in line for line in plan.notes())
    with pytest.raises(UserError, match="of no part"):
        planned(SELSA, "training.accumulate=8", "training.shard=full", gpus=8)


def test_phases_are_planned_each_and_nothing_recomputed_where_statistics_are_taken() -> None:
    steps = planned(SIAMESE, "data.pairs_per_batch=1").steps
    assert {(s.first_epoch, s.recompute) for s in steps} == {(0, ()), (10, ())}


def test_tf32_stands_in_the_place_of_fp32_where_it_is_the_recipes_own() -> None:
    plan = planned(SELSA, "precision.name=tf32", gpu_memory=8 * GIB)
    assert list(dict.fromkeys(step.precision for step in plan.steps)) == ["tf32", "bf16", "fp16"]
    assert plan.verdict is not None
    assert f"{SELSA} in tf32 may take" in plan.verdict


def test_what_fits_is_judged_by_the_most_a_gpu_may_need() -> None:
    step = next(s for s in planned(SELSA).steps if s.peak == 2 * GIB)
    _, high = step.on_a_gpu
    assert step.fits(high + CONTEXT)
    assert not step.fits(high + CONTEXT - 1)


def test_the_largest_is_that_of_the_phase_that_holds_the_most() -> None:
    found = planned(SIAMESE, "data.pairs_per_batch=1", gpu_memory=14 * GIB).largest
    assert [(each.precision, each.settings, each.peak) for each in found] == [
        ("fp32", ("data.pairs_per_batch=5",), 10 * GIB),
        ("bf16", ("data.pairs_per_batch=8",), 8 * GIB),
        ("fp16", ("data.pairs_per_batch=8",), 8 * GIB),
    ]


def test_images_are_searched_too_but_for_search_regions() -> None:
    found = planned(SELSA, gpu_memory=GIB).largest
    assert [each.settings for each in found] == [()] * 9


def test_a_plan_is_shown_and_written_in_full() -> None:
    plan = planned(SELSA, gpu_memory=4 * GIB)
    steps, kinds, modules, largest = plan.tables().values()
    assert "600x1000, data.num_references=2" in next(iter(plan.tables()))
    assert [row["fits"] for row in steps[:2]] == ["yes", "no"]
    assert steps[0] | {"live": "2.00", "on a GPU": "2.01-2.58"} == steps[0]
    assert all(len(row) <= 7 for row in steps)  # legible in 80 columns
    assert len(kinds) == 4 * len(KINDS)
    way = {"kind": "activations", "recompute": "-", "accumulate": "-"}
    assert way | {"fp32": "2048", "bf16": "1024", "fp16": "1024"} in kinds
    assert [row["module"] for row in modules] == ["the model itself", "backbone.layer1", "neck"]
    assert modules[1]["fp16"] == "12"
    assert largest[0]["set"] == "data.num_references=2"
    for title, rows in plan.tables().items():
        render_table(rows, title=title)
    told = json.loads(json.dumps(plan.numbers(), allow_nan=False))
    assert told["steps"][0]["by_module"]["backbone.layer1.1"] == 7 * 2**20
    assert told["gpu_memory"] == 4 * GIB
    assert any("0.80 GiB aside" in line for line in plan.notes())


def test_a_peak_without_activations_is_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = SimpleNamespace(peak=5, peak_by_kind=dict.fromkeys(KINDS, 1), peak_by_module={})
    monkeypatch.setattr(plan_module, "predicted_step", lambda *_, **__: empty)
    for title, rows in planned(SELSA).tables().items():
        render_table(rows, title=title)


def test_what_is_assumed_of_a_recipe_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    any_step = SimpleNamespace(peak=5, peak_by_kind=dict.fromkeys(KINDS, 1), peak_by_module={})
    monkeypatch.setattr(plan_module, "predicted_step", lambda *_, **__: any_step)
    told = "\n".join(planned("reid_tiny_sample", "training.channels_last=True").notes())
    assert "1000 individuals" in told
    assert "not counted: a channels-last copy" in told
    assert not planned("reid_tiny_sample", "model.num_identities=3").assumed
    half = ("model.num_identities=3", "precision.name=fp16")  # which a GPU keeps channels-last
    assert len(planned("reid_tiny_sample", *half).assumed) == 1
    assert not planned("reid_tiny_sample", *half, "training.channels_last=False").assumed


def test_frames_without_objects_are_refused() -> None:
    recipe = load_recipe(SELSA)
    assert isinstance(recipe, TrainedRecipe)
    with pytest.raises(ValueError, match="objects=0: a frame that is learned has at least 1"):
        plan_memory(recipe, objects=0)


def test_the_verdict_is_of_the_recipe_as_given_in_its_most_expensive_phase() -> None:
    frozen = planned(SIAMESE, "data.pairs_per_batch=8", gpu_memory=12 * GIB)
    most = max(step.on_a_gpu[1] for step in frozen.as_given) + CONTEXT
    assert {step.precision for step in frozen.as_given} == {"fp32"}
    assert {step.first_epoch for step in frozen.as_given} == {0, 10}
    assert planned(SIAMESE, "data.pairs_per_batch=8", gpu_memory=most).fits is True
    short = planned(SIAMESE, "data.pairs_per_batch=8", gpu_memory=most - 1)
    assert short.fits is False
    assert short.verdict is not None
    assert short.verdict.startswith(f"does not fit: {SIAMESE} in fp32 may take up to ")
    assert short.numbers()["fits"] is False


def test_without_a_gpu_there_is_no_verdict() -> None:
    plan = planned(SELSA)
    assert plan.fits is None
    assert plan.verdict is None
