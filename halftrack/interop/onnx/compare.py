"""Answers of onnxruntime beside those of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halftrack.boxes import iou
from halftrack.errors import UserError
from halftrack.interop.onnx.graphs import Graph

__all__ = ["Difference", "difference", "difference_of", "session"]

MOST = 1e-4
"""The largest difference of numbers that may be."""
_MOST_WITHOUT = 0.05


@dataclass(frozen=True)
class Difference:
    """The distance of two answers, and the boxes that only one of them has."""

    largest: float
    """The largest of any output, in shares of PyTorch's largest number where that is above 1."""
    boxes: int = 0
    """Boxes that PyTorch found, or onnxruntime if it found more."""
    without: int = 0
    """Boxes that only one of them found: two of nearly the same score, or an overlap at the
    threshold, and another one is suppressed."""

    def __str__(self) -> str:
        told = f"{self.largest:.1e} from PyTorch's answer"
        if self.boxes:
            told += f", {self.boxes - self.without} of {self.boxes} boxes"
        return told

    def check(self, file: Path) -> None:
        """Refuse a file that does not answer as PyTorch does.

        Raises:
            UserError: if it does not.
        """
        if not self.largest <= MOST or self.without > _MOST_WITHOUT * self.boxes:
            raise UserError(
                f"{file} is not written: onnxruntime is {self}; expected at most {MOST:.0e} and "
                f"{1 - _MOST_WITHOUT:.0%} of the boxes"
            )


def session(file: Path) -> Any:
    """A session of onnxruntime that runs a file on the CPU, on as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every input that has a default
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def difference(graph: Graph, file: Path) -> Difference:
    """Compare a file with the graph that it was made of, on inputs that it was not traced with."""
    inputs = graph.examples(1)
    expected = graph(inputs)
    found = session(file).run(
        list(expected), {name: value.numpy() for name, value in inputs.items()}
    )
    named = {
        name: torch.from_numpy(np.asarray(value))
        for name, value in zip(expected, found, strict=True)
    }
    return difference_of(expected, named)


def difference_of(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Difference:
    """Compare answers, both by name; boxes are compared with those at the same place."""
    boxes = without = 0
    if "boxes" in expected:
        rows, partners = _paired(expected, found)
        boxes = max(len(expected["boxes"]), len(found["boxes"]))
        without = boxes - len(partners.unique())  # one box is not the partner of two
        expected = {name: value[rows] for name, value in expected.items()}
        found = {name: value[partners] for name, value in found.items()}
    return Difference(max(_apart(expected[name], found[name]) for name in expected), boxes, without)


def _apart(expected: Tensor, found: Tensor) -> float:
    if expected.shape != found.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    largest = float((expected - found).abs().max() / expected.abs().max().clamp(min=1))
    return float("inf") if math.isnan(largest) else largest


def _paired(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of boxes that both have, of one label and with an overlap of nearly all."""
    alike = iou(expected["boxes"], found["boxes"])
    alike = alike.masked_fill(expected["labels"][:, None] != found["labels"], 0.0)
    if not alike.numel():
        nothing = torch.zeros(0, dtype=torch.long)
        return nothing, nothing
    best, partners = alike.max(dim=1)
    rows = (best > 0.99).nonzero()[:, 0]
    return rows, partners[rows]
