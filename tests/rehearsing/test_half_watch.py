"""The first half tensor that overflows ends the forward pass, and a mask does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from halftrack.rehearsing.half_watch import ForwardOverflowError, HalfWatch

LARGE = torch.full((2,), 300.0, dtype=torch.float16)
MASK = torch.tensor([True, False])


@pytest.mark.parametrize(
    "overflow",
    [
        lambda x: x * x,
        lambda x: x.mul_(x),
        lambda x: torch._foreach_mul_([x], 300.0),
        lambda x: (x.float() * 300.0).half(),
        lambda x: x / 0.0,
    ],
    ids=["out of place", "in place", "on a list", "a cast", "a division"],
)
def test_an_overflow_ends_the_pass(overflow: Callable[[Tensor], object]) -> None:
    with pytest.raises(ForwardOverflowError), HalfWatch():
        overflow(LARGE.clone())


def test_an_infinite_mask_is_meant() -> None:
    x = LARGE.clone()
    with HalfWatch():
        masked = x.masked_fill(MASK, -torch.inf)
        x.masked_fill_(MASK, -torch.inf)
        masked = masked + 1.0
        assert not masked.isfinite().all()
        assert masked.softmax(0).isfinite().all()


@pytest.mark.parametrize("smallest", [-torch.inf, torch.finfo(torch.float32).min])
def test_a_mask_in_fp32_is_meant_when_it_is_cast(smallest: float) -> None:
    with HalfWatch():
        scores = torch.where(MASK, LARGE.float(), smallest)
        assert scores.half().softmax(0).tolist() == [1.0, 0.0]
        assert torch.where(MASK, LARGE, torch.tensor(smallest))[1] == -torch.inf


def test_wider_types_and_unwritten_memory_are_not_looked_at() -> None:
    with HalfWatch():
        assert not (LARGE.float() * 1e38).isfinite().all()
        torch.empty(64, dtype=torch.float16)


def test_the_backward_pass_is_not_looked_at() -> None:
    x = LARGE.clone().requires_grad_()
    with HalfWatch():
        y = x.float().sum() * 1e6
        y.backward()
    assert x.grad is not None
    assert not x.grad.isfinite().all()
