"""Batches of any type give their tensors by field, and names of their samples."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from halftrack.precision.batches import named_tensors, sample_names

X, Y = torch.zeros(3, 2), torch.zeros(3)
Pair = namedtuple("Pair", "x y")


@dataclass
class Fields:
    x: Tensor
    y: Tensor
    name: str = "batch"


@dataclass
class Named(Fields):
    sample_ids: tuple[str, ...] = ("a", "b", "c")


BATCHES = {
    "tensor": (X, ["batch"]),
    "tuple": ((X, Y), ["[0]", "[1]"]),
    "list": ([X, Y], ["[0]", "[1]"]),
    "named tuple": (Pair(X, Y), ["[0]", "[1]"]),
    "dict": ({"x": X, "y": Y}, ["['x']", "['y']"]),
    "user dict, as a BatchEncoding is": (UserDict(x=X, n=3), ["['x']"]),
    "ordered dict, as a ModelOutput is": (OrderedDict(x=X), ["['x']"]),
    "dataclass": (Fields(X, Y), ["x", "y"]),
    "dicts, one a sample": ([{"x": X[0]}] * 3, ["[0]['x']", "[1]['x']", "[2]['x']"]),
    "images and targets": (([X, X, X], [{"y": Y}] * 3), ["[0][0]", "[0][1]", "[0][2]"]),
    "nested": ({"inner": (X, Fields(X, Y))}, ["['inner'][0]", "['inner'][1].x"]),
}


@pytest.mark.parametrize("kind", BATCHES)
def test_every_tensor_has_its_field_and_samples_their_positions(kind: str) -> None:
    batch, fields = BATCHES[kind]
    named = [name for name, _, _ in named_tensors(batch)]
    assert named[: len(fields)] == fields
    assert all(isinstance(tensor, Tensor) for _, tensor, _ in named_tensors(batch))
    if kind != "nested":
        assert sample_names(batch) == ("0", "1", "2")


def test_names_of_ones_own_come_first() -> None:
    assert sample_names(Named(X, Y)) == ("a", "b", "c")


@pytest.mark.parametrize("batch", [(X, torch.zeros(4)), torch.tensor(1.0), None, 3, {}, [], Fields])
def test_samples_that_cannot_be_told_apart_have_no_names(batch: Any) -> None:
    assert sample_names(batch) == ()
