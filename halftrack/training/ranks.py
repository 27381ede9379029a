"""Processes that share the work, one a GPU: who this one is among them, and what they tell.

torchrun, or whoever starts the processes, says it in torch's environment variables: ``RANK``,
``WORLD_SIZE``, ``LOCAL_RANK``, ``LOCAL_WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from halftrack.errors import UserError
from halftrack.training.sums import all_gather, piece_of_sum

__all__ = ["ALONE", "FirstProcessError", "LostProcessError", "Ranks", "own_device", "together"]

ValueT = TypeVar("ValueT")

# A data worker that is silent for half an hour ends its rank with a message: others wait longer.
_STEP_TIMEOUT = timedelta(hours=1)
# What is told may take as long as the longest video that one of them scores alone.
_TOLD_TIMEOUT = timedelta(days=7)
_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")


class LostProcessError(RuntimeError):
    """The end, or the silence, of another process that shares the work."""


class FirstProcessError(Exception):
    """Cause of an error that the first process met and all of them raise: it alone tells it."""


@dataclass(frozen=True)
class Ranks:
    """One of the processes that share the work; with ``size=1`` it does all of it, and tells none.

    All of them must call a method that tells something, in the same order.
    """

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of the processes."""
    told: Any = None
    """The process group that plain objects travel by, over the CPU; None for one process."""

    @property
    def is_first(self) -> bool:
        """True of rank 0, which alone writes files and lines."""
        return self.rank == 0

    def share(self, count: int, *, of: str) -> int:
        """The part of a step's batches that this process takes, as many as every other.

        Args:
            count: batches in a step.
            of: the field that says it, for the error.

        Raises:
            ValueError: if they cannot be shared evenly.
        """
        if count % self.size:
            more = -(-count // self.size) * self.size
            raise UserError(
                f"{of}={count}: {self.size} processes cannot share it evenly; expected a multiple "
                f"of {self.size}, as --set {of}={more}, which is what a step of all of them holds"
            )
        return count // self.size

    def places(self, places: range, *, together: int) -> Sequence[int]:
        """Those of an epoch's places that this process takes: of each step one piece.

        Args:
            places: whole steps.
            together: batches in a step.
        """
        share = together // self.size
        return [place for place in places if place % together // share == self.rank]

    def say(self, line: str) -> None:
        """Print a line of the first process; the others are silent."""
        if self.is_first:
            print(line, flush=True)

    def gathered(self, value: ValueT) -> list[ValueT]:
        """Values of all processes, in the order of ranks, told to all."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.told)
        return values

    def gathered_by_first(self, value: ValueT) -> list[ValueT]:
        """Values of all processes, in the order of ranks, told to the first alone; others get none.

        For what is large.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size if self.is_first else []
        dist.gather_object(value, values or None, dst=0, group=self.told)
        return values

    def of_first(self, value: ValueT) -> ValueT:
        """The value of the first process, told to all."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.told)
        return values[0]

    def first_does(self, act: Callable[[], ValueT]) -> ValueT:
        """Let the first process do something, and tell all of them its answer, or its error.

        Args:
            act: called by the first process alone.

        Raises:
            Exception: what the first process met.
        """
        if self.size == 1:
            return act()
        answer: list[ValueT] = []
        met: Exception | None = None
        if self.is_first:
            try:
                answer.append(act())
            except Exception as error:  # the others wait for an answer
                met = error
        answer, told = self.of_first((answer, met))
        if met is not None:
            raise met
        if told is not None:
            raise told from FirstProcessError("rank 0 met it")
        return answer[0]

    def greatest(self, value: float, device: torch.device) -> float:
        """The greatest of what the processes have, each step's one small message.

        Args:
            value: this process's, not NaN.
            device: where it travels from.
        """
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return float(found)

    def broadcast(self, values: Tensor, *, of: int) -> Tensor:
        """The tensor of one process, written into that of every other.

        Args:
            values: contiguous, of the same shape in all.
            of: the rank that has it.
        """
        if self.size > 1:
            dist.broadcast(values, src=of)
        return values

    def joined(self, piece: Tensor) -> Tensor:
        """The pieces ``(n,)`` of all processes, those of rank 0 first: ``(size * n,)``."""
        whole = piece.new_empty(self.size * len(piece))
        all_gather(whole, piece)
        return whole

    def summed_piece(self, own: Tensor, wire: torch.dtype | None = None) -> Tensor:
        """This process's piece ``(n,)`` of the sum of all processes' values ``(size * n,)``.

        Args:
            own: of this process.
            wire: type that they travel in; None for their own.
        """
        return piece_of_sum(own, self.size, wire)

    def rows(self, row: Tensor) -> Tensor:
        """A row ``(n,)`` of each process, as ``(size, n)``."""
        found = [torch.empty_like(row) for _ in range(self.size)]
        dist.all_gather(found, row)
        return torch.stack(found)

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """A block that the others enter when the first process has left it, as to read a cache.

        Raises:
            Exception: what the first process met in it, in all of them.
        """
        if not self.is_first:
            met: Exception | None = self.of_first(None)
            if met is not None:
                raise met from FirstProcessError("rank 0 met it")
            yield
            return
        try:
            yield
        except Exception as error:
            self.of_first(error)
            raise
        self.of_first(None)


ALONE = Ranks()
"""The one process of a run without others."""


@contextmanager
def together(device: torch.device) -> Iterator[Ranks]:
    """The processes that the environment tells of, connected until the block ends.

    NCCL connects GPUs, gloo CPUs. A process on a CPU takes its share of the machine's cores, unless
    ``OMP_NUM_THREADS`` says otherwise.

    Args:
        device: where this process computes.

    Raises:
        ValueError: if the environment contradicts itself or lacks something.
        LostProcessError: if another process has ended before this one.
    """
    size = _number("WORLD_SIZE", default=1)
    if size < 1:
        raise UserError(f"WORLD_SIZE={size} in the environment: expected 1 or more")
    if size == 1:
        yield ALONE
        return
    missing = [name for name in _NEEDED if not os.environ.get(name, "").strip()]
    if missing:
        raise UserError(
            f"WORLD_SIZE={size}, but {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'}"
            " not set in the environment: start the processes by torchrun, or unset WORLD_SIZE"
        )
    rank = _number("RANK", default=0)
    if not 0 <= rank < size:
        raise UserError(f"RANK={rank}, WORLD_SIZE={size}: expected 0 to {size - 1}")
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        here = _number("LOCAL_WORLD_SIZE", default=size)
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // here))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(
            backend, store=_store(), rank=rank, world_size=size, timeout=_STEP_TIMEOUT
        )
        yield Ranks(rank, size, dist.new_group(backend="gloo", timeout=_TOLD_TIMEOUT))
    except RuntimeError as error:
        is_gloos = type(error) is RuntimeError and "gloo" in str(error)
        if not isinstance(error, dist.DistError) and not is_gloos:
            raise
        raise LostProcessError(
            f"another of {size} processes has ended or is silent, this one cannot go on: its own "
            f"messages say why ({str(error).splitlines()[0][:200]})"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _store() -> Any:
    """The store by which processes find each other.

    torchrun on one machine keeps one for all its starts, in which the address of a killed process
    would be taken for that of its successor. On several machines starts are counted differently.
    """
    store, _, _ = next(rendezvous("env://", timeout=_STEP_TIMEOUT))
    if os.environ.get("GROUP_WORLD_SIZE") != "1":
        return store
    start = _number("TORCHELASTIC_RESTART_COUNT", default=0)
    return dist.PrefixStore(f"start {start}", store)  # type: ignore[attr-defined]


def own_device(device: torch.device) -> torch.device:
    """The device of this process: of several on a machine, each has a GPU of its own.

    Args:
        device: where the run computes.

    Raises:
        ValueError: if one GPU is named for all of them, or there are too few.
    """
    if device.type != "cuda" or _number("WORLD_SIZE", default=1) == 1:
        return device
    if device.index is not None:
        raise UserError(f"{device} (--device) for several processes: expected cuda, or cpu")
    number, count = _number("LOCAL_RANK", default=0), torch.cuda.device_count()
    if number >= count:
        raise UserError(
            f"LOCAL_RANK={number}: this machine has {count} GPUs; start as many processes, or give "
            "--device cpu"
        )
    return torch.device("cuda", number)


def _number(name: str, *, default: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise UserError(f"{name}={text!r} in the environment: expected a whole number")
    return int(text)
