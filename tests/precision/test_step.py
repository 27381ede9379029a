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
    with pytest.raises(NonFiniteGradientError, match="gradient of bias holds NaN"):
        optimizer_step(optimizers, NoLossScale())


def test_an_overflow_at_the_lower_bound_stops_the_run(device: torch.device) -> None:
    first, second, optimizers = pair(device)
    give_gradients(first, second, value=float("inf"))
    with pytest.raises(NonFiniteGradientError, match="is 1 and can go no lower"):
        optimizer_step(optimizers, DynamicLossScale(initial=1.0))


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


def test_sparse_gradients_are_refused() -> None:
    table = nn.Embedding(3, 2, sparse=True)
    optimizer = torch.optim.SGD(table.named_parameters(), lr=0.1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="gradient of weight is sparse"):
        optimizer_step([optimizer], NoLossScale())
