from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from halftrack.precision import NonFiniteGradientError, Precision
from halftrack.precision.rehearsal import is_rehearsing
from halftrack.training import Learner, Ramp, StepSchedule, WeightAverage
from halftrack.training.learner import BatchStatistics
from halftrack.training.optimiser import build_sgd

GOLDEN_FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((GOLDEN_FOLDER / "schedules.json").read_text())
CPU = torch.device("cpu")
FP32 = Precision()


def linear() -> nn.Linear:
    return nn.Linear(2, 2, device="cpu")


def schedule(optimizer: torch.optim.Optimizer, **changes: object) -> StepSchedule:
    given = {"steps_per_epoch": 2, "milestones": (1,), "gamma": 0.1, "warmup_steps": 0}
    return StepSchedule([optimizer], **(given | {"warmup_ratio": 1.0} | changes))


def learner(tiny: ModuleType, precision: Precision = FP32, **changes: object) -> Learner:
    """Of a fresh tiny model, with whole steps of one batch."""
    config = dataclasses.replace(tiny.SHORT, **({"accumulate": 1, "ema_decay": 0.5} | changes))
    return Learner(tiny.TinyModel(), config, precision, device=CPU, batches_per_epoch=7)


def batch(tiny: ModuleType, factor: float = 1.0) -> object:
    (first,) = tiny.TinySource(1).batches(seed=0, epoch=0)
    return dataclasses.replace(first, x=first.x * factor)


def snapshot(made: Learner) -> dict[str, object]:
    """Everything of its state, copied."""
    return copy.deepcopy(made.state_dict())


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_a_taken_step_moves_everything(tiny: ModuleType) -> None:
    made = learner(tiny)
    before = snapshot(made)
    lr = made.schedule.lr
    made.gradients(batch(tiny), seed=1)
    report = made.step()
    assert not report.skipped
    after = made.state_dict()
    for name, old in before["state_dict"].items():
        assert not torch.equal(after["state_dict"][name], old), name
    assert made.schedule.taken_steps == 1
    assert made.schedule.lr > lr  # warm-up
    assert after["average"]["updates"] == 1
    for kept, live in zip(made.statistics.kept, made.model.norm.buffers(), strict=True):
        assert torch.equal(kept, live)


@pytest.mark.parametrize("infinite", [torch.inf, torch.nan])
def test_a_skipped_step_moves_nothing_and_puts_batch_statistics_back(
    tiny: ModuleType, infinite: float
) -> None:
    made = learner(tiny, Precision("fp16", 8.0))
    made.gradients(batch(tiny), seed=1)
    made.step()
    before = snapshot(made)
    made.gradients(batch(tiny, infinite), seed=2)
    assert not made.model.norm.running_mean.isfinite().all()
    assert made.step().skipped
    after = made.state_dict()
    for part in ("state_dict", "optimizer", "schedule", "average"):
        assert same(after[part], before[part]), part
    assert after["loss_scale"]["skips"] == 1


def test_a_step_that_ends_the_run_puts_batch_statistics_back_too(tiny: ModuleType) -> None:
    made = learner(tiny)
    before = snapshot(made)
    made.gradients(batch(tiny, torch.inf), seed=1)
    with pytest.raises(NonFiniteGradientError):
        made.step()
    assert same(made.state_dict(), before)


# A dynamic scale starts so high that the first steps are skipped.
@pytest.mark.parametrize(("scale", "taken"), [(8.0, 3), ("dynamic", 0)])
def test_a_learner_continues_where_its_state_was_taken(
    tiny: ModuleType, scale: float | str, taken: int
) -> None:
    first, second = (learner(tiny, Precision("fp16", scale)) for _ in range(2))
    for seed in range(3):
        first.gradients(batch(tiny), seed)
        first.step()
    assert first.schedule.taken_steps == taken
    second.load_state_dict(snapshot(first))
    for made in (first, second):
        made.gradients(batch(tiny, torch.inf), 4)  # skipped: statistics go back to the state's
        made.step()
        made.gradients(batch(tiny), 5)
        made.step()
    assert same(first.state_dict(), second.state_dict())


def test_gradients_of_the_batches_of_a_step_are_their_mean(tiny: ModuleType) -> None:
    both, one = learner(tiny, accumulate=2), learner(tiny)
    for made, seeds in ((both, (1, 1)), (one, (1,))):
        for seed in seeds:
            made.gradients(batch(tiny), seed)
    for name, parameter in one.model.named_parameters():
        assert torch.allclose(both.model.get_parameter(name).grad, parameter.grad), name


def test_the_seed_alone_decides_what_the_model_draws(tiny: ModuleType) -> None:
    made = learner(tiny)
    losses = [float(made.gradients(batch(tiny), seed)["loss_fit"].detach()) for seed in (1, 2, 1)]
    assert losses[0] == losses[2] != losses[1]


