"""Batches for a number of steps, from any iterable, from its start again where it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from halftrack.errors import UserError

__all__ = ["steps_of"]


def steps_of(batches: Iterable[Any], *, steps: int, accumulate: int) -> Iterator[list[Any]]:
    """The batches of each step, ``accumulate`` of them.

    An iterable that can be read again, such as a loader, is read again; of one that cannot, such as
    a generator, the batches are kept.

    Raises:
        UserError: if there is no batch.
    """
    endless = _repeated(batches)
    for _ in range(steps):
        yield list(islice(endless, accumulate))


def _repeated(batches: Iterable[Any]) -> Iterator[Any]:
    once = iter(batches)
    kept: list[Any] | None = [] if once is batches else None
    first = next(once, None)
    if first is None:
        raise UserError("batches: there is none; expected a loader or list with at least one batch")
    for batch in chain([first], once):
        if kept is not None:
            kept.append(batch)
        yield batch
    while True:
        yield from (batches if kept is None else kept)
