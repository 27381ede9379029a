"""Worker processes that prepare samples in order: any number of them, the same samples.

A thin layer over torch's DataLoader that keeps workers alive between epochs.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, TypeVar

from torch.utils.data import DataLoader, Dataset, Sampler

from halftrack.errors import UserError
from halftrack.layers import one_thread

__all__ = ["SampleWorkers"]

Key = TypeVar("Key")
Item = TypeVar("Item")

# Samples a worker prepares ahead: enough to ride out one slow image.
_PREFETCH = 4


class _Function(Dataset[Item], Generic[Key, Item]):
    def __init__(self, function: Callable[[Key], Item]) -> None:
        self.function = function

    def __getitem__(self, key: Key) -> Item:
        # As in a worker, here too: the last digits of a float resize depend on the threads.
        with one_thread():
            return self.function(key)


class _Keys(Sampler[Key]):
    """The keys of the pass that is about to start."""

    def __init__(self) -> None:
        self.keys: Sequence[Key] = ()

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


class SampleWorkers(Generic[Key, Item]):
    """Applies a function to keys, in order, in this process or in worker processes.

    Workers stay for the next pass with the same settings: only the keys travel to them.
    """

    def __init__(self, function: Callable[[Key], Item]) -> None:
        self._function = function
        self._loader: DataLoader[Item] | None = None
        self._keys: _Keys[Key] = _Keys()
        self._settings: tuple[int, bool] | None = None
        self._busy = False

    def __getstate__(self) -> dict[str, object]:
        # Reaches a spawned worker inside the function it serves: the loader stays behind.
        return {"_function": self._function}

    def map(
        self, keys: Sequence[Key], *, workers: int, pin: bool = False
    ) -> Generator[Item, None, None]:
        """The function's value for each key, in the keys' order.

        Args:
            keys: small and picklable.
            workers: processes beside this one; 0 does the work here, on demand.
            pin: put the tensors into page-locked memory for faster copies to a GPU.

        Raises:
            ValueError: if ``workers`` is negative.
            RuntimeError: if a pass with the same workers is not finished yet.
        """
        if workers < 0:
            raise UserError(f"workers={workers!r}: expected 0 or more")
        if workers == 0 and not pin:
            here: _Function[Key, Item] = _Function(self._function)
            yield from map(here.__getitem__, keys)
            return
        if self._busy:
            raise RuntimeError(
                "a pass over these workers is still open; close it or finish it before the next"
            )
        self._busy = True
        try:
            yield from self._pass(keys, workers, pin)
        finally:
            self._busy = False

    def close(self) -> None:
        """End the workers now; the next pass starts new ones."""
        self._loader = None
        self._settings = None

    def _pass(self, keys: Sequence[Key], workers: int, pin: bool) -> Iterator[Item]:
        if self._loader is None or self._settings != (workers, pin):
            self.close()
            self._keys = _Keys()
            self._settings = (workers, pin)
            self._loader = DataLoader(
                _Function(self._function),
                batch_size=None,
                sampler=self._keys,
                num_workers=workers,
                pin_memory=pin,
                collate_fn=_unchanged,
                persistent_workers=workers > 0,
                prefetch_factor=_PREFETCH if workers else None,
                worker_init_fn=_quiet_worker if workers else None,
                multiprocessing_context=_context() if workers else None,
            )
        self._keys.keys = keys
        yield from self._loader


def _unchanged(item: Item) -> Item:
    return item


def _context() -> multiprocessing.context.BaseContext:
    # Linux forks: workers share the index and start in milliseconds. They touch no GPU.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _quiet_worker(worker: int) -> None:
    """Leave Ctrl-C, which reaches the whole process group, to the parent.

    SIGTERM stays with torch's own handler: it ends a worker at once when the parent sends it, and
    without that a process with live workers would not exit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
