"""A run's training state leaves for MMTracking and comes back: rate, momentum, scale, place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from halftrack.errors import UserError
from halftrack.interop.checkpoints.export import export
from halftrack.interop.checkpoints.resume import read_continuation
from halftrack.precision import Precision
from halftrack.recipes import Recipe, TrainedRecipe, load_recipe
from halftrack.training import Learner, read_checkpoint
from halftrack.training.files.checkpoint import write_checkpoint
from halftrack.training.same_run import EPOCH

STEPS = 4


def trained(recipe: TrainedRecipe, file: Path, *, batches: int = STEPS) -> Learner:
    """A learner after some steps of made-up gradients, and the checkpoint that a run writes."""
    learner = Learner(
        recipe.without_data().build_model(),
        recipe.training,
        recipe.precision,
        device=torch.device("cpu"),
        batches_per_epoch=STEPS * recipe.training.accumulate,
    )
    learner.begin_epoch(0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(batches):
        for parameter in learner.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.rand(parameter.shape, generator=generator)
        learner.step()
    place = {"batches_done": batches, "epochs_finished": 0, "steps": batches}
    meta = {"recipe": recipe.to_dict(), "data": {EPOCH: {"batches": STEPS}}}
    write_checkpoint(file, {"meta": meta, **learner.state_dict(), "position": place})
    return learner


def exported(recipe: Recipe, run: Path, out: Path) -> dict[str, Any]:
    assert export(recipe, recipe.load_model(run), out, "mmtracking", checkpoint=run)
    return read_checkpoint(out)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("siamese_rpn_tiny_sample", Precision("fp16", 512.0)),
        ("siamese_rpn_tiny_sample", Precision("fp16", "dynamic")),
        ("faster-rcnn_tiny_sample", Precision("fp32")),
    ],
)
def test_rate_momentum_scale_and_place_come_back(
    name: str, precision: Precision, tmp_path: Path
) -> None:
    recipe: Any = replace(load_recipe(name).for_training(), precision=precision)
    learner = trained(recipe, tmp_path / "step_4.pth")
    state = exported(recipe, tmp_path / "step_4.pth", tmp_path / "theirs.pth")
    back = read_continuation(tmp_path / "theirs.pth")
    assert (back.epochs_finished, back.steps) == (1, STEPS)
    names = {id(value): name for name, value in learner.model.named_parameters()}
    for group, base in zip(
        learner.optimizer.param_groups, learner.schedule.state_dict()["base_rates"], strict=True
    ):
        for parameter in group["params"]:
            own = back.settings[names[id(parameter)]]
            assert own["base_lr"] == base
            assert own["momentum"] == group["momentum"] > 0
            assert own["weight_decay"] == group["weight_decay"]
            momentum = learner.optimizer.state.get(parameter, {}).get("momentum_buffer")
            found = back.momentum.get(names[id(parameter)])
            assert (momentum is None) == (found is None)
            if momentum is not None and found is not None:
                assert torch.equal(momentum, found)
    assert back.momentum
    if precision.name == "fp32":
        assert back.loss_scale is None
        assert "fp16" not in state["meta"]
    else:
        assert back.loss_scale is not None
        assert back.loss_scale["scale"] == learner.loss_scale.value
        clean = 0 if precision.loss_scale == 512 else STEPS
        assert back.loss_scale["_growth_tracker"] == clean


def test_a_loss_scale_that_came_with_other_factors_leaves_with_them(tmp_path: Path) -> None:
    recipe: Any = load_recipe("faster-rcnn_tiny_sample").for_training()
    recipe = replace(recipe, precision=Precision("fp16", "dynamic"))
    given = {"scale": 64.0, "growth_factor": 4.0, "backoff_factor": 0.25, "growth_interval": 9}
    trained(recipe, tmp_path / "step_4.pth")
    scale = recipe.precision.new_loss_scale()
    scale.load_state_dict({**given, "_growth_tracker": 3})
    state = read_checkpoint(tmp_path / "step_4.pth") | {"loss_scale": scale.state_dict()}
    write_checkpoint(tmp_path / "step_4.pth", state)
    exported(recipe, tmp_path / "step_4.pth", tmp_path / "theirs.pth")
    back = read_continuation(tmp_path / "theirs.pth")
    assert back.loss_scale == {**given, "_growth_tracker": 3}


@pytest.mark.parametrize("name", ["siamese_rpn_tiny_sample", "faster-rcnn_tiny_sample"])
def test_parameters_are_numbered_as_mmcv_numbers_them(name: str, tmp_path: Path) -> None:
    recipe: Any = load_recipe(name).for_training()
    learner = trained(recipe, tmp_path / "step_4.pth")
    state = exported(recipe, tmp_path / "step_4.pth", tmp_path / "theirs.pth")["optimizer"]
    count = len(list(learner.model.parameters()))
    if recipe.training.lr_factors:  # as its paramwise_cfg has them: each a group of its own
        assert [group["params"] for group in state["param_groups"]] == [[i] for i in range(count)]
    else:
        assert [group["params"] for group in state["param_groups"]] == [list(range(count))]
    assert set(state["param_groups"][0]) == {
        *("lr", "momentum", "dampening", "weight_decay", "nesterov", "initial_lr", "params")
    }
    # torch takes it for the model's optimizer, as mmcv hands it in.
    groups = [{"params": [p]} for p in learner.model.parameters()]
    theirs = torch.optim.SGD(
        groups if len(state["param_groups"]) > 1 else learner.model.parameters(), lr=1.0
    )
    theirs.load_state_dict(state)
    assert theirs.param_groups[0]["lr"] == pytest.approx(state["param_groups"][0]["lr"])


def test_within_an_epoch_nothing_is_exported(tmp_path: Path) -> None:
    recipe: Any = load_recipe("faster-rcnn_tiny_sample").for_training()
    trained(recipe, tmp_path / "step_3.pth", batches=3)
    with pytest.raises(UserError, match=r"in epoch 1, 3 of 4 batches done.*or best\.pth for the"):
        exported(recipe, tmp_path / "step_3.pth", tmp_path / "theirs.pth")
    assert not (tmp_path / "theirs.pth").exists()


def test_a_place_is_told_by_the_epoch_s_length_and_never_guessed(tmp_path: Path) -> None:
    recipe: Any = load_recipe("faster-rcnn_tiny_sample").for_training()
    trained(recipe, tmp_path / "a.pth")
    state = read_checkpoint(tmp_path / "a.pth")
    # Earlier versions called a batch a clip.
    state["position"] = {"clips_done": 3 * STEPS, "epochs_finished": 3, "steps": 13}
    write_checkpoint(tmp_path / "earlier.pth", state)
    meta = exported(recipe, tmp_path / "earlier.pth", tmp_path / "theirs.pth")["meta"]
    assert (meta["epoch"], meta["iter"]) == (3, 13)
    del state["meta"]["data"]
    write_checkpoint(tmp_path / "silent.pth", state)
    with pytest.raises(
        UserError, match=r"silent\.pth does not say how many .*the same --out.*best\.pth"
    ):
        exported(recipe, tmp_path / "silent.pth", tmp_path / "none.pth")
    assert not (tmp_path / "none.pth").exists()


def test_another_model_s_optimizer_is_refused(tmp_path: Path) -> None:
    recipe: Any = load_recipe("faster-rcnn_tiny_sample").for_training()
    trained(recipe, tmp_path / "a.pth")
    for change, told in (
        ("more", "has a parameter x, the model"),
        ("fewer", "parameters, the mod"),
    ):
        state = read_checkpoint(tmp_path / "a.pth")
        group = state["optimizer"]["param_groups"][0]
        if change == "more":
            group["param_names"][0] = "x"
        else:
            group["params"], group["param_names"] = group["params"][1:], group["param_names"][1:]
        write_checkpoint(tmp_path / "b.pth", state)
        with pytest.raises(UserError, match=told):
            exported(recipe, tmp_path / "b.pth", tmp_path / "theirs.pth")
