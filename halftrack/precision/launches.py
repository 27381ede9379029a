"""Kernels and waits of a training step, counted without a GPU: exactly, and the same every time.

A GPU computes while the host launches ahead. Where a step has many small kernels, or the host must
know a value before it can go on, the GPU stands still, and half precision cannot shorten the step.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Launches", "PartOfStep"]

_VALUES_DECIDE = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
_INDEXING = ("aten::index.Tensor", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
_NO_WORK = ("aten::empty", "aten::new_empty", "aten::_unsafe_view", "profiler::")
_PACKAGES = Path(torch.__file__).parents[1]
_NOT_OURS = tuple(
    str(path)
    for path in (_PACKAGES / "torch", _PACKAGES / "torchvision", Path(contextlib.__file__).parent)
)


@dataclass
class PartOfStep:
    """Work that the host gave out in one part of a step."""

    kernels: int = 0
    """Ops below autograd that compute something; a fused or ``_foreach`` one counts once."""
    copies: int = 0
    """Copies between host and device. On a CPU only lists of numbers that became tensors are seen,
    which a GPU would be sent."""
    waits: Counter[str] = field(default_factory=Counter)
    """Reads of values that the host had to know before it could go on, by file and line."""


class Launches(TorchDispatchMode):
    """Counter of kernels, waits and copies around one training step, on any device.

    What comes before the backward pass counts as ``forward``, what follows it as ``step``::

        with Launches() as launches:
            loss_scale.scale(model(batch)).backward()
            optimizer_step([optimizer], loss_scale)
        print(launches.kernels, launches.waits)

    Views and allocations launch nothing and are not counted. On a CPU the waits are those that a
    GPU would have, but for copies from the host.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.forward, self.backward, self.step = PartOfStep(), PartOfStep(), PartOfStep()
        self._lists = _ListReads(self)
        self._backward_seen = False

    def __enter__(self) -> Self:
        self._lists.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)  # type: ignore[no-untyped-call]
        self._lists.__exit__(*details)  # type: ignore[no-untyped-call]

    @property
    def parts(self) -> tuple[PartOfStep, PartOfStep, PartOfStep]:
        """Forward pass, backward pass and step."""
        return self.forward, self.backward, self.step

    @property
    def kernels(self) -> int:
        """Kernels of all parts."""
        return sum(part.kernels for part in self.parts)

    @property
    def waits(self) -> int:
        """Waits of all parts."""
        return sum(part.waits.total() for part in self.parts)

    @property
    def copies(self) -> int:
        """Copies of all parts."""
        return sum(part.copies for part in self.parts)

    def waited(self) -> None:
        """Count a wait at the line that is running."""
        self._part().waits[_line_outside_torch()] += 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        part, name = self._part(), func.name()
        if not func.is_view and not name.startswith(_NO_WORK):
            part.kernels += 1
        copied = _copies(name, args, result)
        part.copies += copied
        if _reads(func, name, args) or (copied and _is_waited_for(name, args, kwargs, result)):
            self.waited()
        return result

    def _part(self) -> PartOfStep:
        if torch._C._current_graph_task_id() != -1:
            self._backward_seen = True
            return self.backward
        return self.step if self._backward_seen else self.forward


class _ListReads(TorchFunctionMode):
    """Sees ``tolist``, which reads a tensor on a CPU without an op."""

    def __init__(self, launches: Launches) -> None:
        super().__init__()
        self._launches = launches

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.tolist and args[0].is_cpu:
            self._launches.waited()
        return func(*args, **(kwargs or {}))


def _reads(func: Any, name: str, args: tuple[Any, ...]) -> bool:
    """Whether values decide the result's size, or are the result."""
    if name in _INDEXING:
        return any(index is not None and index.dtype == torch.bool for index in args[1])
    return name == "torchvision::nms" or any(tag in func.tags for tag in _VALUES_DECIDE)


def _copies(name: str, args: tuple[Any, ...], result: Any) -> bool:
    """Whether an op copies a list to a device, or a tensor to one of another kind."""
    if name in ("aten::copy_", "aten::_to_copy"):
        source = args[1] if name == "aten::copy_" else args[0]
        return bool(source.device.type != result.device.type)
    return name == "aten::lift_fresh"


def _is_waited_for(name: str, args: tuple[Any, ...], kwargs: Any, result: Any) -> bool:
    if name == "aten::lift_fresh":
        return not result.is_cpu
    return not ((kwargs or {}).get("non_blocking") or args[2:] == (True,))


def _line_outside_torch() -> str:
    """File and line of the innermost code beside this file, torch's and the standard library's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and not file.startswith(_NOT_OURS):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "torch"
