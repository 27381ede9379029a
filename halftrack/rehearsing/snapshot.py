"""State of a model and its optimizers, kept so that it can be put back."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from halftrack.errors import UserError

__all__ = ["Snapshot", "learned_by", "random_numbers_kept"]


class Snapshot:
    """Weights, buffers, gradients, modes and classes of modules, optimizers, random numbers.

    What a model keeps elsewhere, such as a memory bank in a plain attribute, is not among them.

    Args:
        model: the model; nothing of it is copied but its parameters and buffers.
        optimizers: those that move it.

    Raises:
        UserError: if a lazy module has no weights yet.
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
        if lazy:
            raise UserError(
                f"{lazy[0]} of {type(model).__name__} has no shape yet: run the model on a batch "
                "first, as lazy modules want it, and make the optimizer after that"
            )
        self._modules = [
            (module, type(module), module.training, dict(module._parameters), dict(module._buffers))
            for module in model.modules()
        ]
        tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
        tensors |= {id(parameter): parameter for parameter in learned_by(optimizers)}
        self._tensors = [
            (tensor, tensor.detach().clone(), tensor.requires_grad, _copy(tensor.grad), tensor.grad)
            for tensor in tensors.values()
        ]
        self._optimizers = [
            (
                optimizer,
                {parameter: _copy(state) for parameter, state in optimizer.state.items()},
                [dict(group) for group in optimizer.param_groups],
            )
            for optimizer in optimizers
        ]
        self._random = _random_numbers()

    @torch.no_grad()
    def put_back(self) -> None:
        """Make everything what it was; can be called again and again."""
        for module, kind, training, parameters, buffers in self._modules:
            module.__class__ = kind  # of a module that became an fp32 island
            module.training = training
            if isinstance(module, torch.jit.ScriptModule):
                continue  # what it holds is fixed; its values are among the tensors
            module._parameters.clear()
            module._parameters.update(parameters)
            module._buffers.clear()
            module._buffers.update(buffers)
        for tensor, values, requires_grad, gradient, held in self._tensors:
            tensor.copy_(values)
            tensor.requires_grad_(requires_grad)
            if held is not None:
                held.copy_(gradient)
            tensor.grad = held
        for optimizer, states, groups in self._optimizers:
            optimizer.state.clear()
            optimizer.state.update({parameter: _copy(state) for parameter, state in states.items()})
            for group, settings in zip(optimizer.param_groups, groups, strict=True):
                group.clear()
                group.update(settings)
        _put_back_random_numbers(self._random)


def learned_by(optimizers: Iterable[Optimizer]) -> list[Tensor]:
    """The parameters that optimizers move, in their order."""
    return [p for each in optimizers for group in each.param_groups for p in group["params"]]


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Put the random numbers of torch, Python and numpy back at the end."""
    state = _random_numbers()
    try:
        yield
    finally:
        _put_back_random_numbers(state)


def _random_numbers() -> tuple[Tensor, Any, Any]:
    return torch.get_rng_state(), random.getstate(), numpy.random.get_state()


def _put_back_random_numbers(state: tuple[Tensor, Any, Any]) -> None:
    torchs, pythons, numpys = state
    torch.set_rng_state(torchs)
    random.setstate(pythons)
    numpy.random.set_state(numpys)


def _copy(value: Any) -> Any:
    """A copy of an optimizer's state; its tensors are cloned, none by deepcopy's rules."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(item) for item in value)
    return copy.deepcopy(value)
