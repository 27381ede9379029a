"""Gradient scalers of other people's loops, made to work on a CPU, and told on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol
from weakref import ref

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

__all__ = ["LoopEvents", "loop_told_to"]


class LoopEvents(Protocol):
    """Listener to a training loop."""

    def scaled(self, loss_scale: float) -> None:
        """A loss was scaled."""

    def learned_from(self, loss: float | None) -> None:
        """A backward pass begins, from a loss without its scale; None if it is not one number."""

    def learned(self) -> None:
        """A backward pass ended."""

    def moves(self, optimizer: Optimizer) -> None:
        """An optimizer is about to move the weights, without a scaler."""

    def ended(self, optimizer: Optimizer, *, loss_scale: float, skipped: bool) -> None:
        """An optimizer has moved the weights, or a scaler has skipped its step."""

    def idle_scaler(self) -> None:
        """A disabled scaler was asked to scale a loss."""


@contextmanager
def loop_told_to(listener: LoopEvents) -> Iterator[None]:
    """Tell a listener what the optimizers and scalers of this process do, inside the context.

    ``GradScaler()`` and ``GradScaler("cuda")`` made inside are enabled, as on a GPU: the class
    itself works on any device.
    """
    of = _Told(listener)
    with ExitStack() as stack:
        for owner, name, new in (
            (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
            (GradScaler, "scale", of.scale(GradScaler.scale)),
            (GradScaler, "step", of.step(GradScaler.step)),
            # Tensor.backward calls it too.
            (torch.autograd, "backward", of.backward(torch.autograd.backward)),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, new)
        stack.callback(register_optimizer_step_pre_hook(of.before).remove)
        stack.callback(register_optimizer_step_post_hook(of.after).remove)
        yield


class _Told:
    """Functions in the place of torch's, which call them and tell a listener."""

    def __init__(self, listener: LoopEvents) -> None:
        self._listener = listener
        self._in_scaler = self._moved = False
        self._scale = 1.0
        self._unscaled = list[_Scaled]()

    def scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def scale(scaler: Any, outputs: Any) -> Any:
            made = original(scaler, outputs)
            if not scaler.is_enabled():
                self._listener.idle_scaler()
                return made
            self._scale = scaler.get_scale()
            pairs = zip(_each(outputs), _each(made), strict=True)
            self._unscaled += [_Scaled(before, after) for before, after in pairs]
            self._listener.scaled(self._scale)
            return made

        return scale

    def backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            # A pass within another, such as a checkpoint's, is part of that one.
            if torch._C._current_graph_task_id() != -1:
                return original(tensors, *args, **kwargs)
            self._listener.learned_from(self._loss(tensors))
            result = original(tensors, *args, **kwargs)
            self._listener.learned()
            return result

        return backward

    def _loss(self, tensors: Any) -> float | None:
        """The sum of what a backward pass begins from, without its scale."""
        total, unscaled = _sum(tensors), self._unscaled_of(_each(tensors))
        if total is None:
            return None
        known = [loss for loss in unscaled if loss is not None]
        if not math.isfinite(total) and known and len(known) == len(unscaled):
            return sum(known)  # a half loss may overflow by its scale, which is no harm
        return total / (self._scale or 1.0)

    def _unscaled_of(self, tensors: Sequence[Any]) -> list[float | None]:
        """Take out the losses of these scaled ones; of a combination, all that are left."""
        own = [each for each in self._unscaled if each.is_one_of(tensors)]
        if len(own) < len(tensors):
            own = self._unscaled
        self._unscaled = [each for each in self._unscaled if each not in own]
        return [each.loss for each in own]

    def step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if not scaler.is_enabled():
                return original(scaler, optimizer, *args, **kwargs)
            self._in_scaler, self._moved = True, False
            try:
                result = original(scaler, optimizer, *args, **kwargs)
            finally:
                self._in_scaler = False
            self._unscaled.clear()  # of losses that nothing was learned from
            self._listener.ended(optimizer, loss_scale=scaler.get_scale(), skipped=not self._moved)
            return result

        return step

    def before(self, optimizer: Optimizer, *_: Any) -> None:
        # A fused optimizer is always called: its kernel skips the step where the scaler says so.
        found_inf = getattr(optimizer, "found_inf", None)
        self._moved = found_inf is None or not bool(found_inf)
        if not self._in_scaler:
            self._scale = 1.0
            self._listener.moves(optimizer)

    def after(self, optimizer: Optimizer, *_: Any) -> None:
        if not self._in_scaler:
            self._listener.ended(optimizer, loss_scale=1.0, skipped=False)


class _Scaled:
    """A loss that a scaler was given, and its result."""

    def __init__(self, loss: Any, result: Any) -> None:
        self.loss = _sum(loss)
        # A strong reference would keep the graph of a loss that nothing is learned from.
        self._result = ref(result) if isinstance(result, Tensor) else None

    def is_one_of(self, tensors: Sequence[Any]) -> bool:
        """True if the result is among these."""
        return self._result is not None and any(self._result() is each for each in tensors)


def _each(tensors: Any) -> Sequence[Any]:
    return tensors if isinstance(tensors, list | tuple) else (tensors,)


def _sum(tensors: Any) -> float | None:
    """The sum of losses; None if they are not single numbers."""
    losses = _each(tensors)
    if not all(isinstance(loss, Tensor) and loss.numel() == 1 for loss in losses):
        return None
    return sum(float(loss.detach()) for loss in losses)
