"""Ops of a step that a GPU has kernels of its own for, or that CUDA autocast does not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch

__all__ = ["CalledOps", "Calls", "noted"]

# Libraries of torch itself: autocast decides about them on purpose, or they compute nothing.
_OF_TORCH = {"aten", "prim", "prims", "halftrack", "c10d", "_c10d_functional", "profiler"}


@dataclass(frozen=True, kw_only=True)
class CalledOps:
    """Ops that a GPU may compute otherwise than they are rehearsed; ``+`` joins two steps."""

    fused: tuple[str, ...] = ()
    """Names of torch's ops that are kernels of their own on a GPU and composed of other ops on a
    CPU, such as ``lstm``, sorted."""
    uncast: tuple[str, ...] = ()
    """Names, with those of their libraries, of ops of other libraries that CUDA autocast has no
    entry for, sorted: they compute in the dtype that they are given."""

    def __add__(self, other: CalledOps) -> CalledOps:
        return CalledOps(
            fused=tuple(sorted({*self.fused, *other.fused})),
            uncast=tuple(sorted({*self.uncast, *other.uncast})),
        )


class Calls:
    """Calls that are noted inside the context."""

    def __init__(self) -> None:
        self.ops = set[Any]()
        """Ops that a dispatch mode saw; the mode adds them."""
        self._fused = set[str]()

    @property
    def found(self) -> CalledOps:
        """The ops among them of which something must be said."""
        uncast = {op.name() for op in self.ops if _is_uncast(op)}
        return CalledOps(fused=tuple(sorted(self._fused)), uncast=tuple(sorted(uncast)))

    def __enter__(self) -> Self:
        _open.append(self._fused)
        return self

    def __exit__(self, *_: object) -> None:
        # By identity: two sets may hold the same names.
        _open[:] = [each for each in _open if each is not self._fused]


_open: list[set[str]] = []


def noted(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel whose calls are noted, without the name of the overload."""
    op = name.partition(".")[0]

    def noting(*args: Any, **kwargs: Any) -> Any:
        for fused in _open:
            fused.add(op)
        return kernel(*args, **kwargs)

    return noting


def _is_uncast(op: Any) -> bool:
    if op.namespace in _OF_TORCH:
        return False
    return not torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "AutocastCUDA")
