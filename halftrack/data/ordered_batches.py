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

    With several ranks, rank ``r`` takes batches ``r, r + world_size, ...`` of the common order,
    which wraps around so that all batches are full and all ranks have equally many.
    """

    def __init__(
        self,
        *,
        num_samples: int,
        samples_per_batch: int,
        on_bad_sample: OnBadSample = "error",
        rank: int = 0,
        world_size: int = 1,
        skipped: SkipLedger | None = None,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank!r}, world_size={world_size!r}: 0 <= rank < world_size")
        self.num_samples = num_samples
        """Samples in an epoch of all ranks together."""
        self.samples_per_batch = samples_per_batch
        """Number of samples that share a batch."""
        self.on_bad_sample: OnBadSample = on_bad_sample
        """``error``, or ``skip``: another sample takes the place of a bad one."""
        self.rank, self.world_size = rank, world_size
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
        """Batches in an epoch of this rank."""
        share = self.world_size * self.samples_per_batch
        return (self.num_samples + share - 1) // share

    def batches(
        self,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        stop: int | None = None,
        workers: int = 0,
        pin: bool = False,
    ) -> Iterator[Batch]:
        """Batches ``start`` to ``stop`` of an epoch's order, which wraps around past its end.

        Args:
            seed: of the run.
            epoch: 0-based.
            start: batches of this epoch that were consumed already.
            stop: one past the last batch; the epoch's length if None.
            workers: processes that prepare batches; the batches are the same for any number.
            pin: put images into page-locked memory.

        Raises:
            DataError: at a file that cannot be used, unless bad samples are skipped.
        """
        order = epoch_order(seed, epoch, self.num_samples)
        keys: list[_Key] = []
        for position in range(start, len(self) if stop is None else stop):
            first = (position * self.world_size + self.rank) * self.samples_per_batch
            places = range(first, first + self.samples_per_batch)
            keys.append((seed, epoch, tuple(int(order[place % len(order)]) for place in places)))
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
