"""Half precision's two types, and the step from them to fp32."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor

__all__ = ["HALF", "is_half", "widen"]

HALF = (torch.float16, torch.bfloat16)
"""The types that count as half precision."""


def is_half(value: Any) -> TypeGuard[Tensor]:
    """True if a value is a tensor in half precision."""
    return isinstance(value, Tensor) and value.dtype in HALF


def widen(value: Any) -> Any:
    """A half tensor in fp32; any other value as it is."""
    return value.float() if is_half(value) else value
