"""A step of any model: the user's own loss, traced, then one step of all optimizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftrack.errors import UserError
from halftrack.precision import Culprit, Precision, StepReport, optimizer_step
from halftrack.precision.batches import sample_names
from halftrack.precision.losses import loss_terms
from halftrack.precision.traced_pass import TracedPass, first_culprit, norm_overflow
from halftrack.rehearsing.measured import MeasuredSteps, Why

__all__ = ["Step", "TrainedSteps", "device_of"]

Step = Callable[[Any, Any], Any]
"""Takes the model and a batch; returns a loss, a dict of losses or an output with ``.loss``."""


class TrainedSteps:
    """Training of any model with a trace that is kept on: a skipped step need not be run again.

    Args:
        step: the user's own.
        model: the model that it is given.
        optimizers: all of them take a step, or none.
        precision: of the steps.
        every: how often ranges are measured, as ``MeasuredSteps`` takes it.
        max_grad_norm: the norm that gradients are clipped to; None to leave them.
    """

    def __init__(
        self,
        step: Step,
        *,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        precision: Precision,
        every: int,
        max_grad_norm: float | None,
    ) -> None:
        self._step, self._model, self._optimizers = step, model, optimizers
        self._precision, self._max_grad_norm = precision, max_grad_norm
        self._device = device_of(model)
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._learned = [p for each in optimizers for g in each.param_groups for p in g["params"]]
        self._loss_scale = precision.new_loss_scale()
        self._bad = list[TracedPass]()
        self._gradients: dict[str, Tensor] = {}
        self.measured = MeasuredSteps(model, precision, every=every)

    def attempt(self, batches: Sequence[Any]) -> None:
        """Attempt a step on the mean loss of some batches.

        Raises:
            NonFiniteGradientError: for a gradient that no smaller loss scale can mend.
            LossRaisedError: for a loss that raised after something was not finite.
            UserError: for a loss without a gradient.
        """
        scale = self._loss_scale.value
        self.measured.attempt(
            loss_scale=scale,
            gradients=lambda: self._gradients_of(batches, scale),
            step=self._move,
            why=lambda: self._why(batches, scale),
        )

    def _gradients_of(self, batches: Sequence[Any], scale: float) -> dict[str, float]:
        # Entered once: each entry takes milliseconds, more than the step of a small model.
        with self._precision.arithmetic(self._device):
            return self._mean_losses(batches, scale)

    def _mean_losses(self, batches: Sequence[Any], scale: float) -> dict[str, float]:
        self._bad, means = [], dict[str, float]()
        aside: list[tuple[Tensor, Tensor]] = []
        for batch in batches:
            one = TracedPass(
                self._model,
                precision=self._precision,
                loss_scale=scale,
                device=self._device,
                learned=self._learned,
            )
            terms = one.forward(batch, lambda batch: self._shared(batch, len(batches)))
            if not any(term.requires_grad for term in terms.values()):
                raise UserError(
                    f"the loss ({', '.join(terms)}) has no gradient: was it computed within "
                    "torch.no_grad(), detached, or read out with .item()?"
                )
            if not one.backward():
                self._bad.append(one)
                aside += one.take_gradients()
            elif one.is_blind:
                self._bad.append(one)
            for name, term in terms.items():
                means[name] = means.get(name, 0.0) + float(term.detach())
        for parameter, gradient in aside:  # the step is skipped because of them
            parameter.grad = gradient if parameter.grad is None else gradient + parameter.grad
        return means | {"loss": sum(means.values())}

    def _shared(self, batch: Any, count: int) -> dict[str, Tensor]:
        """The loss terms of one of ``count`` batches that make a step."""
        terms = loss_terms(self._step(self._model, batch))
        if count == 1:
            return terms
        return {name: term / count for name, term in terms.items()}

    def _move(self) -> StepReport:
        learned = enumerate(self._learned)
        self._gradients = {
            self._names.get(id(p), f"parameter {place}"): p.grad
            for place, p in learned
            if p.grad is not None
        }
        return optimizer_step(self._optimizers, self._loss_scale, max_grad_norm=self._max_grad_norm)

    def _why(self, batches: Sequence[Any], scale: float) -> Why:
        samples = tuple(name for batch in batches for name in sample_names(batch))

        def of_norm() -> Culprit | None:
            # The step has divided them by the scale.
            found = norm_overflow(self._gradients, 1.0, samples)
            return found and replace(found, loss_scale=scale)

        culprit = first_culprit(self._bad, of_norm)
        self._bad, self._gradients = [], {}
        return (str(culprit) if culprit else "no cause found", culprit)


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's first tensor; the CPU if it has none."""
    first = next((tensor for tensor in (*model.parameters(), *model.buffers())), None)
    return torch.device("cpu") if first is None else first.device
