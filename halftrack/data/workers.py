"""Worker processes that prepare samples in order: any number of them, the same samples.

A thin layer over torch's DataLoader that keeps workers alive between epochs, goes on where shared
memory is too small, and says which worker died or fell silent.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from torch._C import _remove_worker_pids, _set_worker_pids
from torch.utils.data import DataLoader, Dataset, Sampler

from halftrack.errors import UserError
from halftrack.layers import one_thread

__all__ = ["DataWorkerError", "SampleWorkers"]

_log = logging.getLogger(__name__)

_UNSHARED = (
    "shared memory is too small (%s): samples travel through pipes, which is slower. Give /dev/shm "
    "more (docker run --shm-size=8g; in Kubernetes an emptyDir of medium Memory; for 'too many "
    "open files' ulimit -n), or set training.workers=0"
)

Key = TypeVar("Key")
Item = TypeVar("Item")

# Samples a worker prepares ahead: enough to ride out one slow image.
_PREFETCH = 4

# Seconds without a sample after which a worker is named, and after which the run is ended. A slow
# network disk may be silent for a minute; nobody wants to pay for a GPU that waits for hours.
NAMED_AFTER = 120.0
ENDED_AFTER = 1800.0

_STATES = {
    "T": "it is stopped: `kill -CONT {pid}` lets it go on",
    "t": "it is stopped by a debugger",
    "D": "it waits for a disk",
    "R": "it is computing",
    "S": "it is waiting",
    "Z": "it is dead",
}


class _Parcel:
    """An item on its way from a worker: its tensors in shared memory, or beside it as bytes.

    Packed where the item is made: an error in torch's own sending thread would leave the parent
    waiting for ever.
    """

    _told: ClassVar[bool] = False

    def __init__(self, item: object) -> None:
        try:
            self.content = bytes(ForkingPickler.dumps(item))
            self.unshared = ""
        except (OSError, RuntimeError) as error:  # /dev/shm is full, or too many files are open
            self.content = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
            self.unshared = str(error)

    def item(self) -> Any:
        """The item; to be called once: it takes the shared memory over."""
        if self.unshared and not _Parcel._told:
            _Parcel._told = True
            _log.warning(_UNSHARED, self.unshared.partition("\n")[0])
        return pickle.loads(self.content)

    def pin_memory(self) -> Any:
        """The item in page-locked memory, as torch's pinning thread asks for it."""
        item = self.item()
        return item.pin_memory() if hasattr(item, "pin_memory") else item


class _Function(Dataset[Item], Generic[Key, Item]):
    def __init__(self, function: Callable[[Key], Item], *, packed: bool = False) -> None:
        self.function, self.packed = function, packed

    def __getitem__(self, key: Key) -> Item:
        # As in a worker, here too: the last digits of a float resize depend on the threads.
        with one_thread():
            item = self.function(key)
        return _Parcel(item) if self.packed else item  # type: ignore[return-value]


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

    Workers stay for the next pass with the same settings: only the keys travel to them. They end
    with a pass that is not read to its end: what they prepared ahead would keep its shared memory.
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
            DataWorkerError: if a worker dies, or is silent for too long.
            RuntimeError: if a pass with the same workers is not finished yet.
        """
        if workers < 0:
            raise UserError(f"workers={workers!r}: expected 0 or more")
        if workers == 0 and not pin:
            yield from map(_Function[Key, Item](self._function).__getitem__, keys)
            return
        if self._busy:
            raise RuntimeError("a pass over these workers is still open: finish or close it first")
        self._busy = True
        try:
            yield from self._pass(keys, workers, pin)
        except BaseException:  # GeneratorExit too: the consumer has stopped
            self.close()  # the garbage collector would wait five seconds for each worker
            raise
        finally:
            self._busy = False

    def close(self) -> None:
        """End the workers now; the next pass starts new ones."""
        if (iterator := getattr(self._loader, "_iterator", None)) is not None:
            iterator._shutdown_workers()  # torch has a public name for neither
        self._loader = self._settings = None

    def _pass(self, keys: Sequence[Key], workers: int, pin: bool) -> Iterator[Item]:
        if self._loader is None or self._settings != (workers, pin):
            self.close()
            importlib.import_module("torchvision.transforms.v2")  # once, not in each worker
            self._keys, self._settings = _Keys(), (workers, pin)
            self._loader = DataLoader(
                _Function(self._function, packed=workers > 0),
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
        batches = iter(self._loader)
        if not workers:
            yield from batches
            return
        processes = list(batches._workers)  # type: ignore[attr-defined]
        pids, name = tuple(process.pid for process in processes), id(batches)
        if batches._worker_pids_set:  # type: ignore[attr-defined]
            _remove_worker_pids(name)
            batches._worker_pids_set = False  # type: ignore[attr-defined]
        for process in processes:
            # They ignore SIGTERM: torch and Python must end them with SIGKILL.
            process.terminate = process.kill
            process._popen.terminate = process._popen.kill
        with _Watch(processes) as watch:
            try:
                for _ in keys:
                    with watch.waiting():
                        with _deaths_raise(pids, name):
                            item = next(batches)
                        if isinstance(item, _Parcel):  # not pinned; it asks the worker for memory
                            item = item.item()
                    yield item
            except (EOFError, OSError, RuntimeError) as error:
                if (death := _death_of(processes)) is None:
                    raise
                raise DataWorkerError(watch.ended or death) from error


def _unchanged(item: Item) -> Item:
    return item


def _context() -> multiprocessing.context.BaseContext:
    # Linux forks: workers share the index and start in milliseconds. They touch no GPU.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _quiet_worker(worker: int) -> None:
    """Leave signals that reach the whole process group to the parent, which saves and ends it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _deaths_raise(pids: tuple[int, ...], name: int) -> Iterator[None]:
    """A block in which torch's handler of SIGCHLD raises at once where one of the processes dies.

    Elsewhere it would raise in the middle of a training step, or leave a socket open.
    """
    _set_worker_pids(name, pids)
    try:
        yield
    finally:
        _remove_worker_pids(name)


