from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from halftrack.training import Phase, Ramp, StepSchedule, WeightAverage
from halftrack.training.optimiser import BatchStatistics, apply_phases, build_sgd, scaled_rate

GOLDEN_FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((GOLDEN_FOLDER / "schedules.json").read_text())


def linear() -> nn.Linear:
    return nn.Linear(2, 2, device="cpu")


def schedule(optimizer: torch.optim.Optimizer, **changes: object) -> StepSchedule:
    given = {"steps_per_epoch": 2, "milestones": (1,), "gamma": 0.1, "warmup_steps": 0}
    return StepSchedule([optimizer], **(given | {"warmup_ratio": 1.0} | changes))


@pytest.mark.parametrize("task", ["vid", "det", "reid"])
def test_rates_equal_mmcv_within_1e_9(task: str) -> None:
    entry = GOLDEN[task]
    rule = entry["lr_config"]
    optimizer = build_sgd(linear(), lr=entry["lr"], momentum=0.9, weight_decay=1e-4)
    rates = schedule(
        optimizer,
        steps_per_epoch=entry["iters_per_epoch"],
        milestones=rule["step"],
        warmup_steps=rule["warmup_iters"],
        warmup_ratio=rule["warmup_ratio"],
    )
    for taken in range(max(map(int, entry["lr_at_iter"])) + 1):
        if str(taken) in entry["lr_at_iter"]:
            assert abs(optimizer.param_groups[0]["lr"] - entry["lr_at_iter"][str(taken)]) < 1e-9
        rates.step()


def test_ramps_equal_the_references_rates_of_siamrpn() -> None:
    factors = json.loads((GOLDEN_FOLDER / "siamrpn_lr_factors.json").read_text())
    optimizer = build_sgd(linear(), lr=0.005, momentum=0.9, weight_decay=1e-4)
    up, down = Ramp(epochs=5, start=0.2, end=1.0, arrives=False), Ramp(epochs=15, start=1, end=0.1)
    rates = schedule(optimizer, steps_per_epoch=3, ramps=(up, down))
    for expected in factors["lr_factor_per_epoch"]:
        for _ in range(3):
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005 * expected, rel=1e-9)
            rates.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0005)


def test_parts_of_a_model_can_move_slower_and_stay_in_proportion() -> None:
    model = nn.ModuleDict({"backbone": linear(), "head": linear()})
    optimizer = build_sgd(model, lr=1.0, momentum=0.0, weight_decay=0.0, slower={"backbone.*": 0.1})
    rates = schedule(optimizer, milestones=(1,))
    for _ in range(3):
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([rates.lr, rates.lr / 10])
        rates.step()
    with pytest.raises(ValueError, match=r"lr_factors: 'neck\.\*' matches no parameter"):
        build_sgd(model, lr=1.0, momentum=0.0, weight_decay=0.0, slower={"neck.*": 0.1})


def test_rate_scales_with_the_clips_in_a_step() -> None:
    assert scaled_rate(0.01, batches_per_step=8, published_batches_per_step=8) == 0.01
    assert scaled_rate(0.01, batches_per_step=1, published_batches_per_step=8) == 0.01 / 8


def test_schedule_still_moves_the_rate_after_the_optimizer_was_restored() -> None:
    optimizer = build_sgd(linear(), lr=1.0, momentum=0.9, weight_decay=0.0)
    rates = schedule(optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
    rates.step()
    rates.step()
    assert optimizer.param_groups[0]["lr"] == rates.lr == pytest.approx(0.1)


def test_schedule_state_round_trips() -> None:
    first = build_sgd(linear(), lr=1.0, momentum=0.9, weight_decay=0.0)
    rates = schedule(first)
    for _ in range(3):
        rates.step()
    second = build_sgd(linear(), lr=1.0, momentum=0.9, weight_decay=0.0)
    schedule(second).load_state_dict(rates.state_dict())
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"] == pytest.approx(0.1)


def test_milestones_out_of_order_are_refused() -> None:
    optimizer = build_sgd(linear(), lr=1.0, momentum=0.9, weight_decay=0.0)
    with pytest.raises(ValueError, match=r"must increase.*\(5, 2\)"):
        schedule(optimizer, milestones=(5, 2))


def test_sgd_names_every_parameter() -> None:
    optimizer = build_sgd(linear(), lr=1.0, momentum=0.9, weight_decay=0.0)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]


def test_average_swaps_in_and_out_and_copies_buffers() -> None:
    model = nn.Sequential(linear(), nn.BatchNorm1d(2, device="cpu"))
    average = WeightAverage(model, decay=0.5)
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.add_(1.0)
        model[1].running_mean.fill_(7.0)
    average.update(model)
    own = model[0].weight.detach().clone()
    with average.swapped_in(model):
        # First update: decay (1 + 1) / (10 + 1).
        assert torch.allclose(model[0].weight, before + 9 / 11)
        assert (model[1].running_mean == 7.0).all()
    assert torch.equal(model[0].weight, own)


def test_average_comes_out_again_when_the_evaluation_fails() -> None:
    model = linear()
    average = WeightAverage(model, decay=0.5)
    with torch.no_grad():
        model.weight.add_(1.0)
    own = model.weight.detach().clone()
    with pytest.raises(KeyError), average.swapped_in(model):
        raise KeyError
    assert torch.equal(model.weight, own)


def test_average_state_must_match_the_setting() -> None:
    with pytest.raises(ValueError, match="has averaged weights"):
        WeightAverage(linear(), decay=None).load_state_dict(
            WeightAverage(linear(), decay=0.5).state_dict()
        )


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_average_refuses_a_decay_outside_0_1(decay: float) -> None:
    with pytest.raises(ValueError, match="ema_decay must lie between"):
        WeightAverage(linear(), decay=decay)


def test_phases_freeze_and_thaw_at_their_epochs() -> None:
    model = nn.Sequential(linear(), linear())
    phases = (
        Phase(first_epoch=0, trainable=("1.*",)),
        Phase(first_epoch=2, trainable=("*",)),
    )
    trains = []
    for epoch in range(3):
        apply_phases(model, phases, epoch)
        trains.append(model[0].weight.requires_grad)
    assert trains == [False, False, True]
    assert model[1].weight.requires_grad


def test_phase_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'layer9\.\*' matches no parameter"):
        apply_phases(linear(), (Phase(first_epoch=0, trainable=("layer9.*",)),), 0)


def test_batch_statistics_of_a_skipped_step_are_forgotten() -> None:
    norm = nn.BatchNorm1d(2, device="cpu")
    statistics = BatchStatistics(norm)
    norm(torch.ones(3, 2, device="cpu"))
    statistics.keep()
    kept = {name: value.clone() for name, value in norm.state_dict().items()}
    norm(torch.full((3, 2), torch.inf, device="cpu"))
    assert not torch.isfinite(norm.running_mean).all()
    statistics.put_back()
    assert all(torch.equal(value, kept[name]) for name, value in norm.state_dict().items())
