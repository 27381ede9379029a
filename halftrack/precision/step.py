"""The one right order of an optimizer step, and a report of what it did.

Unscale once, look for non-finite values over ALL optimizers, clip, step or skip all, adjust the
scale.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from halftrack.precision.dtypes import is_half, widen
from halftrack.precision.errors import PrecisionError
from halftrack.precision.loss_scale import LossScale, scale_words

__all__ = ["FusedSGD", "NonFiniteGradientError", "StepReport", "optimizer_step", "unscale_and_norm"]


class NonFiniteGradientError(RuntimeError):
    """A non-finite gradient that skipping the step and lowering the loss scale cannot mend."""

    parameter: str | None = None
    """Name of the first parameter whose gradient it is; None if each gradient is finite."""


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """Result of one attempted step."""

    skipped: bool
    """True if no optimizer moved."""
    found_inf: bool
    """True if a gradient was not finite."""
    grad_norm: float
    """L2 norm of the unscaled gradients over all optimizers, before clipping."""
    loss_scale: float
    """Loss scale that the step's gradients were computed with."""
    consecutive_skips: int
    """Skipped steps in a row, this one included."""


def optimizer_step(
    optimizers: Sequence[Optimizer],
    loss_scale: LossScale,
    *,
    max_grad_norm: float | None = None,
    max_consecutive_skips: int = 50,
    agree: Callable[[float], float] = float,
) -> StepReport:
    """Step every optimizer or none, adjust the loss scale and clear the gradients.

    It unscales, clips and updates by itself, after the backward pass::

        loss_scale.scale(loss).backward()
        report = optimizer_step([optimizer], loss_scale, max_grad_norm=35.0)
        if not report.skipped:
            schedule.step()

    A forward pass moves the statistics of batch norms before anyone knows that the step is skipped;
    ``halftrack.training.learner.BatchStatistics`` puts them back.

    Args:
        optimizers: all that share the loss. If they are built from named parameters, errors name
            the bad gradient.
        loss_scale: the loss scale of the backward pass.
        max_grad_norm: clip the unscaled gradients to this norm; None to leave them.
        max_consecutive_skips: skips in a row after which the run is stopped.
        agree: of the gradients' norm here, the one that all processes take which share the step.

    Raises:
        PrecisionError: before anything is unscaled, if an optimizer's step asks for a closure.
        NonFiniteGradientError: in all but fp16 at once; in fp16 if the scale can go no lower or
            too many steps in a row were skipped. Names the first non-finite gradient.
    """
    _refuse_closures(optimizers)
    gradients = [gradient for _, gradient in _gradients(optimizers)]
    norm = agree(unscale_and_norm(gradients, loss_scale.value))
    # A sum of finite squares can overflow fp32 too: such a step could not be clipped, and counts as
    # overflowed.
    found_inf = not math.isfinite(norm)
    used_scale = loss_scale.value
    if found_inf:
        _stop_if_hopeless(optimizers, loss_scale, max_consecutive_skips)
    else:
        if max_grad_norm is not None and norm > max_grad_norm:
            torch._foreach_mul_(gradients, max_grad_norm / (norm + 1e-6))
        for optimizer in optimizers:
            optimizer.step()
    loss_scale.update(found_inf=found_inf)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    return StepReport(
        skipped=found_inf,
        found_inf=found_inf,
        grad_norm=norm,
        loss_scale=used_scale,
        consecutive_skips=loss_scale.consecutive_skips,
    )


