"""Methods whose shapes come again and again, which ``torch.compile`` can take."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import nn

__all__ = ["Compilable", "coarse", "fixed_shapes", "is_read"]

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="Compilable")

# Of compilations; beyond 8, torch would end the run.
_MOST = 1000


class Compilable(nn.Module):
    """A model that has methods of ``fixed_shapes``."""

    compile_mode: str = "none"
    """Mode of ``torch.compile``; none leaves the model eager."""

    @property
    def is_compiled(self) -> bool:
        """True in training where a mode is set; evaluation, of other sizes, stays eager."""
        return self.training and self.compile_mode != "none"


def fixed_shapes(method: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """Compile a method of a ``Compilable`` once for each shape of its arguments.

    A decorator; where the model is not compiled it changes nothing. The method is compiled as a
    whole: what torch cannot read is an error.
    """

    @functools.cache
    def compiled(mode: str) -> Any:
        return torch.compile(method, mode=mode, dynamic=False, fullgraph=True)

    @functools.wraps(method)
    def either(self: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.is_compiled:
            return method(self, *args, **kwargs)
        limits = dict.fromkeys(("recompile_limit", "accumulated_recompile_limit"), _MOST)
        with torch._dynamo.config.patch(limits):
            answer: R = compiled(self.compile_mode)(self, *args, **kwargs)
        return answer

    return either


def is_read() -> bool:
    """True while torch reads a model's operations to compile or to save them.

    Functions with a backward pass of their own can be neither.
    """
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


def coarse(size: int) -> int:
    """The next number of three significant bits: 20, 24, 28, 32, 40, 48, 56, 64, 80 ..."""
    step = 1 << max(size.bit_length() - 3, 0)
    return -(-size // step) * step
