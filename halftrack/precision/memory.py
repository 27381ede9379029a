"""Live bytes of a training step, on any device: every tensor storage alive at once.

Counts what tensors hold; an allocator's slack and a library's workspace come on top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from halftrack.precision.dtypes import is_half
from halftrack.precision.sites import RunningModules
from halftrack.precision.tensor_cores import observing

__all__ = ["KINDS", "LiveBytes"]

KINDS = (
    *("parameters", "copies", "gradients", "optimizer"),
    *("cast weights", "activations", "temporaries"),
)
"""The kinds of live bytes; buffers count as parameters."""

_OF_MODULES = ("cast weights", "activations")

# Room that a process makes for the whole of the parameters of which it holds a piece.
_WHOLE = {
    torch.ops.aten.new_empty.default: "parameters",
    torch.ops.aten.new_zeros.default: "gradients",
}


class LiveBytes(TorchDispatchMode):
    """Memory meter around one training step; copies made inside one rehearsed op are not seen.

    ``peak`` is in bytes; ``peak_by_kind`` divides it by kind. Activations are the tensors that the
    forward pass made and the backward pass has not yet freed; temporaries are those that the
    backward pass and the step make. ``peak_by_module`` divides activations and cast weights by the
    path of the innermost module whose ``forward`` made them, ``""`` for the model's own::

        with LiveBytes(model, [optimizer]) as meter:
            model(batch).backward()
            optimizer.step()
        print(meter.peak, meter.peak_by_kind)

    Args:
        model: its parameters and buffers count from the start.
        optimizers: their state counts as optimizer; what they move counts as the model's.
        copies: what else is kept of the model from step to step, e.g. an average of its weights.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer] = (),
        *,
        copies: Sequence[Tensor] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._model, self._optimizers, self._copies = model, optimizers, copies
        self.peak = 0
        self.peak_by_kind: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.peak_by_module: dict[str, int] = {}
        self._alive: dict[int, tuple[StorageWeakRef, int, str, str]] = {}
        self._total = 0  # of what is alive, and of what died since the last sweep
        self._running = RunningModules(model)
        self._entered = ExitStack()
        self._parameters = {id(p): p for p in model.parameters()}
        self._gradients_like = {(p.shape, p.dtype) for p in model.parameters() if p.requires_grad}
        self._pieces: set[int] = set()
        self._backward_seen = False

    def __enter__(self) -> Self:
        for tensor in (*self._model.parameters(), *self._model.buffers()):
            self._add(tensor, "parameters")
        for tensor in self._moved():
            if tensor.untyped_storage()._cdata not in self._alive:
                self._pieces.add(tensor.untyped_storage()._cdata)
                self._add(tensor, "parameters")
        for parameter in (*self._model.parameters(), *self._moved()):
            for part in _held(parameter.grad):
                self._add(part, "gradients")
        for tensor in self._copies:
            self._add(tensor, "copies")
        for tensor in self._optimizer_state():
            self._add(tensor, "optimizer")
        self._meet_peak()
        self._entered.enter_context(self._running)
        self._entered.enter_context(observing(self.saw))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)  # type: ignore[no-untyped-call]
        self._entered.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.saw(func, args, result)
        return result

    def saw(self, func: Any, args: tuple[Any, ...], result: Any) -> None:
        """Count the result of one op."""
        fresh = False
        for tensor in tree_leaves(result):
            for part in _held(tensor):
                if part.untyped_storage()._cdata not in self._alive:
                    self._add(part, self._kind_of(func, args, part))
                    fresh = True
        if fresh:
            self._meet_peak()

    def _kind_of(self, func: Any, args: tuple[Any, ...], tensor: Tensor) -> str:
        if func in _WHOLE and any(map(self._is_piece, _held(args[0]))):
            return _WHOLE[func]
        if torch._C._current_graph_task_id() != -1:
            self._backward_seen = True
            is_gradient = (tensor.shape, tensor.dtype) in self._gradients_like
            return "gradients" if is_gradient else "temporaries"
        if self._backward_seen:
            return "temporaries"
        source = args[0] if args else None
        is_cast = func is torch.ops.aten._to_copy.default and is_half(tensor)
        return "cast weights" if is_cast and id(source) in self._parameters else "activations"

    def _is_piece(self, tensor: Tensor) -> bool:
        """True of what an optimizer moves that is no parameter of the model."""
        return tensor.untyped_storage()._cdata in self._pieces

    def _moved(self) -> Iterator[Tensor]:
        """The parameters that the optimizers move, or pieces of them."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                yield from group["params"]

    def _optimizer_state(self) -> Iterator[Tensor]:
        for optimizer in self._optimizers:
            for state in optimizer.state.values():
                yield from (value for value in state.values() if isinstance(value, Tensor))

    def _add(self, tensor: Tensor, kind: str) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._alive:
            path = self._running.innermost
            self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes(), kind, path)
            self._total += storage.nbytes()

    def _meet_peak(self) -> None:
        if self._total <= self.peak:
            return
        self._alive = {k: entry for k, entry in self._alive.items() if not entry[0].expired()}
        self._total = sum(size for _, size, _, _ in self._alive.values())
        if self._total > self.peak:
            self.peak = self._total
            self.peak_by_kind = dict.fromkeys(KINDS, 0)
            self.peak_by_module = {}
            for _, size, kind, path in self._alive.values():
                self.peak_by_kind[kind] += size
                if kind in _OF_MODULES:
                    self.peak_by_module[path] = self.peak_by_module.get(path, 0) + size


def _held(value: Any) -> Sequence[Tensor]:
    """The tensors that hold a tensor's memory: it, or the indices and values of a sparse one."""
    if not isinstance(value, Tensor):
        return ()
    if value.layout == torch.strided:
        return (value,)
    if value.layout == torch.sparse_coo:
        return (value._indices(), value._values())
    return ()  # of other layouts, opaque ones among them, nothing is known
