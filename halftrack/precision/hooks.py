"""Hooks of modules that copies and pickles of a module do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Hook"]


class Hook:
    """A forward hook that watches a module while it is watched, and none of its copies.

    An average of the weights is a deep copy that is made beside a training, and a checkpoint may
    pickle the whole model: both would carry the hook and all that it knows along.

    Args:
        call: is called as torch calls a hook.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The hook."""
        return self._call(*args, **kwargs)

    def __deepcopy__(self, _: Any) -> Callable[..., None]:
        return _nothing

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _no_hook, ()


def _nothing(*_: Any, **__: Any) -> None:
    """The hook of a copy."""


def _no_hook() -> Callable[..., None]:
    return _nothing
