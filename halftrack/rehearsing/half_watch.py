"""A watch over the forward pass: is every half tensor that it makes finite?"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from halftrack.precision.ops import is_finite, op_of

__all__ = ["ForwardOverflowError", "HalfWatch"]

# A score may have been added to it.
_MASKED = 0.99 * torch.finfo(torch.float32).min


class ForwardOverflowError(Exception):
    """A half tensor of the forward pass is not finite."""


class HalfWatch(TorchDispatchMode):
    """Ends a forward pass at the first op that makes a half tensor that is not finite.

    An infinity need not reach a loss to do harm: a box at infinity is a proposal that is dropped.
    One that was meant is let through: an infinite constant, such as a mask is filled with, fp32's
    smallest number, which masks are filled with too, and what is computed from them. To be entered
    within ``precision.arithmetic``.

    Raises:
        ForwardOverflowError: out of the forward pass, at that op.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        is_forward = torch._C._current_graph_task_id() == -1
        if not is_forward or not op_of(func).makes_values:
            return func(*args, **(kwargs or {}))
        changes = func._schema.is_mutable
        # What is overwritten must be looked at as it was; all else only where something is wrong.
        meant = changes and _is_given_infinity(args, kwargs)
        result = func(*args, **(kwargs or {}))
        written = args if result is None else result  # ops on lists, in place
        finite = all(is_finite(value) for value in tree_leaves(written) if _is_half(value))
        if finite or meant or (not changes and _is_given_infinity(args, kwargs)):
            return result
        raise ForwardOverflowError


def _is_given_infinity(args: Any, kwargs: Any) -> bool:
    """True if an op is given a tensor or a number that is not finite in half on purpose."""
    return any(
        _has_infinity(value)
        for value in tree_leaves((args, kwargs))
        if isinstance(value, Tensor | float)
    )


def _has_infinity(value: Tensor | float) -> bool:
    if not isinstance(value, Tensor):
        return not math.isfinite(value) or value < _MASKED
    masks = value.dtype == torch.float32 and value.layout == torch.strided
    return not is_finite(value) or (masks and bool((value < _MASKED).any()))


def _is_half(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float16
