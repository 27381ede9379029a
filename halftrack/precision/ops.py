"""Ops as a dispatch mode sees them: names, tensors, what they overwrite, and finite results.

Asked at every op of a traced step, so each answer must cost less than a small op.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halftrack.precision.dtypes import is_plain

__all__ = ["Op", "dense", "is_finite", "op_of", "tensors_in"]

_BATCH_NORM = re.compile("^(native|cudnn|miopen)_batch_norm(_legit)?")
_UNWRITTEN = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
# The bits of infinity; those of NaN are greater.
_INFINITE = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80}
_FEW = 1 << 16  # elements of which a sum is as quick


@dataclass(frozen=True)
class Op:
    """Facts of an op that are the same at each call."""

    name: str
    """Common name, the same on every device: ``softmax`` for ``aten::_softmax``."""
    overwrites: tuple[str, ...]
    """Names of the arguments that it changes."""
    names: tuple[str, ...]
    """Names of all arguments."""
    makes_values: bool
    """False for views, and for memory that nobody has written to, which may hold NaN."""

    def before(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with copies of what the op will overwrite."""
        if not self.overwrites:
            return args, kwargs
        named = dict(zip(self.names, args, strict=False)) | kwargs
        overwritten = tensors_in(named.get(name) for name in self.overwrites)
        changed = {_memory(tensor) for tensor in overwritten}
        # Another argument may be the same tensor, or share its memory.
        return (
            tuple(_copy(value, changed) for value in args),
            {name: _copy(value, changed) for name, value in kwargs.items()},
        )


@cache
def op_of(func: Any) -> Op:
    """The facts of an overload, such as ``torch.ops.aten.mul.Tensor``."""
    arguments = func._schema.arguments
    name = func._schema.name.partition("::")[2].strip("_")
    # Some batch norms change their statistics and do not say so.
    statistics = ("running_mean", "running_var") if "batch_norm" in name else ()
    overwrites = [
        each.name
        for each in arguments
        if each.name in statistics or (each.alias_info is not None and each.alias_info.is_write)
    ]
    return Op(
        # Only as a cast can a copy make what was not there.
        name="cast" if name in ("to_copy", "copy") else _BATCH_NORM.sub("batch_norm", name),
        overwrites=tuple(overwrites),
        names=tuple(each.name for each in arguments),
        makes_values=not func.is_view and name not in _UNWRITTEN,
    )


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among an op's arguments or results, and in the lists among them, in order."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(value)
    return found


def dense(tensor: Tensor) -> Tensor:
    """A tensor, or the values that a nested one holds."""
    return tensor.values() if tensor.layout == torch.jagged else tensor


def is_finite(tensor: Tensor) -> bool:
    """True if a tensor holds neither NaN nor infinity (host sync), and if it has no values."""
    tensor = dense(tensor)
    if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_meta:
        return True
    with _unseen(tensor):
        infinite = _INFINITE.get(tensor.dtype)
        if infinite is None or tensor.numel() < _FEW or not (is_plain(tensor) and tensor.is_cpu):
            # One pass without a mask; only a sum that overflows asks for the second.
            return math.isfinite(tensor.detach().sum(dtype=torch.float32)) or bool(
                torch.isfinite(tensor).all()
            )
        # The greatest bits of either sign: less than half the time of a sum in fp32.
        bits = tensor.detach().view(torch.int16).numpy()
        return bool(bits.max() < infinite and bits.view(np.uint16).max() < 0x8000 + infinite)


def _copy(value: Any, changed: Collection[int]) -> Any:
    """A value with copies of the tensors in it whose memory changes."""
    if isinstance(value, list):
        return [_copy(each, changed) for each in value]
    if not isinstance(value, Tensor) or _memory(value) not in changed:
        return value
    with _unseen(value):
        return value.detach().clone()


def _memory(tensor: Tensor) -> int:
    """A number for the memory of a tensor; for that of a sparse one the tensor itself."""
    strided = tensor.layout == torch.strided
    return tensor.untyped_storage()._cdata if strided else id(tensor)


def _unseen(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which no mode sees what is computed: each would take longer than a small op."""
    # Tensors of other classes may compute by dispatching themselves.
    return torch._C._DisableTorchDispatch() if is_plain(tensor) else nullcontext()
