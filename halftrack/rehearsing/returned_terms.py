"""Loss terms that a model returns in a dict, as torchvision's detectors do."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from halftrack.precision.nonfinite import Event, NonFiniteTrace

__all__ = ["ReturnedTerms"]


class ReturnedTerms:
    """Loss terms of a step, of which those count that a backward pass runs through.

    A graph, with all that its forward pass keeps, lives no longer than the loop itself keeps it.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._learned = dict[int, _Term]()

    def take(self, output: Any) -> None:
        """Wait for the backward pass of each loss term of a model's output."""
        for name, term in _terms_of(output).items():
            self._taken += 1
            # The hook alone holds what is known of the term, and goes with its graph.
            term.register_hook(partial(self._learn, self._taken, name, term.detach()))

    def clear(self) -> None:
        """Forget the terms that were learned from."""
        self._learned.clear()

    def means(self) -> dict[str, float]:
        """Mean of each term over the passes of the step, in the order of the model's output."""
        values = dict[str, list[float]]()
        for _, term in sorted(self._learned.items()):
            values.setdefault(term.name, []).append(float(term.value))
        return {name: statistics.fmean(own) for name, own in values.items()}

    def that_suffer(self, event: Event, trace: NonFiniteTrace) -> list[str]:
        """Names of terms not finite by an event, or whose backward pass ran through it."""
        terms = [term for _, term in sorted(self._learned.items())]
        return list(dict.fromkeys(term.name for term in terms if term.suffers(event, trace)))

    def _learn(self, number: int, name: str, value: Tensor, _: Tensor) -> None:
        nodes = _nodes_behind(torch._C._current_autograd_node())
        self._learned[number] = _Term(name, value, nodes)


@dataclass(frozen=True)
class _Term:
    name: str
    value: Tensor
    nodes: set[int]
    """Sequence numbers of its graph's nodes."""

    def suffers(self, event: Event, trace: NonFiniteTrace) -> bool:
        if event.direction == "backward":
            return event.node in self.nodes
        return trace.origin([self.value]) is event


def _terms_of(output: Any) -> dict[str, Tensor]:
    if not isinstance(output, Mapping):
        return {}
    return {
        str(name): value
        for name, value in output.items()
        if name != "loss" and isinstance(value, Tensor) and _is_term(value)
    }


def _is_term(value: Tensor) -> bool:
    # A value within a torch.func transform is gone when that has ended.
    return value.dim() == 0 and value.requires_grad and not is_functorch_wrapped_tensor(value)


def _nodes_behind(last: Any) -> set[int]:
    pending, seen = [last], set[Any]()
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            pending += [each for each, _ in node.next_functions]
    return {node._sequence_nr() for node in seen}
