"""Calls of a model, or of a part of it, from a loop outside: the inputs given and the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from halftrack.precision.hooks import Hook

__all__ = ["OuterCalls"]


class OuterCalls:
    """Tells of what a loop gives a model and gets back, while it is entered.

    Many loops never call the model itself but its parts, as Lightning's do, or a GAN's. A call
    within another, and one that is computed again in the backward pass, is not told of.

    Args:
        model: the model.
        given: called with all inputs, by position or name, before the call.
        returned: called with the output.
    """

    def __init__(
        self,
        model: nn.Module,
        given: Callable[[dict[Any, Any]], object],
        returned: Callable[[Any], object],
    ) -> None:
        self._model, self._given, self._returned = model, given, returned
        self._depth = 0
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for module in self._model.modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks
            before, after = Hook(self._before), Hook(self._after)
            self._hooks.append(module.register_forward_pre_hook(before, with_kwargs=True))
            self._hooks.append(module.register_forward_hook(after, always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._depth += 1
        if self._is_told:
            self._given({**dict(enumerate(args)), **kwargs})

    def _after(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        if self._is_told:
            self._returned(output)
        self._depth -= 1

    @property
    def _is_told(self) -> bool:
        return self._depth == 1 and torch._C._current_graph_task_id() == -1
