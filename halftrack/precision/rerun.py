"""Search for the cause of a step that is not finite: it is run again under a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from halftrack.precision.batches import sample_names
from halftrack.precision.culprit import Culprit
from halftrack.precision.policy import Precision
from halftrack.precision.traced_pass import (
    LossRaisedError,
    TracedPass,
    first_culprit,
    norm_overflow,
)

__all__ = ["find_culprit"]

BatchT = TypeVar("BatchT")


def find_culprit(
    model: nn.Module,
    batches: Sequence[BatchT],
    losses: Callable[[BatchT], Any],
    *,
    precision: Precision,
    loss_scale: float,
    device: torch.device | str,
    parameters: Iterable[Tensor] | None = None,
) -> Culprit | None:
    """Run a step again and find why its gradients, or its loss, are not finite.

    The model is left as it was: buffers, gradients, random numbers. It costs a few steps' time::

        report = optimizer_step([optimizer], loss_scale)
        if report.skipped:
            at = {"precision": precision, "loss_scale": report.loss_scale, "device": device}
            print(find_culprit(model, [batch], lambda batch: model(batch), **at))

    Args:
        model: as it was before the step, on its device and in its mode.
        batches: the step's batches, of any type, in order; their gradients add up. Samples are
            named by a batch's ``sample_ids``, or by their position.
        losses: computes the loss of one batch, or its terms, as ``loss_terms`` takes them (divided
            by the number of batches where they are averaged). It sets the random seed first, if it
            needs one.
        precision: the step's precision.
        loss_scale: the step's loss scale.
        device: the device that the model is on.
        parameters: those whose gradients decide whether the step is skipped, which are the
            optimizers'; all of the model's if left out.

    Returns:
        The culprit, or None if gradients and losses are finite this time. Of finite gradients and
        a loss that is not, as of a step that was taken, it is the loss's. If computing a loss ends
        with an exception after a tensor was not finite, it is the ``raised`` of the culprit.
    """
    device, bad = torch.device(device), list[TracedPass]()
    learned = list(model.parameters() if parameters is None else parameters)
    with _left_as_it_was(model, device):
        for batch in batches:
            again = TracedPass(
                model, precision=precision, loss_scale=loss_scale, device=device, learned=learned
            )
            try:
                again.forward(batch, losses)
            except LossRaisedError as error:
                raised = error.culprit
                return first_culprit(bad, lambda: raised)  # noqa: B023 - called before the next
            if not again.backward():
                bad.append(again)
                again.take_gradients()
            elif again.is_blind:
                bad.append(again)
        deciding = {id(parameter) for parameter in learned}
        named = {
            name: parameter.grad
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and id(parameter) in deciding
        }
        samples = tuple(name for batch in batches for name in sample_names(batch))
        return first_culprit(bad, lambda: norm_overflow(named, loss_scale, samples))


@contextmanager
def _left_as_it_was(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Restores buffers, gradients and random numbers at the end, after an error too."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    model.zero_grad(set_to_none=True)
    accelerated = device.type != "cpu"
    try:
        with torch.random.fork_rng(
            devices=[device] if accelerated else [],
            device_type=device.type if accelerated else "cuda",
        ):
            yield
    finally:
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)
        for parameter, gradient in gradients:
            parameter.grad = gradient
