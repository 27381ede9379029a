"""Batches for a number of steps, from any iterable, from its start again where it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from halftrack.errors import UserError

__all__ = ["steps_of"]

_NONE = object()


def steps_of(batches: Iterable[Any], *, steps: int, accumulate: int) -> Iterator[list[Any]]:
    """The batches of each step, ``accumulate`` of them.

    An iterable that can be read again, such as a loader, is read again; of one that cannot, such as
    a generator, the batches are kept.

    Raises:
        UserError: if there is no batch, or none where it is read again.
    """
    endless = _repeated(batches)
    for _ in range(steps):
        yield list(islice(endless, accumulate))


def _repeated(batches: Iterable[Any]) -> Iterator[Any]:
    once = iter(batches)
    kept: list[Any] | None = [] if once is batches else None
    first = next(once, _NONE)
    if first is _NONE:
        raise UserError("batches: there is none; expected a loader or list with at least one batch")
    count = 0
    for batch in chain([first], once):
        count += 1
        if kept is not None:
            kept.append(batch)
        yield batch
    again = batches if kept is None else kept
    while True:
        batch = _NONE
        for batch in again:
            yield batch
        if batch is _NONE:
            raise UserError(
                f"batches: nothing more after {count}; expected a loader that can be read again, "
                "or as many batches as the steps take"
            )