class DataWorkerError(RuntimeError):
    """The end of a worker process that prepared samples; names it and its likely cause."""


def _death_of(processes: Sequence[BaseProcess]) -> str | None:
    """Sentence on the first of the workers that is dead; None if all live."""
    for number, process in enumerate(processes):
        process.join(0.2)  # its pipe closes a moment before it is dead
        if (code := process.exitcode) is None:
            continue
        who = f"a data worker (number {number}, process {process.pid})"
        if code >= 0:
            return f"{who} ended with exit code {code}"
        likely = {signal.SIGKILL: "; out of memory?", signal.SIGBUS: "; /dev/shm too small?"}
        return f"{who} was killed (signal {-code}{likely.get(signal.Signals(-code), '')})"
    return None


class _Watch:
    """Names the worker that a pass has been waiting for too long, and ends it in the end.

    A thread looks now and then; a pass that waits for nobody costs nothing.
    """

    def __init__(self, processes: Sequence[BaseProcess]) -> None:
        self._processes = processes
        self._since: float | None = None
        self._received = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="worker watch", daemon=True)
        self.ended: str | None = None
        """The sentence on a worker that was ended because it was silent; None if none was."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A block in which the pass waits for its next sample."""
        self._since = time.monotonic()
        yield
        self._since = None
        self._received += 1

    def _look(self) -> None:
        named = NAMED_AFTER
        while not self._over.wait(min(NAMED_AFTER, ENDED_AFTER) / 8):
            silent = 0.0 if (since := self._since) is None else time.monotonic() - since
            if silent < NAMED_AFTER:
                named = NAMED_AFTER
                continue
            # Samples are dealt out in turns; a stopped worker may keep the others from sending.
            states = [_state(process.pid) for process in self._processes]
            stopped = (number for number, state in enumerate(states) if "stopped" in state)
            number = next(stopped, self._received % len(states))
            process = self._processes[number]
            who = f"a data worker (number {number}, process {process.pid})"
            told = f"{who} has sent nothing for {silent / 60:.1f} minutes: {states[number]}"
            if silent >= ENDED_AFTER:
                self.ended = f"{told}; it was ended"
                process.kill()
                return
            if silent >= named:
                _log.warning("%s; the run is ended after %.0f minutes", told, ENDED_AFTER / 60)
                named *= 2


def _state(pid: int | None) -> str:
    """Words for what a process is doing, where the system tells."""
    letter = ""
    with suppress(OSError, IndexError):
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return _STATES.get(letter, "its state is not known").format(pid=pid)
