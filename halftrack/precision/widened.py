"""An op computed again in a wider type: how large would the value be that it lost?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_unflatten

from halftrack.precision.dtypes import HALF

__all__ = ["Widened"]


class Widened:
    """An op that can be computed again with more range.

    Args:
        func: the op.
        flat: the leaves of its arguments, as they were before it.
        structure: their structure, as ``tree_flatten`` gives it.
        place: the place of the result that is asked for, among the op's results.
    """

    def __init__(self, func: Any, flat: Sequence[Any], structure: Any, place: int) -> None:
        self._func, self._flat, self._structure, self._place = func, flat, structure, place

    def magnitude(self, lost: Tensor) -> float | None:
        """Largest lost value in the next wider type; None if it is lost there too."""
        if torch.Tag.nondeterministic_seeded in self._func.tags:
            return None  # computing it again would move the random numbers of the step
        wide = torch.float32 if lost.dtype in HALF else torch.float64
        args, kwargs = tree_unflatten([self._widen(v, wide) for v in self._flat], self._structure)
        try:
            with torch.no_grad(), torch.autocast(lost.device.type, enabled=False):
                again = tree_leaves(self._func(*args, **kwargs))[self._place]
        except (RuntimeError, TypeError):
            return None  # not every op has every type on every device
        largest = float(again[~lost.isfinite()].abs().max())
        return largest if math.isfinite(largest) else None

    @staticmethod
    def _widen(value: Any, wide: torch.dtype) -> Any:
        if isinstance(value, torch.dtype):
            return wide if value.is_floating_point else value
        if isinstance(value, Tensor):
            return value.to(wide, copy=True) if value.is_floating_point() else value
        return value
