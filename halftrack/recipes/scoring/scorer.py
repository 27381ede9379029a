"""Scorer of a model, its clock, and the lines on what could not be read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import nn

from halftrack.data import SkipLedger
from halftrack.recipes.scoring.evaluation import Evaluation
from halftrack.training.same_run import DataFacts

__all__ = ["Scorer", "Stopwatch", "left_out"]

EvaluationT = TypeVar("EvaluationT", bound=Evaluation)


@dataclass(frozen=True)
class Scorer(Generic[EvaluationT]):
    """A function that scores a model on data that are open already, with the facts of these."""

    score: Callable[[nn.Module], EvaluationT]
    """The function."""
    facts: DataFacts
    """Facts of the data; a resumed run must be scored on the same."""

    def __call__(self, model: nn.Module) -> EvaluationT:
        """The scores of a model."""
        return self.score(model)


def left_out(ledger: SkipLedger) -> tuple[str, ...]:
    """Lines of a ledger; none if it is empty."""
    return tuple(ledger.lines()) if len(ledger) else ()


class Stopwatch:
    """Adds up the time spent inside it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start
