"""Compilation of a model's parts with fixed shapes, as ``training.compile`` says.

Targets, sampling and whatever else depends on values stay eager. Compiled ops cannot be seen one by
one, so a rehearsal refuses them and the search for a culprit goes without.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from halftrack.errors import UserError
from halftrack.precision import Precision
from halftrack.training.config import TrainingConfig

__all__ = ["Compilations", "check_compilation", "compiled", "eagerly", "has_cpp_compiler"]


@runtime_checkable
class _Compilable(Protocol):
    """A model that can be compiled, as ``halftrack.layers.Compilable`` is."""

    compile_mode: str

    @property
    def is_compiled(self) -> bool:
        """True in training where a mode is set."""


def check_compilation(config: TrainingConfig, precision: Precision, device: torch.device) -> None:
    """Make sure that what ``training.compile`` asks for can be had.

    Raises:
        UserError: where a precision is rehearsed, and on a CPU without a C++ compiler.
    """
    if config.compile == "none":
        return
    asked = f"training.compile={config.compile!r}"
    if precision.is_rehearsed(device):
        raise UserError(
            f"{asked}: {precision.name} is rehearsed on a CPU, and a rehearsal must see every op; "
            "expected training.compile='none', or fp32, or a GPU"
        )
    if device.type == "cpu" and not has_cpp_compiler():
        raise UserError(
            f"{asked}: there is no C++ compiler here; install g++, name another in the environment "
            "variable CXX, or set training.compile='none'"
        )


def has_cpp_compiler() -> bool:
    """True if torch finds a C++ compiler, which it needs to compile for a CPU."""
    from torch._inductor import config  # seconds to import

    return any(name is not None and shutil.which(name) for name in config.cpp.cxx)


def compiled(model: nn.Module, config: TrainingConfig) -> nn.Module:
    """The model, to be compiled when it first meets a shape, as the recipe says.

    Raises:
        UserError: if the recipe asks for it and no part of the model can be compiled.
    """
    if config.compile == "none":
        return model
    if not isinstance(model, _Compilable):
        raise UserError(
            f"training.compile={config.compile!r}: no part of a {type(model).__name__} can be "
            "compiled, it is no halftrack.layers.Compilable; expected 'none'"
        )
    model.compile_mode = config.compile
    return model


@contextmanager
def eagerly(model: nn.Module) -> Iterator[None]:
    """A context in which the model computes op by op; its images are padded as when compiled."""
    if not isinstance(model, _Compilable) or not model.is_compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


class Compilations:
    """Tells of the compilations in a run: a step that needs one takes minutes longer.

    Args:
        model: in training.
    """

    def __init__(self, model: nn.Module) -> None:
        self._counts = isinstance(model, _Compilable) and model.is_compiled
        self._before = self._known = self._total()

    def tell(self, say: Callable[[str], None], *, epoch: int) -> None:
        """Say how many there were, if an epoch brought new ones.

        Args:
            say: told the line.
            epoch: 0-based.
        """
        total = self._total()
        if total > self._known:
            self._known = total
            say(f"epoch {epoch + 1}: compilations so far: {total - self._before}")

    def _total(self) -> int:
        """Compilations of this process."""
        if not self._counts:
            return 0
        from torch._dynamo.utils import counters  # seconds to import

        return int(counters["stats"]["unique_graphs"])
