"""The module that an op belongs to, in the forward pass and in the backward pass.

Forward it is the running module, or the layer inside it whose own method computes with its weights.
Backward the running autograd node leads to the op that made it, by its sequence number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from halftrack.precision.hooks import Hook

__all__ = ["OUTERMOST", "ModuleSites", "RunningModules"]

OUTERMOST = "the model itself"
"""Name of the model in messages, in place of the path ""."""

Site = tuple[str, str]
"""Path of a module, "" for the outermost, and name of an op."""


class RunningModules:
    """Follows which modules' ``forward`` is running, by hooks that are there while it is entered.

    Args:
        model: the model to follow; paths are those of ``named_modules``.
        changed: called whenever the innermost running module changes.
    """

    def __init__(self, model: nn.Module, changed: Callable[[], None] = lambda: None) -> None:
        # Scripted ones take no hooks: what they compute counts as their caller's.
        self._modules = [
            (path, module)
            for path, module in model.named_modules()
            if not isinstance(module, torch.jit.ScriptModule)
        ]
        self._changed = changed
        self._paths: list[str] = []
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for path, module in self._modules:
            self._hooks.append(module.register_forward_pre_hook(Hook(partial(self._entered, path))))
            # Always: a recomputed forward pass ends in an exception.
            self._hooks.append(module.register_forward_hook(Hook(self._left), always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    def __bool__(self) -> bool:
        return bool(self._paths)

    @property
    def innermost(self) -> str:
        """Path of the innermost running module; "" for the outermost, and if none runs."""
        return self._paths[-1] if self._paths else ""

    def _entered(self, path: str, *_: object) -> None:
        self._paths.append(path)
        self._changed()

    def _left(self, *_: object) -> None:
        self._paths.pop()
        self._changed()


class ModuleSites:
    """Finds the module of an op, from within a dispatch mode, while it is entered.

    Args:
        model: the model to follow.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = {id(p): n.rpartition(".")[0] for n, p in model.named_parameters()}
        self._running = RunningModules(model, self._mark)
        self._made: dict[int, Site] = {}
        # The module that ran from an autograd node on, by the node's number.
        self._ran: dict[int, str] = {}
        self._owners: dict[int, tuple[StorageWeakRef, str]] = {}
        self._last: Site = ("", "")
        for path, module in model.named_modules():
            if not _computes_for_others(module):
                continue
            # Not parameters and buffers alone: a module may keep what it made of them.
            for held in tree_leaves(vars(module)):
                if isinstance(held, Tensor):
                    self._own(held, path)

    def __enter__(self) -> Self:
        self._running.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._running.__exit__(*details)

    @property
    def forward(self) -> bool:
        """True in the forward pass, also that of a module recomputed in the backward pass."""
        return bool(self._running) or torch._C._current_graph_task_id() == -1

    @property
    def running(self) -> str:
        """Path of the innermost running module."""
        return self._running.innermost

    def of_forward(self, name: str, inputs: Sequence[Tensor]) -> Site:
        """The site of an op in the forward pass."""
        module = self.running
        # A layer whose weights another module computes with, as a folded norm does, is named.
        owner = next((path for path in map(self._owner, inputs) if path is not None), None)
        if owner is not None and (not module or owner.startswith(f"{module}.")):
            module = owner
        # Recomputed in the backward pass too: a reentrant checkpoint's gradients go this way.
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
            # The node has its number before its op comes by; the first op after it is its own.
            # Without an input that learns an op has no node, and would take a custom function's.
            number = torch._C._autograd._get_sequence_nr() - 1
            self._made.setdefault(number, (module, name))
        return module, name

    def of_backward(self, name: str) -> Site:
        """The forward site of the op that the running autograd node belongs to."""
        name = name.removesuffix("_data").removesuffix("_backward")
        node = torch._C._current_autograd_node()
        if node is None:  # gradients of two consumers are added between nodes
            return self._last[0], name
        variable = getattr(node, "variable", None)
        if variable is not None:
            self._last = (self._parameters.get(id(variable), ""), name)
            return self._last
        number = node._sequence_nr()
        # Some nodes are made by no op of their own, as a custom function's: the op before is of
        # the same module, unless another one ran in between.
        nearest = max((known for known in self._made if known <= number), default=-1)
        module, operation = self._made.get(nearest, ("", name))
        since = max((known for known in self._ran if nearest < known <= number), default=-1)
        module = self._ran.get(since, module)
        self._last = (module, operation if nearest == number else name)
        return self._last

    def inherit(self, inputs: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Give results of weights alone, such as a cast or a folded norm, to the first of them."""
        first = self._owner(inputs[0]) if inputs else None
        if first is not None and all(self._owner(tensor) is not None for tensor in inputs):
            for tensor in results:
                self._own(tensor, first)

    def _mark(self) -> None:
        self._ran[torch._C._autograd._get_sequence_nr()] = self.running

    def _own(self, tensor: Tensor, path: str) -> None:
        if tensor.layout != torch.strided:
            return  # a sparse tensor has no storage
        storage = tensor.untyped_storage()
        # The weak reference keeps the address from being given to another storage.
        self._owners.setdefault(storage._cdata, (StorageWeakRef(storage), path))

    def _owner(self, tensor: Tensor) -> str | None:
        if tensor.layout != torch.strided:
            return None
        known = self._owners.get(tensor.untyped_storage()._cdata)
        return None if known is None else known[1]


def _computes_for_others(module: nn.Module) -> bool:
    """True if a module has methods besides ``forward`` for others to compute with its weights.

    Without them, others only read its weights, as attention those of its projection: an island of
    the module would change nothing, one of the reader does. A batch norm is read to be folded.
    """
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return True
    classes = [cls for cls in type(module).__mro__ if not cls.__module__.startswith("torch.")]
    methods = {name for cls in classes for name, value in vars(cls).items() if callable(value)}
    return any(name != "forward" and not name.startswith("__") for name in methods)
