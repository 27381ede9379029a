"""Tables read once where a look at a data set asks for them again: its parts share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

from halftrack.data.problems import DataError

__all__ = ["kept_once", "reading_once"]

ParamsT = ParamSpec("ParamsT")
T = TypeVar("T")

_kept: ContextVar[dict[object, object] | None] = ContextVar("tables read so far", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Within it each table is read once; what is on the disk may not change meanwhile."""
    if _kept.get() is not None:
        yield
        return
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def kept_once(read: Callable[ParamsT, T]) -> Callable[ParamsT, T]:
    """A reader that answers, or raises its ``DataError``, again within ``reading_once``.

    Args:
        read: its arguments are hashable, and its answer is not changed.
    """

    @wraps(read)
    def reader(*args: ParamsT.args, **kwargs: ParamsT.kwargs) -> T:
        kept = _kept.get()
        if kept is None:
            return read(*args, **kwargs)
        key = (read, args, *sorted(kwargs.items()))
        if key not in kept:
            try:
                kept[key] = read(*args, **kwargs)
            except DataError as error:
                kept[key] = error
        answer = kept[key]
        if isinstance(answer, DataError):
            raise DataError(answer.file, answer.reason)
        return answer  # type: ignore[return-value]

    return reader
