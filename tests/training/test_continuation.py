"""A run that goes on from another program's takes its next step as that program would have."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from published import SCALER
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.precision import Precision
from halftrack.training import Learner, read_checkpoint
from halftrack.training.continuation import Continuation
from halftrack.training.loop import batch_seed
from halftrack.training.run import Run
from halftrack.training.same_run import ALL_FIXED

CPU = torch.device("cpu")


def settings(**changed: Any) -> dict[str, Any]:
    own = {"momentum": 0.8, "dampening": 0.0, "weight_decay": 0.01, "nesterov": False}
    return {"base_lr": 0.5, **own, **changed}


def theirs(model: nn.Module, **changed: Any) -> Continuation:
    names = [name for name, _ in model.named_parameters()]
    given: dict[str, Any] = {
        "file": Path("theirs.pth"),
        "weights": {name: value + 1 for name, value in model.state_dict().items()},
        "epochs_finished": 1,
        "steps": 4,
        "settings": {name: settings() for name in names},
        "momentum": {name: torch.full_like(p, 0.5) for name, p in model.named_parameters()},
        "loss_scale": SCALER,
    }
    return Continuation(**given | changed)


@pytest.fixture
def begun(tiny: ModuleType, tmp_path: Path):
    """Begins a tiny run from a continuation; returns the run and its lines."""

    def begin(
        continuation: Continuation, precision: Precision, **config: Any
    ) -> tuple[Run, list[str]]:
        settled = dataclasses.replace(tiny.SHORT, **config)
        learner = Learner(tiny.TinyModel(), settled, precision, device=CPU, batches_per_epoch=7)
        run = Run(
            learner,
            config=settled,
            out=tmp_path,
            seed=0,
            recipe=None,
            free=ALL_FIXED,
            init="",
            data=None,
        )
        return run, continuation.begin(run)

    return begin


def test_rate_momentum_scale_and_place_are_theirs(tiny: ModuleType, begun: Any) -> None:
    model = tiny.TinyModel()
    run, lines = begun(theirs(model), Precision("fp16", loss_scale="dynamic"))
    learner = run.learner
    for name, value in learner.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name] + 1), name
    (group,) = learner.optimizer.param_groups
    # The milestone after epoch 1 is behind them: gamma is 0.1.
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.05, 0.8, 0.01)
    for parameter in group["params"]:
        assert (learner.optimizer.state[parameter]["momentum_buffer"] == 0.5).all()
    assert learner.loss_scale.value == 128
    assert learner.loss_scale.state_dict()["clean_steps"] == 17
    assert (run.result.epochs_finished, run.batches_done, run.result.steps) == (1, 8, 4)
    assert learner.schedule.taken_steps == 4
    assert lines[0].startswith("goes on from theirs.pth after epoch 1, with its learning rate 0.05")
    assert "its rate without warm-up and decay is 0.5; this recipe's is 0.0125 for 2" in lines[-1]


def test_the_first_step_is_the_one_that_torch_takes(tiny: ModuleType, tmp_path: Path) -> None:
    source = tiny.TinySource(2)
    config = dataclasses.replace(
        tiny.SHORT, warmup_steps=0, milestones=(), gamma=1.0, max_grad_norm=None, ema_decay=None
    )
    model = tiny.TinyModel()
    start = theirs(model, steps=1, loss_scale=None)
    reference = copy.deepcopy(model).train()
    reference.load_state_dict(dict(start.weights))
    sgd = torch.optim.SGD(reference.parameters(), lr=0.5, momentum=0.8, weight_decay=0.01)
    for parameter in reference.parameters():
        sgd.state[parameter]["momentum_buffer"] = torch.full_like(parameter, 0.5)
    for index, batch in enumerate(source.batches(seed=3, epoch=1)):
        torch.manual_seed(batch_seed(3, 1, index))
        losses: dict[str, Tensor] = reference(batch)
        (sum(value for name, value in losses.items() if "loss" in name) / 2).backward()
    sgd.step()
    tiny.run(tmp_path, config, batches=source, start=start, precision=Precision("fp32"))
    state = read_checkpoint(tmp_path / "step_2.pth")
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(state["state_dict"][name], value)
    assert not (tmp_path / "step_1.pth").exists()


def test_the_run_is_then_one_of_ours(tiny: ModuleType, tmp_path: Path) -> None:
    start = theirs(tiny.TinyModel())
    fp16 = Precision("fp16", loss_scale="dynamic")
    config = dataclasses.replace(tiny.SHORT, epochs=3, log_every=1)
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path, config, batches=tiny.DyingSource(9), start=start, precision=fp16)
    tiny.run(tmp_path, config, precision=fp16, resume=True)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["mode"] == "train"]
    assert [row["step"] for row in steps] == list(range(5, 13))
    assert (steps[0]["epoch"], steps[0]["iter"]) == (2, 1)
    assert (steps[0]["lr"], steps[0]["loss_scale"]) == (0.05, 128.0)
    assert read_checkpoint(tmp_path / "step_12.pth")["position"]["epochs_finished"] == 3


@pytest.mark.parametrize(
    ("precision", "given", "value", "line"),
    [
        (Precision("fp16", loss_scale=512.0), SCALER, 128.0, "loss scale 128"),
        (Precision("fp16", loss_scale=512.0), None, 512.0, "no loss scale: 512 stays"),
        (Precision("fp16", loss_scale=2.0**20), None, 2.0**20, "no loss scale: 1048576 stays"),
        (Precision("fp32"), SCALER, 1.0, "not used"),
    ],
    ids=["static", "none there", "large", "none here"],
)
def test_a_loss_scale_goes_where_there_is_one(
    tiny: ModuleType, begun: Any, precision: Precision, given: Any, value: float, line: str
) -> None:
    run, lines = begun(theirs(tiny.TinyModel(), loss_scale=given), precision)
    assert run.learner.loss_scale.value == value
    assert any(line in told for told in lines)


def test_rates_of_parameters_become_those_of_groups(tiny: ModuleType, begun: Any) -> None:
    model = tiny.TinyModel()
    rates = {name: 0.1 if "backbone" in name else 1.0 for name, _ in model.named_parameters()}
    own = {name: settings(base_lr=rate) for name, rate in rates.items()}
    start = theirs(model, settings=own)
    run, _ = begun(start, Precision("fp32"), lr_factors=(("backbone.*", 0.1),))
    assert run.learner.schedule.state_dict()["base_rates"] == [1.0, 0.1]
    with pytest.raises(
        UserError, match=r"base_lr is 0\.1 for backbone\.weight and 1 for norm.*lr_factors"
    ):
        begun(start, Precision("fp32"))


def test_frozen_parameters_need_no_momentum(tiny: ModuleType, begun: Any) -> None:
    model = tiny.TinyModel()
    run, _ = begun(theirs(model, momentum={"head.bias": torch.ones(2)}), Precision("fp32"))
    assert len(run.learner.optimizer.state) == 1


def test_other_epochs_are_told(tiny: ModuleType, begun: Any) -> None:
    _, lines = begun(theirs(tiny.TinyModel(), steps=50), Precision("fp32"))
    assert "that is step 50 there and step 4 here: an epoch has 4 steps here" in lines


WRONG = {
    "all epochs done": ({"epochs_finished": 2}, "has finished 2 epochs, and this run has 2"),
    "another model": ({"weights": {"head.bias": torch.ones(2)}}, "does not fit .* missing"),
    "no numbers": ({"weights": {"head.bias": torch.ones(2) * torch.nan}}, "head.bias holds nan"),
    "another optimizer": ({"settings": {}}, "no parameter backbone.weight"),
    "momentum's shape": ({"momentum": {"head.bias": torch.ones(3)}}, r"head\.bias \(3,\) does not"),
    "momentum's values": ({"momentum": {"head.bias": torch.ones(2) / 0}}, "not finite"),
    "momentum of none": ({"momentum": {"tail.bias": torch.ones(2)}}, "tail.bias"),
    "a scale of nothing": ({"loss_scale": {"scale": 0.0}}, "its loss scale is 0.0"),
    "a scale without end": ({"loss_scale": {"scale": float("inf")}}, "its loss scale is inf"),
    "a scale's kind": ({"loss_scale": {"scale": 2.0}}, "cannot be taken over"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_an_error(tiny: ModuleType, begun: Any, name: str) -> None:
    changed, message = WRONG[name]
    with pytest.raises(UserError, match=message):
        begun(theirs(tiny.TinyModel(), **changed), Precision("fp16", loss_scale="dynamic"))
