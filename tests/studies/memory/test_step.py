"""A step that nobody computed is predicted to hold what the computed one holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from processes import in_processes
from torch import Tensor, nn

from halftrack.precision import LiveBytes, Precision
from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.studies.memory.step import (
    metered_step,
    predicted_step,
    resting_learner,
    step_memory,
)
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import Phase
from halftrack.training.processes import distributed
from halftrack.training.processes.sharded_learner import new_learner
from halftrack.training.ranks import together

CPU = torch.device("cpu")
FP32, TF32 = Precision(), Precision("tf32")
OBJECTS = 3
HALF = "precision.name=fp16"
# Untrained weights leave few proposals; unsuppressed there are as many as the prediction takes.
RECIPES = {
    "selsa_tiny_sample": ((96, 160), ["model.rpn.nms_iou=1.0"]),
    "faster-rcnn_tiny_sample": ((96, 160), ["model.rpn.nms_iou=1.0"]),
    "reid_tiny_sample": ((64, 32), ["model.num_identities=30"]),
    "siamese_rpn_tiny_sample": ((191, 191), ["data.pairs_per_batch=2"]),
}


def sized(name: str, precision: Precision = FP32, *more: str) -> TrainedRecipe:
    size, fields = RECIPES[name]
    recipe = load_recipe(name)
    assert isinstance(recipe, TrainedRecipe)
    recipe = override(recipe, [*fields, *recipe.image_fields(size), *more])
    return dataclasses.replace(recipe, precision=precision)


def measured_peak(recipe: TrainedRecipe) -> int:
    torch.manual_seed(0)
    learner = resting_learner(recipe, recipe.build_model())
    return metered_step(learner, recipe.planned_batch(objects=OBJECTS)).peak


@pytest.mark.parametrize(
    "precision",
    [FP32, TF32, Precision("bf16"), Precision("fp16", 1.0)],
    ids=lambda p: p.name,
)
@pytest.mark.parametrize("name", RECIPES)
def test_the_predicted_peak_is_the_measured_one(name: str, precision: Precision) -> None:
    recipe = sized(name, precision)
    predicted = predicted_step(recipe, objects=OBJECTS).peak
    assert predicted == pytest.approx(measured_peak(recipe), rel=0.01)


@pytest.mark.parametrize("name", RECIPES)
def test_tf32_holds_what_fp32_holds(name: str) -> None:
    # The first in a process makes small constants that stay, and counts them.
    steps = (predicted_step(sized(name, p), objects=OBJECTS) for p in (FP32, FP32, TF32))
    _, fp32, tf32 = steps
    assert tf32.peak_by_kind == fp32.peak_by_kind


@pytest.mark.parametrize("field", ["training.accumulate=2", "model.backbone.recompute=(1,2,3)"])
def test_accumulation_and_recomputation_are_predicted_too(field: str) -> None:
    plain = predicted_step(sized("reid_tiny_sample"), objects=OBJECTS).peak
    recipe = sized("reid_tiny_sample", FP32, field)
    predicted = predicted_step(recipe, objects=OBJECTS).peak
    assert predicted == pytest.approx(measured_peak(recipe), rel=0.01)
    assert (predicted > plain) == field.startswith("training")


@pytest.mark.parametrize("accumulate", [2, 4])
def test_clips_that_share_a_pass_are_predicted_too(accumulate: int) -> None:
    plain = predicted_step(sized("selsa_tiny_sample"), objects=OBJECTS).peak
    fields = (f"training.accumulate={accumulate}", "training.clips_per_pass=2")
    recipe = sized("selsa_tiny_sample", FP32, *fields)
    predicted = predicted_step(recipe, objects=OBJECTS).peak
    assert predicted == pytest.approx(measured_peak(recipe), rel=0.01)
    assert predicted > 1.25 * plain


@pytest.mark.parametrize("shard", ["none", "optimizer"])
@pytest.mark.parametrize("name", ["faster-rcnn_tiny_sample", "reid_tiny_sample"])
def test_one_of_two_processes_is_predicted_too(
    monkeypatch: pytest.MonkeyPatch, name: str, shard: str
) -> None:
    monkeypatch.setattr(distributed, "_added_in_order", added_in_place)
    recipe = sized(name, FP32, "training.accumulate=2", f"training.shard={shard}")
    predicted = predicted_step(recipe, objects=OBJECTS, gpus=2)
    assert predicted.peak == pytest.approx(measured(recipe), rel=0.01)
    momentum = sum(p.nbytes for p in recipe.build_model().parameters() if p.requires_grad)
    share = 0.5 if shard == "optimizer" else 1.0
    assert predicted.peak_by_kind["optimizer"] == pytest.approx(share * momentum, rel=0.2)
    assert predicted.peak_by_kind["gradients"] >= momentum


@pytest.mark.parametrize(
    ("name", "processes", "fields"),
    [
        ("reid_tiny_sample", 2, ("training.ema_decay=0.9",)),
        ("faster-rcnn_tiny_sample", 4, ()),
        pytest.param("selsa_tiny_sample", 4, (HALF,), marks=pytest.mark.slow),
        pytest.param("siamese_rpn_tiny_sample", 2, (HALF,), marks=pytest.mark.slow),
    ],
)
def test_a_process_that_holds_a_piece_of_everything_is_predicted_too(
    name: str, processes: int, fields: tuple[str, ...]
) -> None:
    fields = (f"training.accumulate={processes}", *fields)
    whole, piece = (
        sized(name, FP32, *fields, f"training.shard={shard}") for shard in ("none", "full")
    )
    predicted = predicted_step(piece, objects=OBJECTS, gpus=processes)
    assert predicted.peak == pytest.approx(measured(piece, processes), rel=0.01)
    before = predicted_step(whole, objects=OBJECTS, gpus=processes)
    assert predicted.peak < before.peak
    kinds = predicted.peak_by_kind
    assert kinds["optimizer"] < 1.1 * before.peak_by_kind["optimizer"] / processes
    assert kinds["gradients"] < before.peak_by_kind["gradients"]


def test_the_piece_of_the_gradients_between_passes_is_predicted_too() -> None:
    once, twice = (
        sized("faster-rcnn_tiny_sample", FP32, "training.shard=full", f"training.accumulate={n}")
        for n in (2, 4)
    )
    predicted = predicted_step(twice, objects=OBJECTS, gpus=2)
    assert predicted.peak == pytest.approx(measured(twice), rel=0.01)
    before = predicted_step(once, objects=OBJECTS, gpus=2)
    assert predicted.peak > 1.02 * before.peak
    assert predicted.peak_by_kind["gradients"] > before.peak_by_kind["gradients"]
    assert predicted.peak_by_kind["copies"] == before.peak_by_kind["copies"]


def test_batch_norms_over_all_processes_are_predicted_too() -> None:
    fields = ("training.accumulate=2", "training.shard=full", "training.sync_batch_norm=True")
    recipe = sized("reid_tiny_sample", FP32, *fields)
    predicted = predicted_step(recipe, objects=OBJECTS, gpus=2)
    assert predicted.peak == pytest.approx(measured(recipe), rel=0.01)


def test_the_fullest_process_is_that_of_the_optimizers_order() -> None:
    slower = 'training.lr_factors=(("0.*", 0.1),)'  # which come last in the optimizer
    recipe = sized("reid_tiny_sample", FP32, "training.shard=optimizer", slower)
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False, device="cpu") for _ in range(2)))
    model[0].requires_grad_(False)
    optimizer = resting_learner(recipe, model, gpus=2).optimizer
    (held,) = optimizer.parts[optimizer.ranks.rank]
    assert held is model[1].weight


def added_in_place(own: Tensor) -> Tensor:
    """The sum as GPUs take it: in the order of ranks it needs room beside the buckets."""
    dist.all_reduce(own)
    return own


def measured(recipe: TrainedRecipe, processes: int = 2) -> int:
    """The peak of the fullest of several processes, in their second step."""

    def peak() -> int:
        torch.manual_seed(0)
        model, config = recipe.build_model(), dataclasses.replace(recipe.training, lr=0.0)
        with together(CPU) as ranks:
            learner = new_learner(ranks, model, config, recipe.precision, CPU, processes)
            learner.begin_epoch(0)
            batch, passes = recipe.planned_batch(objects=OBJECTS), config.accumulate // processes
            for _ in range(passes):
                learner.gradients(batch, seed=0)
            buckets = [p.grad for p in model.parameters() if p.grad is not None]
            learner.step()
            copies = [*learner.average.tensors, *learner.statistics.kept, *buckets]
            with LiveBytes(model, [learner.optimizer], copies=copies) as meter:
                for _ in range(passes):
                    learner.gradients(batch, seed=0)
                learner.step()
            return meter.peak

    return max(in_processes(processes, peak))


def test_the_phase_decides_what_is_trained() -> None:
    recipe = sized("siamese_rpn_tiny_sample")
    later = Phase(first_epoch=1, trainable=("head.*",))
    training = dataclasses.replace(recipe.training, phases=(later,))
    recipe = dataclasses.replace(recipe, training=training)
    every, head = (predicted_step(recipe, epoch=epoch) for epoch in (0, 1))
    assert head.peak < every.peak
    model = recipe.build_model()
    momentum = sum(p.nbytes for p in model.head.parameters())
    assert head.peak_by_kind["optimizer"] == momentum
    assert every.peak_by_kind["optimizer"] == sum(p.nbytes for p in model.parameters())


def test_the_weight_average_is_counted() -> None:
    recipe = sized("reid_tiny_sample", FP32, "training.ema_decay=0.9")
    plain, averaged = (
        predicted_step(each, objects=OBJECTS) for each in (sized("reid_tiny_sample"), recipe)
    )
    weights = sum(tensor.nbytes for tensor in recipe.build_model().state_dict().values())
    assert averaged.peak_by_kind["copies"] - plain.peak_by_kind["copies"] == weights
    assert averaged.peak - plain.peak == weights
    assert averaged.peak == pytest.approx(measured_peak(recipe), rel=0.01)


def test_a_step_with_rates_of_its_own_for_some_parameters_is_predicted_too() -> None:
    recipe = sized("siamese_rpn_tiny_sample")
    training = dataclasses.replace(recipe.training, lr_factors=(("backbone.*", 0.1),))
    recipe = dataclasses.replace(recipe, training=training)
    predicted = predicted_step(recipe, objects=OBJECTS).peak
    assert predicted == pytest.approx(measured_peak(recipe), rel=0.01)


def test_a_metered_step_leaves_the_weights_as_they_are() -> None:
    recipe = sized("reid_tiny_sample", FP32, "training.ema_decay=0.9")
    model = recipe.build_model()
    before = [p.detach().clone() for p in model.parameters()]
    metered_step(resting_learner(recipe, model), recipe.planned_batch(objects=OBJECTS))
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


def test_a_step_on_data_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    films = SyntheticVideo(train_videos=1, val_videos=1, frames=8)
    data_root = write_synthetic(tmp_path / "data", films)
    recipe = load_recipe("selsa_tiny_sample")
    assert isinstance(recipe, TrainedRecipe)
    parameters = sum(p.nbytes for p in recipe.build_model().parameters())
    peaks = [step_memory(recipe.with_precision(name), data_root) for name in ("fp32", "fp16")]
    assert peaks[0] > peaks[1] > 2 * parameters
