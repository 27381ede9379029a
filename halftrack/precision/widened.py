"""An op computed again in a wider type: how large would the value be that it lost?"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from halftrack.precision.dtypes import HALF
from halftrack.precision.ops import dense, tensors_in

__all__ = ["Widened"]


class Widened:
    """An op that can be computed again with more range.

    Args:
        func: the op.
        args: its arguments, as they were before it.
        kwargs: those that were given by name.
        place: the place of the result that is asked for, among the op's results that are tensors.
    """

    def __init__(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, place: int
    ) -> None:
        self._func, self._args, self._kwargs, self._place = func, args, kwargs, place

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among its arguments."""
        return tensors_in((*self._args, *self._kwargs.values()))

    @property
    def is_of_constants(self) -> bool:
        """True if it is given no floating-point tensor, or a number that is not finite."""
        numbers = tree_leaves((self._args, self._kwargs))
        return not any(tensor.is_floating_point() for tensor in self.tensors) or any(
            isinstance(value, float) and not math.isfinite(value) for value in numbers
        )

    def magnitude(self, lost: Tensor) -> float | None:
        """Largest lost value in the next wider type; None if it is lost there too."""
        if torch.Tag.nondeterministic_seeded in self._func.tags:
            return None  # computing it again would move the random numbers of the step
        wide = torch.float32 if lost.dtype in HALF else torch.float64
        widen = partial(_widened, wide=wide)
        args, kwargs = tree_map(widen, self._args), tree_map(widen, self._kwargs)
        try:
            with torch.no_grad(), torch.autocast(lost.device.type, enabled=False):
                again = dense(tensors_in((self._func(*args, **kwargs),))[self._place])
        except (RuntimeError, TypeError):
            return None  # not every op has every type on every device
        largest = float(again[~lost.isfinite()].abs().max())
        return largest if math.isfinite(largest) else None


def _widened(value: Any, wide: torch.dtype) -> Any:
    if isinstance(value, torch.dtype):
        return wide if value.is_floating_point else value
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            return value
        return value.clone() if value.dtype == wide else value.to(wide)  # nested: no copy=True
    return value
