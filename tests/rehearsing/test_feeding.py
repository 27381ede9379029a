"""Arguments are checked, and batches are read as often as steps need them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
import torch

from halftrack.errors import UserError
from halftrack.rehearsing.feeding import optimizers_of, steps_of


def test_optimizers_are_listed_and_anything_else_is_named() -> None:
    model = torch.nn.Linear(1, 1)
    one, other = (torch.optim.SGD(model.parameters()) for _ in range(2))
    assert optimizers_of(print, one) == [one]
    assert optimizers_of(print, (one, other)) == [one, other]
    with pytest.raises(UserError, match="step is a Linear; expected a function that takes the mo"):
        optimizers_of(model, one)
    for wrong in (0.1, [model]):
        with pytest.raises(UserError, match=r"optimizer is a \w+; expected one of torch.optim"):
            optimizers_of(print, wrong)  # type: ignore[arg-type]


class Loader:
    """It can be read again, and counts how often it is."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[int]:
        self.read += 1
        return iter([self.read * 10, self.read * 10 + 1])


def test_a_loader_is_read_again() -> None:
    assert list(steps_of(Loader(), steps=3, accumulate=1)) == [[10], [11], [20]]


def test_of_a_generator_the_batches_are_kept() -> None:
    steps = steps_of((n for n in range(3)), steps=3, accumulate=2)
    assert list(steps) == [[0, 1], [2, 0], [1, 2]]


def test_no_more_is_read_than_is_needed() -> None:
    source = iter(range(5))
    assert list(steps_of(source, steps=2, accumulate=1)) == [[0], [1]]
    assert next(source) == 2


class UsedUp:
    """It can be read once: its own iterators share what there is."""

    def __init__(self, batches: Iterable[int]) -> None:
        self._left = iter(batches)

    def __iter__(self) -> Iterator[int]:
        yield from self._left


def test_a_loader_that_is_used_up_is_told() -> None:
    assert list(steps_of(UsedUp(range(3)), steps=3, accumulate=1)) == [[0], [1], [2]]
    with pytest.raises(UserError, match="nothing more after 3"):
        list(steps_of(UsedUp(range(3)), steps=4, accumulate=1))


def test_none_is_a_batch_too() -> None:
    assert list(steps_of([None], steps=2, accumulate=1)) == [[None], [None]]
    assert list(steps_of(iter([None]), steps=2, accumulate=1)) == [[None], [None]]


@pytest.mark.parametrize("empty", [[], iter(())])
def test_nothing_to_learn_from_is_said(empty: object) -> None:
    with pytest.raises(UserError, match="there is none"):
        list(steps_of(empty, steps=1, accumulate=1))  # type: ignore[arg-type]
