"""Calls from outside are told of, those within others and those of a backward pass are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from halftrack.rehearsing.outer_calls import OuterCalls

X = torch.ones(2, 3)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(3, 3)

    def forward(self, x: Tensor, *, factor: float = 1.0, fail: bool = False) -> Tensor:
        if fail:
            raise KeyError
        return self.part(x) * factor


class Seen:
    def __init__(self) -> None:
        self.model, self.given, self.returned = Net(), list[dict[Any, Any]](), list[Any]()
        self.calls = OuterCalls(self.model, self.given.append, self.returned.append)


def test_a_call_is_told_once_with_all_it_was_given() -> None:
    seen = Seen()
    with seen.calls:
        out = seen.model(X, factor=2.0)
    assert [*seen.given[0]] == [0, "factor"]
    assert seen.given[0][0] is X
    assert len(seen.given) == 1
    assert seen.returned[0] is out
    seen.model(X)
    assert len(seen.given) == 1  # nothing is told outside


def test_parts_that_are_called_themselves_are_told_of() -> None:
    seen = Seen()
    with seen.calls:
        seen.model.part(seen.model.part(X))
    assert len(seen.given) == 2


def test_after_an_error_the_next_call_is_told() -> None:
    seen = Seen()
    with seen.calls:
        with pytest.raises(KeyError):
            seen.model(X, fail=True)
        seen.model(X)
    assert len(seen.given) == 2


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_forward_pass_that_is_computed_again_is_not_told(use_reentrant: bool) -> None:
    seen = Seen()
    x = X.clone().requires_grad_()
    with seen.calls:
        checkpoint(seen.model, x, use_reentrant=use_reentrant).sum().backward()
    assert len(seen.given) == 1
    assert x.grad is not None


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_scripted_parts_take_no_hooks() -> None:
    seen = Seen()
    seen.model.part = torch.jit.script(nn.Linear(3, 3))
    with seen.calls:
        seen.model(X)
    assert len(seen.given) == 1
