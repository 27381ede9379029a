"""Half precision's two types, and the step from them to fp32."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["FP16_OVERFLOWS", "HALF", "call_in_fp32", "is_half", "is_plain", "widen"]

R = TypeVar("R")

HALF = (torch.float16, torch.bfloat16)
"""The types that count as half precision."""
FP16_OVERFLOWS = 65520.0
"""The least magnitude that fp16 rounds to infinity: halfway from its largest number, 65504, to what
would be the next."""

_PLAIN = (Tensor, nn.Parameter)
_accelerator = torch.accelerator.current_accelerator()
_DEVICE_KINDS = ("cpu",) if _accelerator is None else ("cpu", _accelerator.type)


def is_half(value: Any) -> TypeGuard[Tensor]:
    """True if a value is a tensor in half precision."""
    return isinstance(value, Tensor) and value.dtype in HALF


def is_plain(tensor: Tensor) -> bool:
    """True for an ordinary tensor: those of other classes may hold no memory of their own."""
    return type(tensor) in _PLAIN


def widen(value: Any) -> Any:
    """A half tensor in fp32; any other value as it is."""
    return value.float() if is_half(value) else value


def call_in_fp32(function: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any]) -> R:
    """Call a function without autocast; half arguments are widened, in containers too.

    Containers are lists, tuples, mappings and dataclasses; what is widened is put into copies.
    """
    widened = [_widen_all(value) for value in args]
    named = {name: _widen_all(value) for name, value in kwargs.items()}
    return _without_autocast(_DEVICE_KINDS, lambda: function(*widened, **named))


def _widen_all(value: Any) -> Any:
    if isinstance(value, Tensor):
        return widen(value)
    kind = type(value)
    if kind in (list, tuple):
        return kind(_widen_all(item) for item in value)
    if isinstance(value, tuple) and hasattr(kind, "_make"):
        return kind._make(_widen_all(item) for item in value)
    if isinstance(value, MutableMapping):
        return _changed_copy(value, value.items(), kind.__setitem__)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
        return _changed_copy(value, parts, object.__setattr__)
    return value


def _changed_copy(
    value: Any, items: Iterable[tuple[Any, Any]], put: Callable[[Any, Any, Any], object]
) -> Any:
    """A copy with the items that widening changes; the value itself if it changes none."""
    widened = [(key, item, _widen_all(item)) for key, item in items]
    changed = [(key, new) for key, old, new in widened if new is not old]
    result = copy.copy(value) if changed else value
    for key, new in changed:
        put(result, key, new)
    return result


# An ExitStack of contexts would be shorter, but torch.compile cannot read it.
def _without_autocast(kinds: Sequence[str], compute: Callable[[], R]) -> R:
    if not kinds:
        return compute()
    with torch.autocast(kinds[0], enabled=False):
        return _without_autocast(kinds[1:], compute)
