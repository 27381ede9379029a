"""Scorer of a model, its clock, what its answers depend on, and what could not be read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import nn

from halftrack.data import Problem, SkipLedger
from halftrack.data.index_cache import contents_hash
from halftrack.recipes.scoring.evaluation import Evaluation
from halftrack.training.files.checkpoint import code_versions
from halftrack.training.ranks import Ranks
from halftrack.training.same_run import DataFacts

__all__ = ["Scorer", "Skips", "Stopwatch", "left_out", "shares", "trial_inputs"]

PartT = TypeVar("PartT")
EvaluationT = TypeVar("EvaluationT", bound=Evaluation)


@dataclass(frozen=True, kw_only=True)
class Scorer(Generic[PartT, EvaluationT]):
    """A function that scores a model on data that are open already, video by video."""

    lengths: Sequence[int]
    """Frames, or crops, of each video."""
    find: Callable[[nn.Module, Sequence[int]], list[PartT]]
    """Gives the findings of a model in the videos of these numbers, each the same on its own."""
    conclude: Callable[[Sequence[PartT]], EvaluationT]
    """Gives the scores of the findings in all videos, in order."""
    facts: DataFacts
    """Facts of the data; a resumed run must be scored on the same."""

    def __call__(self, model: nn.Module) -> EvaluationT:
        """The scores of a model."""
        return self.conclude(self.find(model, range(len(self.lengths))))

    def shared(self, model: nn.Module, ranks: Ranks) -> EvaluationT:
        """The same scores, found by processes that share the videos and told to all."""
        own = shares(self.lengths, ranks.size)[ranks.rank]
        told = ranks.gathered(dict(zip(own, self.find(model, own), strict=True)))
        found = {number: part for each in told for number, part in each.items()}
        return self.conclude([found[number] for number in range(len(self.lengths))])


def shares(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Numbers of the videos that each of ``count`` processes takes, whole ones.

    The longest goes first, each to whoever has least so far; some have none if there are too few.
    """
    loads, taken = [0] * count, [list[int]() for _ in range(count)]
    for number in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        least = loads.index(min(loads))
        loads[least] += lengths[number]
        taken[least].append(number)
    return [sorted(each) for each in taken]


class Skips:
    """Ledger of an evaluation, whose videos may be read by several processes.

    Args:
        ledger: that the open data write to.
    """

    def __init__(self, ledger: SkipLedger) -> None:
        self._ledger, self._opened = ledger, ledger.times.copy()

    @contextmanager
    def of_video(self) -> Iterator[Counter[Problem]]:
        """Yields the counter that is filled with what is left out in the block."""
        before, found = self._ledger.times.copy(), Counter[Problem]()
        yield found
        found.update(self._ledger.times - before)

    def lines(self, videos: Iterable[Counter[Problem]]) -> tuple[str, ...]:
        """Lines on what was left out when the data were opened, and of these videos."""
        return left_out(SkipLedger(sum(videos, self._opened.copy())))


def left_out(ledger: SkipLedger) -> tuple[str, ...]:
    """Lines of a ledger; none if it is empty."""
    return tuple(ledger.lines()) if len(ledger) else ()


def trial_inputs(model: nn.Module, device: torch.device, **others: str) -> dict[str, str]:
    """Hashes and versions of all that the answers of a model depend on.

    Args:
        model: its weights count by their values, not by the file they came from.
        device: where it computes.
        others: whatever else they depend on.
    """
    state = model.state_dict()
    weights = contents_hash((each.cpu().numpy() for each in state.values()), text=list(state))
    versions = code_versions()
    return {
        "weights": weights,
        "device": device.type,
        **{name: str(versions[name]) for name in ("torch", "halftrack", "git")},
        **others,
    }


class Stopwatch:
    """Adds up the time spent inside it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start
