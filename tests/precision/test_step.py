"""The one right order of a step: all optimizers move or none does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from halftrack.precision import (
    DynamicLossScale,
    NoLossScale,
    NonFiniteGradientError,
    StaticLossScale,
    optimizer_step,
)


def pair(device: torch.device) -> tuple[nn.Linear, nn.Linear, list[torch.optim.Optimizer]]:
    torch.manual_seed(0)
    first, second = nn.Linear(2, 2).to(device), nn.Linear(2, 2).to(device)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SGD(m.named_parameters(), lr=0.1, momentum=0.9) for m in (first, second)
    ]
    return first, second, optimizers


def give_gradients(*modules: nn.Module, value: float) -> None:
    for module in modules:
        for parameter in module.parameters():
            parameter.grad = torch.full_like(parameter, value)


def test_a_bad_gradient_in_one_optimizer_stops_them_all(device: torch.device) -> None:
    first, second, optimizers = pair(device)
    before = [p.detach().clone() for m in (first, second) for p in m.parameters()]
    give_gradients(first, second, value=1.0)
    second.bias.grad[0] = float("inf")
    report = optimizer_step(optimizers, DynamicLossScale())
    assert report.skipped
    assert report.found_inf
    assert report.consecutive_skips == 1
    after = [p for m in (first, second) for p in m.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(not optimizer.state for optimizer in optimizers)
    assert all(p.grad is None for p in after)


def test_the_norm_is_of_unscaled_gradients_before_clipping(device: torch.device) -> None:
    first, second, optimizers = pair(device)
    give_gradients(first, second, value=512.0)
    before = first.weight.detach().clone()
    report = optimizer_step(optimizers, StaticLossScale(512.0), max_grad_norm=1.0)
    assert report.grad_norm == pytest.approx(12**0.5)
    assert report.loss_scale == 512.0
    moved = (before - first.weight) / 0.1
    assert torch.allclose(moved, torch.full_like(moved, 1 / 12**0.5), rtol=1e-4)


def test_without_a_loss_scale_a_bad_gradient_is_an_error_that_names_it(
    device: torch.device,
) -> None:
    first, second, optimizers = pair(device)
    give_gradients(first, second, value=1.0)
    first.bias.grad[1] = float("nan")
    with pytest.raises(NonFiniteGradientError, match="gradient of bias holds NaN") as error:
        optimizer_step(optimizers, NoLossScale())
    assert error.value.parameter == "bias"


def test_an_overflow_at_the_lower_bound_stops_the_run(device: torch.device) -> None:
    first, second, optimizers = pair(device)
    give_gradients(first, second, value=float("inf"))
    with pytest.raises(NonFiniteGradientError, match="is 1 and can go no lower"):
        optimizer_step(optimizers, DynamicLossScale(initial=1.0))
    with pytest.raises(NonFiniteGradientError, match="is 1048576 and can go no lower"):
        optimizer_step(optimizers, DynamicLossScale(initial=2.0**20, bounds=(2.0**20, 2.0**24)))


def test_too_many_skips_in_a_row_stop_a_static_scale(device: torch.device) -> None:
    first, second, optimizers = pair(device)
    scale = StaticLossScale(512.0)
    for _ in range(2):
        give_gradients(first, second, value=float("inf"))
        assert optimizer_step(optimizers, scale, max_consecutive_skips=3).skipped
    give_gradients(first, second, value=float("inf"))
    with pytest.raises(NonFiniteGradientError, match="3 steps in a row"):
        optimizer_step(optimizers, scale, max_consecutive_skips=3)


def test_a_step_without_gradients_is_no_skip(device: torch.device) -> None:
    _, _, optimizers = pair(device)
    report = optimizer_step(optimizers, StaticLossScale(512.0))
    assert not report.skipped
    assert report.grad_norm == 0.0


def test_sparse_gradients_are_unscaled_clipped_and_looked_through_as_dense_ones() -> None:
    moved = []
    for sparse in (True, False):
        table = nn.Embedding(4, 2, sparse=sparse, _weight=torch.zeros(4, 2))
        optimizer = torch.optim.SGD(table.named_parameters(), lr=1.0)
        (512.0 * table(torch.tensor([1, 3, 1])).sum()).backward()
        report = optimizer_step([optimizer], StaticLossScale(512.0), max_grad_norm=1.0)
        moved.append((report.grad_norm, table.weight.tolist()))
        (table(torch.tensor([2])) * torch.inf).sum().backward()
        with pytest.raises(NonFiniteGradientError, match="gradient of weight holds infinity"):
            optimizer_step([optimizer], NoLossScale())
    assert moved[0] == moved[1]
    assert moved[0][0] == pytest.approx(10**0.5)


def test_an_optimizer_that_asks_for_a_closure_is_refused_before_anything_is_unscaled() -> None:
    parameter, _ = zeros(torch.device("cpu"), 512.0)
    lbfgs = torch.optim.LBFGS([parameter])
    with pytest.raises(ValueError, match=r"optimizer 1 \(LBFGS\) computes the loss again"):
        optimizer_step([torch.optim.SGD([parameter]), lbfgs], StaticLossScale(512.0))
    assert parameter.grad.item() == 512.0


def test_fifty_skips_in_a_row_are_too_many_where_nobody_says_how_many(
    device: torch.device,
) -> None:
    first, second, optimizers = pair(device)
    scale = StaticLossScale(512.0)
    for _ in range(49):
        give_gradients(first, second, value=float("inf"))
        assert optimizer_step(optimizers, scale).skipped
    give_gradients(first, second, value=float("inf"))
    with pytest.raises(NonFiniteGradientError, match="50 steps in a row were skipped"):
        optimizer_step(optimizers, scale)


def zeros(device: torch.device, *gradient: float) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    """A parameter of zeros with a gradient, which a step at rate 1 moves to its negative."""
    parameter = nn.Parameter(torch.zeros(len(gradient), device=device))
    parameter.grad = torch.tensor(gradient, device=device)
    return parameter, torch.optim.SGD([("weight", parameter)], lr=1.0)


def test_a_gradient_as_long_as_the_largest_norm_is_left_alone(device: torch.device) -> None:
    parameter, optimizer = zeros(device, 0.0, 3.0, 4.0)
    optimizer_step([optimizer], NoLossScale(), max_grad_norm=5.0)
    assert parameter.tolist() == [0.0, -3.0, -4.0]


@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_a_gradient_is_clipped_as_torch_does(device: torch.device, size: float) -> None:
    parameter, optimizer = zeros(device, 3 * size, 4 * size)
    other, _ = zeros(device, 3 * size, 4 * size)
    nn.utils.clip_grad_norm_([other], size)
    optimizer_step([optimizer], NoLossScale(), max_grad_norm=size)
    assert torch.allclose(parameter, -other.grad, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.0])
def test_the_step_is_made_without_the_scale(device: torch.device, scale: float) -> None:
    parameter, optimizer = zeros(device, 3.0 * scale)
    assert optimizer_step([optimizer], StaticLossScale(scale)).grad_norm == 3.0
    assert parameter.tolist() == [-3.0]


def test_a_parameter_without_a_name_is_told_by_its_place(device: torch.device) -> None:
    bad = [nn.Parameter(torch.zeros(1, device=device)) for _ in range(3)]
    for parameter, value in zip(bad, (1.0, 1.0, float("inf")), strict=True):
        parameter.grad = torch.full_like(parameter, value)
    _, named = zeros(device, 1.0)
    groups = [{"params": bad[:1]}, {"params": bad[1:]}]
    optimizers = [named, torch.optim.SGD(groups, lr=1.0)]
    place = "optimizer 1, group 1, parameter 1 holds infinity"
    with pytest.raises(NonFiniteGradientError, match=f"the gradient of {place}"):
        optimizer_step(optimizers, NoLossScale())


def test_finite_gradients_whose_norm_overflows_end_a_step_too(device: torch.device) -> None:
    _, optimizer = zeros(device, 3e38, 3e38)
    with pytest.raises(NonFiniteGradientError, match="norm of all gradients overflows") as error:
        optimizer_step([optimizer], NoLossScale())
    assert error.value.parameter is None


def test_the_norm_of_half_gradients_is_taken_in_fp32() -> None:
    parameter = nn.Parameter(torch.zeros(4).half())
    parameter.grad = torch.full((4,), 60000.0).half()
    report = optimizer_step([torch.optim.SGD([parameter], lr=1e-4)], StaticLossScale(1.0))
    assert not report.skipped
    assert report.grad_norm == pytest.approx(120000.0, rel=1e-3)


@pytest.mark.parametrize("other", [torch.float32, torch.float64, torch.complex64, torch.bfloat16])
def test_half_gradients_have_a_norm_beside_those_of_any_dtype(other: torch.dtype) -> None:
    parameters = [nn.Parameter(torch.zeros(4, dtype=dtype)) for dtype in (torch.float16, other)]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 60000.0)
    report = optimizer_step([torch.optim.SGD(parameters, lr=1e-4)], StaticLossScale(1.0))
    assert report.grad_norm == pytest.approx(60000.0 * 8**0.5, rel=2e-3)
