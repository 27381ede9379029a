"""Tensors with a shape and a dtype but no values, for a training step that takes no memory.

Counting live bytes needs no more: whether a step fits into a GPU is known before it is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["ShapesOnly"]


class ShapesOnly(TorchDispatchMode):
    """Computes shapes alone while it is entered: results of tensors without values have none.

    Where the size of a result depends on values, the largest is taken: ``nonzero``,
    ``count_nonzero`` and masks find everything, non-maximum suppression keeps every box. A float
    that is read out is 1, so that a step's gradients are finite. Ops on ordinary tensors are
    computed as usual::

        shapes = ShapesOnly()
        with shapes.making():
            large = torch.nn.Linear(10**6, 10**6)
        with shapes:
            print(large(shapes.forget(torch.ones(2, 10**6))).shape)  # torch.Size([2, 1000000])

    Raises:
        RuntimeError: if an op needs other values; names the op.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tensors = FakeTensorMode(allow_non_fake_inputs=True)

    def making(self) -> AbstractContextManager[object]:
        """A context in which every new tensor is without values: a model is built in no memory."""
        return self._tensors

    def forget(self, tensor: Tensor) -> Tensor:
        """A tensor of the same shape and dtype without the values."""
        return self._tensors.from_tensor(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        answer = _ANSWERS.get(func.name())
        if answer is not None and any(issubclass(kind, FakeTensor) for kind in types):
            return answer(func, *args)
        try:
            return func(*args, **(kwargs or {}))
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise _unknown(func) from error


def _unknown(func: Any) -> RuntimeError:
    return RuntimeError(f"{func} needs values of a tensor of which only shape and dtype are known")


def _all_of(func: Any, mask: Tensor) -> Tensor:
    """The indices that ``nonzero`` gives for a tensor without a zero."""
    return mask.new_empty((mask.numel(), mask.dim()), dtype=torch.int64)


def _all_counted(func: Any, mask: Tensor, dim: int | None = None) -> Tensor:
    """A count along a dimension, with its values, of a tensor without a zero."""
    if dim is None:
        return torch.tensor(mask.numel(), device=mask.device)
    rest = [size for place, size in enumerate(mask.shape) if place != dim % mask.dim()]
    return torch.full(rest, mask.shape[dim], device=mask.device)


def _all_boxes(func: Any, boxes: Tensor, *_: Any) -> Tensor:
    return boxes.new_empty((len(boxes),), dtype=torch.int64)


def _indexed(func: Any, tensor: Tensor, indices: list[Tensor | None]) -> Any:
    """Indexing, with each mask of d dimensions replaced by the d indices that it stands for."""
    explicit: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype == torch.bool:
            explicit += _all_of(func, index).unbind(1)
        else:
            explicit.append(index)
    return func(tensor, explicit)


def _one(func: Any, tensor: Tensor) -> float:
    if not tensor.is_floating_point():
        raise _unknown(func)
    return 1.0


_ANSWERS: dict[str, Callable[..., Any]] = {
    "aten::nonzero": _all_of,
    "aten::count_nonzero": _all_counted,
    "aten::index.Tensor": _indexed,
    "aten::_local_scalar_dense": _one,
    "torchvision::nms": _all_boxes,
}
