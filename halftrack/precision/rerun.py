"""Search for the cause of a skipped step: it is run again under a trace."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from halftrack.precision.culprit import Culprit
from halftrack.precision.nonfinite import Event, NonFiniteTrace, is_finite
from halftrack.precision.policy import Precision
from halftrack.precision.sites import OUTERMOST
from halftrack.precision.step import unscale_and_norm

__all__ = ["find_culprit"]

# Halfway between 65504, the largest finite half, and what would be the next: it rounds to infinity.
_HALF_LIMIT = 65520.0


class Sampled(Protocol):
    """A batch that names its samples."""

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of the batch's samples."""


BatchT = TypeVar("BatchT", bound=Sampled)


def find_culprit(
    model: nn.Module,
    batches: Sequence[BatchT],
    losses: Callable[[BatchT], Mapping[str, Tensor]],
    *,
    precision: Precision,
    loss_scale: float,
    device: torch.device | str,
) -> Culprit | None:
    """Run a skipped step again and find why its gradients are not finite.

    The model is left as it was: buffers, gradients, random numbers. It costs a few steps' time::

        report = optimizer_step([optimizer], loss_scale)
        if report.skipped:
            at = {"precision": precision, "loss_scale": report.loss_scale, "device": device}
            print(find_culprit(model, [batch], lambda batch: {"loss": model(batch)}, **at))

    Args:
        model: as it was before the step, on its device and in its mode.
        batches: the step's batches, in order; their gradients add up.
        losses: computes one batch's loss terms, whose sum is trained (divided by the number of
            batches where they are averaged). It sets the random seed first, if it needs one.
        precision: the step's precision.
        loss_scale: the step's loss scale.
        device: the device that the model is on.

    Returns:
        The culprit, or None if the gradients are finite this time.
    """
    device = torch.device(device)
    with _left_as_it_was(model, device):
        for batch in batches:
            rerun = _Rerun(model, batch.sample_ids, precision, loss_scale, device)
            rerun.forward(batch, losses)
            found = rerun.culprit()
            if found is not None:
                return _of_targets(found, batch)
        return _norm_overflow(model, loss_scale, batches)


def _of_targets(found: Culprit, batch: Sampled) -> Culprit:
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


class _Rerun:
    """A traced batch of a step, run forward once and backward as often as needed."""

    def __init__(
        self,
        model: nn.Module,
        sample_ids: tuple[str, ...],
        precision: Precision,
        loss_scale: float,
        device: torch.device,
    ) -> None:
        self._model, self._sample_ids = model, tuple(sample_ids)
        self._precision, self._loss_scale, self._device = precision, loss_scale, device
        self._trace = NonFiniteTrace(model, sample_ids)
        self._terms: Mapping[str, Tensor] = {}

    def forward(self, batch: BatchT, losses: Callable[[BatchT], Mapping[str, Tensor]]) -> None:
        """Record non-finite inputs and weights, and run the forward pass."""
        for name, tensor, sample in _tensors(batch):
            samples = None if sample is None else (sample,)
            self._trace.hand_in(tensor, name, "batch", samples=samples)
        for name, parameter in self._model.named_parameters():
            self._trace.hand_in(parameter, name, "parameter", samples=())
        for name, buffer in self._model.named_buffers():
            self._trace.hand_in(buffer, name, "buffer", samples=())
        precision, device = self._precision, self._device
        with precision.arithmetic(device), self._trace, precision.autocast(device):
            self._terms = losses(batch)

    def culprit(self) -> Culprit | None:
        """Run the backward pass, adding to the present gradients, and find the first fault."""
        event = self._backward(list(self._terms.values()))
        if event is None:
            return None
        magnitude = event.magnitude if event.kind == "overflow" else None
        fits_at = None
        if event.direction == "backward" and magnitude:
            limit = _HALF_LIMIT if event.dtype == torch.float16 else torch.finfo(event.dtype).max
            # Gradients grow with the scale: the largest power of two that stays below the limit.
            fits_at = 2.0 ** (math.ceil(math.log2(limit / magnitude * self._loss_scale)) - 1)
        return Culprit(
            where=event.module or OUTERMOST,
            operation=event.operation,
            direction=event.direction,
            kind=event.kind,
            loss_term=self._blamed_term(event),
            sample_ids=self._sample_ids,
            bad_samples=event.samples,
            dtype=str(event.dtype).removeprefix("torch."),
            loss_scale=self._loss_scale,
            magnitude=magnitude,
            fits_at=fits_at,
        )

    def _backward(self, terms: Sequence[Tensor]) -> Event | None:
        """The event that non-finite gradients of these loss terms, or the terms, descend from.

        A loss may be infinite and its gradient finite: such a step is taken.
        """
        learned = [term for term in terms if term.requires_grad]
        seeds = [torch.full_like(term, self._loss_scale) for term in learned]
        if learned:
            with self._precision.arithmetic(self._device), self._trace:
                # Kept for the passes of each term alone.
                torch.autograd.backward(learned, seeds, retain_graph=True)
        gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
        if all(is_finite(gradient) for gradient in gradients):
            return None
        return self._trace.origin([*gradients, *terms])

    def _blamed_term(self, event: Event) -> str | None:
        """The only loss term with this event; in the backward pass the one where it is largest."""
        guilty: dict[str, float] = {}
        for name, term in self._terms.items():
            if event.direction != "backward" and not is_finite(term):
                own = self._trace.origin([term])
            else:
                self._model.zero_grad(set_to_none=True)
                own = self._backward([term])
            if own is not None and _same_place(own, event):
                guilty[name] = math.inf if own.magnitude is None else own.magnitude
        if event.direction == "backward":
            return max(guilty, key=guilty.__getitem__, default=None)
        return next(iter(guilty)) if len(guilty) == 1 else None


def _same_place(one: Event, other: Event) -> bool:
    if other.direction != "backward":
        return one is other
    place = (other.module, other.operation, other.direction, other.kind)
    return (one.module, one.operation, one.direction, one.kind) == place


def _tensors(
    value: Any, name: str = "", sample: str | None = None
) -> Iterator[tuple[str, Tensor, str | None]]:
    """Every tensor in a batch with its field and, where the batch names one, its sample."""
    if isinstance(value, Tensor):
        yield name, value, sample
    elif dataclasses.is_dataclass(value):
        sample = getattr(value, "sample_id", sample)
        for part in dataclasses.fields(value):
            inner = f"{name}.{part.name}" if name else part.name
            yield from _tensors(getattr(value, part.name), inner, sample)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{name}[{key!r}]", sample)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _tensors(item, f"{name}[{index}]", sample)


def _norm_overflow(
    model: nn.Module, loss_scale: float, batches: Sequence[Sampled]
) -> Culprit | None:
    """The culprit if finite gradients overflow fp32 in the norm that ``optimizer_step`` takes."""
    named = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    if math.isfinite(unscale_and_norm(list(named.values()), loss_scale)):
        return None
    norms = {name: float(gradient.double().norm()) for name, gradient in named.items()}
    return Culprit(
        where=max(norms, key=norms.__getitem__),
        operation="norm",
        direction=None,
        kind="overflow",
        loss_term=None,
        sample_ids=tuple(name for batch in batches for name in batch.sample_ids),
        bad_samples=(),
        dtype="float32",
        loss_scale=loss_scale,
        magnitude=math.hypot(*norms.values()),
        fits_at=None,
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
