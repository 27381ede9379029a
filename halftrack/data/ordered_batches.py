"""Order and randomness of training data: functions of (seed, epoch, index) alone, and batches."""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from halftrack.data.problems import DataError, OnBadSample, Problem, SkipLedger
from halftrack.data.workers import SampleWorkers

__all__ = ["OrderedBatches", "epoch_order", "sample_random"]

# So many bad samples in a row are not an accident; the last one's reason is raised.
_MAX_SUBSTITUTES = 50


class _Pinnable(Protocol):
    def pin_memory(self) -> Self: ...


Sample = TypeVar("Sample")
Batch = TypeVar("Batch", bound=_Pinnable)
_Key = tuple[int, int, tuple[int, ...]]


@dataclass(frozen=True)
class _Prepared(Generic[Batch]):
    """What a worker hands back: a batch, or the reason that ends the run, and what was skipped."""

    batch: Batch | None
    error: Problem | None
    skipped: tuple[Problem, ...]

    def pin_memory(self) -> _Prepared[Batch]:
        return self if self.batch is None else replace(self, batch=self.batch.pin_memory())


class OrderedBatches(ABC, Generic[Sample, Batch]):
    """Samples in an order that depends on (seed, epoch) alone, so many a batch.

    The order wraps around past its end, so that all batches are full.
    """

    def __init__(
        self,
        *,
        num_samples: int,
        samples_per_batch: int,
        on_bad_sample: OnBadSample = "error",
        skipped: SkipLedger | None = None,
    ) -> None:
        self.num_samples = num_samples
        """Samples in an epoch."""
        self.samples_per_batch = samples_per_batch
        """Number of samples that share a batch."""
        self.on_bad_sample: OnBadSample = on_bad_sample
        """``error``, or ``skip``: another sample takes the place of a bad one."""
        self.skipped = SkipLedger() if skipped is None else skipped
        """Ledger of what was left out so far."""
        self.notes: tuple[str, ...] = ()
        """Lines about what of the data is trained on and what is not."""
        self._workers: SampleWorkers[_Key, _Prepared[Batch]] = SampleWorkers(self._prepare)

    @abstractmethod
    def sample(self, *, seed: int, epoch: int, index: int) -> Sample:
        """Sample ``index``, whatever its place in the order.

        Raises:
            DataError: if one of its files cannot be used.
        """

    @abstractmethod
    def collate(self, samples: Sequence[Sample]) -> Batch:
        """The batch that holds these samples."""

    def facts(self) -> dict[str, dict[str, int | str]]:
        """Amounts and a hash of what is learned from, by data set; a resumed run compares them.

        No paths: a data set may be moved.
        """
        return {"the training set": {"samples": self.num_samples}}

    def __len__(self) -> int:
        """Batches in an epoch."""
        return (self.num_samples + self.samples_per_batch - 1) // self.samples_per_batch

    def batches(
        self,
        *,
        seed: int,
        epoch: int,
        places: Sequence[int] | None = None,
        workers: int = 0,
        pin: bool = False,
    ) -> Iterator[Batch]:
        """Batches of an epoch's order, which wraps around past its end.

        Args:
            seed: of the run.
            epoch: 0-based.
            places: which batches of the order, counted from 0; all of the epoch if None.
            workers: processes that prepare batches; the batches are the same for any number.
            pin: put images into page-locked memory.

        Raises:
            DataError: at a file that cannot be used, unless bad samples are skipped.
        """
        order = epoch_order(seed, epoch, self.num_samples)
        keys: list[_Key] = []
        for place in range(len(self)) if places is None else places:
            first = place * self.samples_per_batch
            turns = range(first, first + self.samples_per_batch)
            keys.append((seed, epoch, tuple(int(order[turn % len(order)]) for turn in turns)))
        # Closed at once, so that after an error the workers are free for the next pass.
        with closing(self._workers.map(keys, workers=workers, pin=pin)) as prepared_batches:
            for prepared in prepared_batches:
                for problem in prepared.skipped:
                    self.skipped.add(problem)
                if prepared.batch is None:
                    assert prepared.error is not None
                    raise DataError(prepared.error.file, prepared.error.reason)
                yield prepared.batch

    def close(self) -> None:
        """End the worker processes, if there are any."""
        self._workers.close()

    def _prepare(self, key: _Key) -> _Prepared[Batch]:
        seed, epoch, indices = key
        skipped: list[Problem] = []
        try:
            samples = [self._usable(seed, epoch, index, skipped) for index in indices]
        except DataError as error:
            return _Prepared(None, Problem(error.file, error.reason), tuple(skipped))
        return _Prepared(self.collate(samples), None, tuple(skipped))

    def _usable(self, seed: int, epoch: int, index: int, skipped: list[Problem]) -> Sample:
        """The sample, or the first usable one of those drawn to take its place."""
        substitute = sample_random(seed, epoch, index)
        for _ in range(_MAX_SUBSTITUTES):
            try:
                return self.sample(seed=seed, epoch=epoch, index=index)
            except DataError as error:
                if self.on_bad_sample == "error":
                    raise
                skipped.append(Problem(error.file, error.reason))
                index = substitute.randrange(self.num_samples)
        return self.sample(seed=seed, epoch=epoch, index=index)


def epoch_order(seed: int, epoch: int, size: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch visits its samples, from ``(seed, epoch)`` alone."""
    key = _hash("epoch order", seed, epoch)
    return np.random.Generator(np.random.Philox(key=key)).permutation(size)


def sample_random(seed: int, epoch: int, index: int) -> random.Random:
    """All chance of one sample, from ``(seed, epoch, index)`` alone."""
    return random.Random(_hash("sample", seed, epoch, index))


def _hash(purpose: str, *numbers: int) -> int:
    text = ":".join([purpose, *(str(int(number)) for number in numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
