"""Half precision's two types, and the step from them to fp32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor

__all__ = ["HALF", "call_in_fp32", "is_half", "widen"]

R = TypeVar("R")

HALF = (torch.float16, torch.bfloat16)
"""The types that count as half precision."""

_accelerator = torch.accelerator.current_accelerator()
_DEVICE_KINDS = ("cpu",) if _accelerator is None else ("cpu", _accelerator.type)


def is_half(value: Any) -> TypeGuard[Tensor]:
    """True if a value is a tensor in half precision."""
    return isinstance(value, Tensor) and value.dtype in HALF


def widen(value: Any) -> Any:
    """A half tensor in fp32; any other value as it is."""
    return value.float() if is_half(value) else value


def call_in_fp32(function: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any]) -> R:
    """Call a function without autocast; half arguments are widened, in lists and tuples too."""
    widened = [_widen_all(value) for value in args]
    named = {name: _widen_all(value) for name, value in kwargs.items()}
    return _without_autocast(_DEVICE_KINDS, lambda: function(*widened, **named))


def _widen_all(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(_widen_all(item) for item in value)
    return widen(value)


# An ExitStack of contexts would be shorter, but torch.compile cannot read it.
def _without_autocast(kinds: Sequence[str], compute: Callable[[], R]) -> R:
    if not kinds:
        return compute()
    with torch.autocast(kinds[0], enabled=False):
        return _without_autocast(kinds[1:], compute)
