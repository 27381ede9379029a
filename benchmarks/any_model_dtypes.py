"""Dtypes of a model's modules in a rehearsed pass, and on a GPU that answers as that pass did.

PyTorch's own CUDA autocast decides the GPU's, on fake tensors, which have a dtype, a shape and no
values. What a model reads from values, such as how many boxes are left, is noted in the rehearsed
pass and given to the other in the same order.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from any_model_cases import Case
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.precision import Precision
from halftrack.rehearsing.gpu_dtypes import Dtypes, dtypes_by_module, note_dtypes

__all__ = ["dtypes_of_both"]

SIZED = ("aten::nonzero", "torchvision::nms")
READ = ("aten::_local_scalar_dense", "aten::equal")
MASKED = "aten::index.Tensor"
GRU_CELL = "aten::_thnn_fused_gru_cell"

Answer = tuple[str, Any]


def dtypes_of_both(
    model: nn.Module, case: Case, batch: Any, precision: Precision
) -> tuple[Dtypes, Dtypes]:
    """The dtypes of each module's results, by path: rehearsed, and on a GPU."""
    step = case.compared or case.step
    noted, copied = Noted(), copy.deepcopy(model)  # some keep what they read in their first pass
    rehearsed = note_dtypes(copied)
    with precision.arithmetic("cpu"), precision.autocast("cpu"), noted:
        step(copied, batch)

    answered = Answered(noted.answers)

    def same(model: nn.Module, batch: Any) -> Any:
        with answered:
            return step(model, batch)

    on_gpu = case.twin().train() if case.twin else model
    # With cuDNN a recurrent layer asks the driver for the GPU's properties; without, PyTorch's own
    # cells are taken.
    with torch.backends.cudnn.flags(enabled=False):
        gpu = dtypes_by_module(same, batch, model=on_gpu, precision=precision, device="cuda")
    answered.end()
    scripted = [p for p, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    return rehearsed, {path: gpu[path] for path in gpu if path not in scripted}


class Noted(TorchDispatchMode):
    """Notes what each op that depends on values answered: a number, or how many."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Answer] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result, name = func(*args, **(kwargs or {})), func.name()
        if name in SIZED:
            self.answers.append((name, len(result)))
        elif name in READ:
            self.answers.append((name, result))
        elif name == MASKED:
            counts = [int(i.sum()) for i in args[1] if i is not None and i.dtype == torch.bool]
            self.answers.append((name, counts))
        return result


class Answered(TorchDispatchMode):
    """Gives the noted answers in their order, and raises where another op asks."""

    def __init__(self, answers: list[Answer]) -> None:
        super().__init__()
        self._answers: Iterator[Answer] = iter(answers)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.name()
        if name == GRU_CELL:  # it alone has no shapes for fake tensors
            hidden = args[2]
            return torch.empty_like(hidden), hidden.new_empty(len(hidden), 5 * hidden.shape[1])
        if name in (*SIZED, *READ, MASKED):
            noted, answer = next(self._answers, ("nothing", None))
            if noted != name:
                raise RuntimeError(f"{name} was asked where the rehearsed pass asked {noted}")
            if name in READ:
                return answer
            if name == MASKED:
                return func(args[0], explicit(args[1], answer))
            like = (answer, args[0].dim()) if name == "aten::nonzero" else (answer,)
            return args[0].new_empty(like, dtype=torch.int64)
        return func(*args, **(kwargs or {}))

    def end(self) -> None:
        """Raise where the rehearsed pass asked more."""
        if more := list(self._answers):
            raise RuntimeError(f"the rehearsed pass asked {more[0][0]} and {len(more) - 1} more")


def explicit(indices: list[Tensor | None], counts: list[int]) -> list[Tensor | None]:
    """Indices with each mask of d dimensions replaced by the d that it stands for."""
    made: list[Tensor | None] = []
    left = iter(counts)
    for index in indices:
        if index is not None and index.dtype == torch.bool:
            count = next(left)
            made += [index.new_empty((count,), dtype=torch.int64) for _ in range(index.dim())]
        else:
            made.append(index)
    return made
