"""What a user chooses about precision, decided once: a small immutable value.

Models never ask which precision they run in; they only mark fp32 islands, each with its reason.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from halftrack.precision.dtypes import HALF
from halftrack.precision.loss_scale import (
    DynamicLossScale,
    LossScale,
    NoLossScale,
    StaticLossScale,
)
from halftrack.precision.rehearsal import forget_cast_weights, rehearsal

__all__ = ["Precision", "fp32_island"]

PrecisionName = Literal["fp32", "bf16", "fp16"]
P = ParamSpec("P")
R = TypeVar("R")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """The arithmetic of a run: name, loss scale and the modules that stay in fp32.

    Raises:
        ValueError: for an unknown name or a loss scale that does not go with it.
    """

    name: PrecisionName = "fp32"
    """``fp32``, ``bf16`` or ``fp16``."""
    loss_scale: float | Literal["dynamic"] | None = None
    """What the loss is multiplied by: None, a number, or ``dynamic``; fp16 only."""
    keep_fp32: tuple[str, ...] = ()
    """Patterns (``fnmatch``) of module paths that compute in fp32."""

    def __post_init__(self) -> None:
        if self.name not in _DTYPES:
            raise ValueError(f"precision {self.name!r} is not one of {', '.join(_DTYPES)}")
        scale = self.loss_scale
        if scale is None:
            return
        if self.name != "fp16":
            raise ValueError(f"loss scale {scale!r} with {self.name}: only fp16 needs a loss scale")
        if scale == "dynamic":
            return
        if isinstance(scale, bool | str) or not math.isfinite(scale) or scale <= 0:
            raise ValueError(f"loss scale {scale!r} is not None, a positive number or 'dynamic'")

    @classmethod
    def named(cls, name: str) -> Precision:
        """The precision of that name with its usual loss scale: fp16 scales dynamically.

        Raises:
            ValueError: if there is none.
        """
        return cls(name, "dynamic" if name == "fp16" else None)  # type: ignore[arg-type]

    @property
    def dtype(self) -> torch.dtype:
        """What convolutions and matrix products compute with."""
        return _DTYPES[self.name]

    def new_loss_scale(self) -> LossScale:
        """The run's mutable loss scale."""
        if self.loss_scale == "dynamic":
            return DynamicLossScale()
        if self.loss_scale is not None:
            return StaticLossScale(self.loss_scale)
        # fp16 without a scale still skips and counts overflowed steps.
        return StaticLossScale(1.0) if self.name == "fp16" else NoLossScale()

    def arithmetic(self, device: torch.device | str) -> AbstractContextManager[None]:
        """Wraps forward AND backward: on a CPU in half the rehearsal, elsewhere nothing."""
        if self.name != "fp32" and torch.device(device).type == "cpu":
            return rehearsal()
        return nullcontext()

    @contextmanager
    def autocast(self, device: torch.device | str) -> Iterator[None]:
        """Wraps the forward pass: CUDA autocast's choice of dtypes, on a CPU as well."""
        with ExitStack() as stack:
            if self.name != "fp32":
                stack.enter_context(self.arithmetic(device))
                kind = torch.device(device).type
                if kind == "cpu" and not torch.is_autocast_enabled("cpu"):
                    stack.callback(forget_cast_weights)
                stack.enter_context(torch.autocast(kind, dtype=self.dtype))
            yield

    @contextmanager
    def inference(self, device: torch.device | str) -> Iterator[None]:
        """Wraps inference: no gradients, this precision's arithmetic and its autocast."""
        with torch.no_grad(), self.arithmetic(device), self.autocast(device):
            yield

    def keep_in_fp32(self, model: nn.Module) -> tuple[str, ...]:
        """Make islands of the modules that ``keep_fp32`` matches; returns their paths.

        Everything a matched module and those inside it compute is in fp32, whichever of their
        methods is called.

        Raises:
            ValueError: if a pattern matches no module; names the nearest path.
        """
        modules = dict(model.named_modules())
        chosen: dict[str, nn.Module] = {}
        for pattern in self.keep_fp32:
            matches = {
                path: m for path, m in modules.items() if path and fnmatchcase(path, pattern)
            }
            if not matches:
                near = difflib.get_close_matches(pattern, modules, n=1, cutoff=0.0)
                raise ValueError(
                    f"keep_fp32 pattern {pattern!r} matches no module; the nearest is {near[0]!r}"
                )
            chosen |= matches
        for module in {part for match in chosen.values() for part in match.modules()}:
            _make_island(module)
        return tuple(chosen)


def fp32_island(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: half tensors among the arguments are widened, and nothing inside is cast to half.

    Say the numerical reason beside it. Lists, tuples and keyword arguments are looked into.
    """

    @functools.wraps(function)
    def island(*args: P.args, **kwargs: P.kwargs) -> R:
        with ExitStack() as stack:
            for kind in _device_kinds():
                stack.enter_context(torch.autocast(kind, enabled=False))
            widened = [_widen(value) for value in args]
            return function(*widened, **{k: _widen(v) for k, v in kwargs.items()})

    return island


def _make_island(module: nn.Module) -> None:
    """Wrap every method that the module's own classes define, forward or not."""
    own = type(module).__mro__[: type(module).__mro__.index(nn.Module)]
    names = {name for cls in own for name, value in vars(cls).items() if callable(value)}
    for name in names:
        method = getattr(module, name)
        is_special = name.startswith("__") or name in ("train", "reset_parameters", "extra_repr")
        if inspect.ismethod(method) and not is_special and name not in vars(module):
            setattr(module, name, fp32_island(method))


@functools.cache
def _device_kinds() -> tuple[str, ...]:
    """The kinds of device a tensor may lie on here."""
    accelerator = torch.accelerator.current_accelerator()
    return ("cpu",) if accelerator is None else ("cpu", accelerator.type)


def _widen(value: Any) -> Any:
    """An island's argument in fp32, also what lies in lists and tuples."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in HALF else value
    if type(value) in (list, tuple):
        return type(value)(_widen(item) for item in value)
    return value