class FusedSGD(SGD):
    """SGD that moves all parameters of a group in one kernel, which a plain loop does not.

    The kernel reads memory as it lies and expects of every gradient and momentum that they lie as
    their parameter does; on a CPU it does not look.
    """

    def step(self, closure: Any = None) -> Any:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._lay_out(parameter, momentum=group["momentum"])
        return super().step(closure)

    def _lay_out(self, parameter: Tensor, *, momentum: float) -> None:
        if parameter.grad is not None and parameter.grad.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)
        if not momentum:
            return
        buffer = self.state[parameter].get("momentum_buffer")
        if buffer is None:
            # The kernel starts all buffers or none, but parameters thaw during a run; from 0 the
            # first step is the same.
            self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        elif buffer.stride() != parameter.stride():  # of a run in another memory format
            self.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(buffer)

    def load_state_dict(self, state_dict: Any) -> None:
        """Continue where ``state_dict`` was taken, by a plain SGD too."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["fused"] = True


def unscale_and_norm(gradients: list[Tensor], scale: float) -> float:
    """Divide the gradients by the scale in place; returns their norm (the step's one host sync)."""
    if not gradients:
        return 0.0
    if scale != 1.0:
        torch._foreach_mul_(gradients, 1.0 / scale)
    # Squares of half gradients, of a model that is half itself, pass 65504 soon.
    if all(map(is_half, gradients)):
        norms = torch._foreach_norm(gradients, dtype=torch.float32)
    else:  # one dtype would not do beside fp64 or complex gradients
        norms = torch._foreach_norm(list(map(widen, gradients)))
    device = gradients[0].device
    return float(torch.linalg.vector_norm(torch.stack([norm.to(device) for norm in norms])))


def _refuse_closures(optimizers: Sequence[Optimizer]) -> None:
    for number, optimizer in enumerate(optimizers):
        if _asks_for_closure(type(optimizer).step):
            raise PrecisionError(
                f"optimizer {number} ({type(optimizer).__name__}) computes the loss again within "
                "its step, from a closure, where no loss scale can follow: train with it in fp32 "
                "and call its own step, or take one whose step needs no closure, such as AdamW"
            )


@functools.cache
def _asks_for_closure(step: Callable[..., Any]) -> bool:
    closure = inspect.signature(step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _gradients(optimizers: Sequence[Optimizer]) -> Iterator[tuple[str, Tensor]]:
    """Name and gradient of each parameter that has one; of a sparse gradient, its values."""
    for number, optimizer in enumerate(optimizers):
        for group_number, group in enumerate(optimizer.param_groups):
            names = group.get("param_names")
            for position, parameter in enumerate(group["params"]):
                gradient = parameter.grad
                if gradient is None:
                    continue
                if gradient.is_sparse:
                    # A row may stand there several times: the norm is that of their sums.
                    parameter.grad = gradient.coalesce()
                    gradient = parameter.grad._values()
                place = f"optimizer {number}, group {group_number}, parameter {position}"
                yield names[position] if names else place, gradient


def _stop_if_hopeless(
    optimizers: Sequence[Optimizer], loss_scale: LossScale, max_consecutive_skips: int
) -> None:
    skips = loss_scale.consecutive_skips + 1
    if loss_scale.skips_steps and not loss_scale.exhausted and skips < max_consecutive_skips:
        return
    if not loss_scale.skips_steps:
        reason = "without a loss scale there is nothing to lower"
    elif loss_scale.exhausted:
        reason = f"the loss scale is {scale_words(loss_scale.value)} and can go no lower"
    else:
        reason = (
            f"{skips} steps in a row were skipped at loss scale {scale_words(loss_scale.value)}"
        )
    name, found = _first_bad(optimizers)
    error = NonFiniteGradientError(
        f"{found}; {reason}. Look for NaN in the losses or inputs, lower the "
        "learning rate, or keep the module in fp32 (precision.keep_fp32)."
    )
    error.parameter = name
    raise error


def _first_bad(optimizers: Sequence[Optimizer]) -> tuple[str | None, str]:
    for name, gradient in _gradients(optimizers):
        if not bool(torch.isfinite(gradient).all()):
            kind = "NaN" if bool(torch.isnan(gradient).any()) else "infinity"
            return name, f"the gradient of {name} holds {kind}"
    return None, "the norm of all gradients overflows fp32, though each is finite"
