"""Half tensors are known and widened; nothing else is touched."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from halftrack.precision.dtypes import HALF, call_in_fp32, is_half, widen


@pytest.mark.parametrize("dtype", HALF)
def test_half_tensors_are_widened(dtype: torch.dtype) -> None:
    half = torch.full((2,), 0.5, dtype=dtype)
    assert is_half(half)
    assert widen(half).dtype == torch.float32
    assert torch.equal(widen(half), torch.full((2,), 0.5))


@pytest.mark.parametrize(
    "other", [None, 1.0, torch.float16, torch.ones(1), torch.ones(1).double(), torch.ones(1).int()]
)
def test_other_values_are_not_half_and_stay_as_they_are(other: object) -> None:
    assert not is_half(other)
    assert widen(other) is other


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


@dataclass(frozen=True)
class Batch:
    x: Tensor
    name: str = "a"


class Output(OrderedDict[str, Any]):
    """A mapping of its own kind, as transformers' models return."""


def test_an_island_widens_what_containers_hold_and_leaves_the_givers_alone() -> None:
    half, whole = torch.ones(2).half(), torch.ones(2)
    given: list[Any] = [
        *({"x": half, "n": 1}, Pair(half, whole), Batch(half), Output(x=half)),
        *([(half,)], {"deep": [Batch(half)]}),
    ]
    seen: list[Any] = []
    call_in_fp32(lambda *values: seen.extend(values), given, {})
    plain, pair, batch, output, nested, deep = seen
    assert plain["x"].dtype == pair.left.dtype == batch.x.dtype == torch.float32
    assert output["x"].dtype == nested[0][0].dtype == deep["deep"][0].x.dtype == torch.float32
    assert [type(value) for value in seen] == [type(value) for value in given]
    assert (plain["n"], batch.name) == (1, "a")
    assert pair.right is whole
    assert given[0]["x"] is given[2].x is given[3]["x"] is half


def test_a_container_without_halves_is_passed_on_as_it_is() -> None:
    given: list[Any] = [{"x": torch.ones(2)}, Batch(torch.ones(2)), "a", None]
    seen: list[Any] = []
    call_in_fp32(lambda *values: seen.extend(values), given, {})
    assert all(mine is theirs for mine, theirs in zip(seen, given, strict=True))
