"""Search for the cause of a skipped step: it is run again under a trace."""

from __future__ import annotations

import dataclasses
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
    """Run a skipped step again and find why its gradients are not finite.

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
        The culprit, or None if the gradients are finite this time. If computing a loss ends with an
        exception after a tensor was not finite, it is the ``raised`` of the culprit.
    """
    device, faulty = torch.device(device), list[TracedPass]()
    learned = list(model.parameters() if parameters is None else parameters)
    with _left_as_it_was(model, device):
        for batch in batches:
            again = TracedPass(
                model, precision=precision, loss_scale=loss_scale, device=device, learned=learned
            )
            try:
                again.forward(batch, losses)
            except LossRaisedError as error:
                return first_culprit(faulty) or error.culprit
            if not again.backward():
                faulty.append(again)
                again.take_gradients()
        found = first_culprit(faulty)
        if found is not None:
            return _of_targets(found, faulty[0].batch)
        deciding = {id(parameter) for parameter in learned}
        named = {
            name: parameter.grad
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and id(parameter) in deciding
        }
        samples = tuple(name for batch in batches for name in sample_names(batch))
        return norm_overflow(named, loss_scale, samples)


def _of_targets(found: Culprit, batch: Any) -> Culprit:
    """The culprit, or the batch's targets where it knows that some cannot be learned.

    ``faulty_targets()`` of a batch names samples whose box has no area or is not finite: the
    logarithm of its size is not finite, wherever a loss takes it.
    """
    faulty: Callable[[], tuple[str, ...]] | None = getattr(batch, "faulty_targets", None)
    samples = faulty() if faulty is not None else ()
    too_large = found.kind == "overflow" and found.magnitude is not None
    if not samples or too_large or found.operation in ("parameter", "buffer", "norm"):
        return found
    return dataclasses.replace(
        found, operation="target", direction=None, kind="NaN", bad_samples=samples, fits_at=None
    )


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
