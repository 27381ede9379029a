"""Answers agree with one another, and what must change mends what they tell."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from halftrack.precision import Precision
from halftrack.rehearsing import Report, rehearse
from halftrack.rehearsing.answers import answers

ISLANDS = 2  # the place of the answer on fp32 islands


def chain(**factors: float) -> nn.Sequential:
    """Three layers; the weights of those named, as ``_0``, times a factor."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    with torch.no_grad():
        for name, factor in factors.items():
            model[int(name[1:])].weight.mul_(factor)
    return model


def rehearsed(model: nn.Module, scale: float = 1.0, kept: tuple[str, ...] = ()) -> Report:
    def step(model: nn.Module, x: Tensor) -> Tensor:
        return model(x).float().square().mean()

    generator = torch.Generator().manual_seed(0)
    return rehearse(
        step,
        [torch.randn(8, 4, generator=generator)],
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        precision=Precision("fp16", scale, kept),
        steps=1,
        memory=False,
    )


def words(report: Report) -> list[str]:
    return [answer.words for answer in answers(report)]


def test_a_weight_that_overflows_in_its_cast_is_told_by_all_answers() -> None:
    report = rehearsed(chain(_0=1e6))
    assert report.culprits[0].operation == "cast"
    told = words(report)
    assert "Forward, 0 passed 65504, where fp16 ends" in told[0]
    assert told[ISLANDS].startswith("0, as the ranges have it")
    assert "Precision(\"fp16\", keep_fp32=('0',)).keep_in_fp32(model)" in report.must_change
    assert "infinite in" not in str(report)


def of_mean(
    *layers: nn.Module,
    weight: float = 1e6,
    bias: float = 0.0,
    scale: float | Literal["dynamic"] = 1.0,
) -> Report:
    """A step whose gradient is finite whatever its activations are."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 2), *layers)
    with torch.no_grad():
        model[0].weight.fill_(weight)
        model[0].bias.fill_(bias)
    return rehearse(
        lambda model, x: model(x).mean(),
        [torch.ones(8, 4)],
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        precision=Precision("fp16", scale),
        steps=2,
        memory=False,
    )


def test_a_large_scale_is_told_to_its_last_digit() -> None:
    report = of_mean(weight=1.0, scale=2.0**21)
    assert "(was 2097152)" in str(report.culprits[0])
    assert report.set_loss_scale(2.0**21).endswith("GradScaler(init_scale=2097152), or a constant")


def test_a_loss_that_is_not_finite_is_told_though_its_gradient_is() -> None:
    report = of_mean()
    assert [step.skipped for step in report.steps] == [False, False]
    assert {(c.where, c.operation, c.magnitude) for c in report.culprits} == {("0", "cast", 1e6)}
    cause = "steps 1, 2; step 1: forward cast in 0 for loss reached 1e+06, float16 ends at 65504"
    assert report.must_change[0].startswith(f"the loss was not finite in {cause}")
    moved = "None of 2 steps was skipped. The weights moved though the loss was not finite, in"
    assert f"{moved} {cause}" in words(report)[1]
    assert "Forward, 0 passed 65504" in words(report)[0]


def test_activations_that_are_not_finite_are_told_though_loss_and_gradients_are() -> None:
    report = of_mean(nn.Tanh(), weight=-1e6)
    assert report.culprits == ()
    assert words(report)[0].startswith("Forward, 0 passed 65504, where fp16 ends")
    assert "Precision(\"fp16\", keep_fp32=('0',)).keep_in_fp32(model)" in report.must_change
    report = of_mean(nn.Tanh(), weight=1.0, bias=torch.inf)
    assert report.culprits == ()
    assert words(report)[0].startswith("Forward, 0 gave values that are not finite.")
    assert report.must_change[0].startswith("0 gives values that are not finite, which no grad")


def test_a_step_skipped_by_its_scale_does_not_hide_activations_that_are_not_finite() -> None:
    last = nn.Tanh()
    last.register_full_backward_pre_hook(lambda _, grads: tuple(grad * 2.0**4 for grad in grads))
    report = of_mean(last, weight=1.0, bias=torch.inf, scale="dynamic")
    assert [step.skipped for step in report.steps] == [True, False]
    assert {culprit.direction for culprit in report.culprits} == {"backward"}
    assert report.must_change[0].startswith("0 gives values that are not finite, which no grad")


def test_islands_that_are_kept_already_stay_in_the_advice() -> None:
    report = rehearsed(chain(_0=1e6, _2=1e6), kept=("0",))
    assert any("keep_fp32=('0', '2')" in change for change in report.must_change)


def test_steps_that_were_all_skipped_are_no_survival() -> None:
    def beyond(grad: Tensor) -> Tensor:
        return grad * 2.0**14

    model = chain()
    model[2].register_full_backward_pre_hook(lambda _, grads: tuple(map(beyond, grads)))
    report = rehearsed(model, scale="dynamic")
    (change,) = report.must_change
    assert change.startswith("none of 1 steps was taken: backward")
    assert "rehearse more steps, or start at a smaller loss scale" in change
