"""Published training checkpoints become the start of a run; what is no such file is told."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published import SCALER, published, save_published
from torch import nn

from halftrack.errors import UserError
from halftrack.interop.checkpoints.resume import read_continuation
from halftrack.recipes import load_recipe, override, train
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import Learner

MODEL = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
NAMES = [name for name, _ in MODEL.named_parameters()]


def test_all_of_a_published_file_is_found_by_name(tmp_path: Path) -> None:
    state = published(MODEL.state_dict(), with_momentum=NAMES[2:])
    found = read_continuation(save_published(tmp_path / "a.pth", state))
    assert (found.epochs_finished, found.steps, found.loss_scale) == (2, 8, SCALER)
    assert list(found.weights) == list(MODEL.state_dict())
    assert list(found.settings) == NAMES
    assert found.settings["0.weight"] == {
        "base_lr": 0.01,  # where its schedule began
        "momentum": 0.9,
        "dampening": 0,
        "weight_decay": 1e-4,
        "nesterov": False,
    }
    for index, name in enumerate(NAMES[2:], start=2):
        assert torch.equal(
            found.momentum[name], state["optimizer"]["state"][index]["momentum_buffer"]
        )
    assert list(found.momentum) == NAMES[2:]


def test_a_group_for_each_parameter_is_read_in_the_model_s_order(tmp_path: Path) -> None:
    rates = [0.1 * number for number in range(len(NAMES))]
    state = published(MODEL.state_dict(), lr=rates, scaler=None)
    found = read_continuation(save_published(tmp_path / "a.pth", state))
    assert [found.settings[name]["base_lr"] for name in NAMES] == rates
    assert found.loss_scale is None


def test_a_rate_without_schedule_is_the_group_s_own(tmp_path: Path) -> None:
    state = published(MODEL.state_dict())
    del state["optimizer"]["param_groups"][0]["initial_lr"]
    found = read_continuation(save_published(tmp_path / "a.pth", state))
    assert found.settings["0.bias"]["base_lr"] == 0.001


def test_the_loss_scale_of_mmcv_s_own_scaler_is_translated(tmp_path: Path) -> None:
    own = {
        "cur_scale": 1024.0,
        "cur_iter": 2500,
        "mode": "dynamic",
        "last_overflow_iter": 399,
        "scale_factor": 2.0,
        "scale_window": 1000,
    }
    state = published(MODEL.state_dict(), scaler=own)
    found = read_continuation(save_published(tmp_path / "a.pth", state))
    assert found.loss_scale == {
        "scale": 1024.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 1000,
        "_growth_tracker": 100,  # 2100 clean steps since: it grew after 1000 and 2000
    }


def changed(change: Callable[[Any], None]) -> Any:
    state = published(copy.deepcopy(MODEL).state_dict())
    change(state)
    return state


def adam(state: Any) -> None:
    state["optimizer"]["state"][0] = {"step": 3, "exp_avg": torch.zeros(4, 3)}


WRONG: dict[str, tuple[Callable[[Any], None], str]] = {
    "ours": (lambda s: s.update(position={}, schedule={}), "a checkpoint of halftrack.*--out"),
    "published": (lambda s: s.pop("optimizer"), "no optimizer state.*--init"),
    "weights alone": (lambda s: s.pop("meta"), "its meta is None, expected a mapping"),
    "no weights": (lambda s: s.pop("state_dict"), "its state_dict is None"),
    "adam": (adam, r"optimizer.state\[0\] is no state of SGD"),
    "no epoch": (lambda s: s["meta"].pop("epoch"), "meta.epoch is None"),
    "an epoch in words": (lambda s: s["meta"].update(epoch="two"), "meta.epoch is 'two'"),
    "more parameters": (
        lambda s: s["optimizer"]["param_groups"][0]["params"].append(6),
        "a parameter 6, its state_dict has 6 parameters",
    ),
    "fewer parameters": (
        lambda s: s["optimizer"]["param_groups"][0]["params"].pop(),
        "has 5 parameters, its state_dict 6",
    ),
    "no rate": (
        lambda s: s["optimizer"]["param_groups"][0].update(initial_lr=float("nan")),
        "initial_lr is nan, expected a number",
    ),
    "weights of nan": (
        lambda s: s["state_dict"]["0.bias"].fill_(torch.nan),
        "0.bias holds nan, in 4 of 4 places",
    ),
    "weights of ten gigabytes": (
        lambda s: s["state_dict"].update({"0.bias": torch.zeros(1).expand(10 << 28)}),
        "0.bias claims 10,737,418,240 bytes and holds 4; take",
    ),
    "momentum without end": (
        lambda s: s["optimizer"]["state"][1]["momentum_buffer"].fill_(torch.inf),
        "the momentum of 0.bias holds inf, in 4",
    ),
    "no scaler": (lambda s: s["meta"].update(fp16=None), "meta.fp16 is None"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_continued_is_told(tmp_path: Path, name: str) -> None:
    change, message = WRONG[name]
    with pytest.raises(UserError, match=message) as caught:
        read_continuation(save_published(tmp_path / "a.pth", changed(change)))
    assert "a.pth" in str(caught.value)


class StoppedError(Exception):
    """Ends a run at its first step."""


@pytest.mark.slow
@pytest.mark.parametrize("task", ["selsa", "faster-rcnn", "reid", "siamese_rpn"])
def test_the_first_step_of_a_recipe_has_their_rate_momentum_and_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    recipe = load_recipe(f"{task}_tiny_sample").for_training().with_precision("fp16")
    settings = ["training.epochs=2", "training.workers=0"]
    if task == "reid":
        settings += ["data.min_crops=2", "data.max_crops=4", "data.identities_per_batch=3"]
    recipe = override(recipe, settings).for_training()
    films = SyntheticVideo(
        layout=recipe.synthetic_layout or "vid", train_videos=2, val_videos=1, frames=8
    )
    data_root = write_synthetic(tmp_path / "data", films)
    model = recipe.settled(data_root).build_model()
    slower = dict(recipe.training.lr_factors)
    names = [name for name, _ in model.named_parameters()]
    rates = [0.0003 if slower and name.startswith("backbone.") else 0.003 for name in names]
    state = published(model.state_dict(), lr=rates, epoch=1, momentum=0.85)
    start = read_continuation(save_published(tmp_path / "theirs.pth", state))
    seen: list[Learner] = []

    def stopped(learner: Learner) -> None:
        seen.append(learner)
        raise StoppedError

    monkeypatch.setattr(Learner, "step", stopped)
    with pytest.raises(StoppedError):
        train(recipe, data_root=data_root, out=tmp_path / "run", start=start)
    (learner,) = seen
    factor = learner.schedule.factor(learner.schedule.taken_steps)
    assert learner.schedule.taken_steps == learner.steps_per_epoch
    assert learner.schedule.lr == pytest.approx(0.003 * factor)
    assert learner.loss_scale.value == 128
    groups = learner.optimizer.param_groups
    assert {group["momentum"] for group in groups} == {0.85}
    assert max(group["lr"] for group in groups) == learner.schedule.lr
    buffers = [own["momentum_buffer"] for own in learner.optimizer.state.values()]
    assert len(buffers) == len(names)
    log = (tmp_path / "run/log.jsonl").read_text().splitlines()
    assert json.loads(log[0])["init"] == str(tmp_path / "theirs.pth")