def test_losses_come_without_the_loss_scale(tiny: ModuleType) -> None:
    plain, scaled = learner(tiny, Precision("fp16", 1.0)), learner(tiny, Precision("fp16", 64.0))
    losses = [made.gradients(batch(tiny), seed=1) for made in (plain, scaled)]
    assert torch.equal(losses[0]["loss_fit"], losses[1]["loss_fit"])
    grads = [made.model.head.bias.grad for made in (plain, scaled)]
    assert torch.allclose(64.0 * grads[0], grads[1], rtol=1e-2)


def test_forward_and_backward_are_in_the_precisions_arithmetic(tiny: ModuleType) -> None:
    seen: list[bool] = []

    class Watched(tiny.TinyModel):
        def forward(self, given: object) -> dict[str, torch.Tensor]:
            seen.extend((torch.is_autocast_enabled("cpu"), is_rehearsing()))
            losses = super().forward(given)
            losses["loss_fit"].register_hook(lambda _: seen.append(is_rehearsing()))
            return losses

    made = Learner(Watched(), tiny.SHORT, Precision("fp16", 1.0), device=CPU, batches_per_epoch=1)
    made.gradients(batch(tiny), seed=1)
    assert seen == [True, True, True]


def test_gradients_are_clipped_to_the_recipes_norm(tiny: ModuleType) -> None:
    still = {"momentum": 0.0, "weight_decay": 0.0, "warmup_steps": 0, "lr": 1.0, "scale_lr": False}
    made = learner(tiny, max_grad_norm=1e-3, **still)
    before = snapshot(made)["state_dict"]
    made.gradients(batch(tiny), seed=1)
    assert made.step().grad_norm > 1e-3
    moved = [p.detach() - before[name] for name, p in made.model.named_parameters()]
    assert float(torch.cat([m.flatten() for m in moved]).norm()) == pytest.approx(1e-3, rel=1e-2)


def test_an_epoch_is_rounded_up_to_whole_steps_and_an_empty_one_refused(tiny: ModuleType) -> None:
    assert learner(tiny, accumulate=2).steps_per_epoch == 4
    with pytest.raises(ValueError, match="the training set is empty"):
        Learner(tiny.TinyModel(), tiny.SHORT, FP32, device=CPU, batches_per_epoch=0)


def test_modules_kept_in_fp32_are_islands_from_the_first_batch_on(tiny: ModuleType) -> None:
    made = learner(tiny, Precision("fp16", 1.0, ("head",)))
    seen: list[torch.dtype] = []
    made.model.head.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    made.gradients(batch(tiny), seed=1)
    assert seen == [torch.float32]


def test_parts_with_rates_of_their_own_move_at_them(tiny: ModuleType) -> None:
    made = learner(tiny, lr_factors=(("backbone.*", 0.1),))
    rates = {n: g["lr"] for g in made.optimizer.param_groups for n in g["param_names"]}
    assert rates["backbone.weight"] == pytest.approx(rates["head.weight"] / 10)


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
    second = build_sgd(linear(), lr=7.0, momentum=0.9, weight_decay=0.0)
    schedule(second).load_state_dict(rates.state_dict())
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"] == pytest.approx(0.1)


def test_average_swaps_in_and_out_and_copies_buffers() -> None:
    model = nn.Sequential(linear(), nn.BatchNorm1d(2, device="cpu"))
    average = WeightAverage(model, decay=0.5)
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.add_(1.0)
        model[1].running_mean.fill_(7.0)
    average.update(model)
    assert len(average.tensors) == len(model.state_dict())
    own = model[0].weight.detach().clone()
    with average.swapped_in(model):
        # First update: decay (1 + 1) / (10 + 1).
        assert torch.allclose(model[0].weight, before + 9 / 11)
        assert (model[1].running_mean == 7.0).all()
    assert torch.equal(model[0].weight, own)


def test_a_tied_parameter_is_averaged_under_each_of_its_names() -> None:
    model = nn.Sequential(linear(), linear())
    model[1].weight = model[0].weight
    average = WeightAverage(model, decay=0.5)
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.add_(1.0)
    average.update(model)
    with average.swapped_in(model):
        assert torch.allclose(model[0].weight, before + 9 / 11)
    assert torch.equal(model[1].weight, before + 1.0)


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


def test_slower_parts_of_a_model_stay_in_proportion() -> None:
    model = nn.ModuleDict({"backbone": linear(), "head": linear()})
    optimizer = build_sgd(model, lr=1.0, momentum=0.0, weight_decay=0.0, slower={"backbone.*": 0.1})
    rates = schedule(optimizer, milestones=(1,))
    for _ in range(3):
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([rates.lr, rates.lr / 10])
        rates.step()
