"""One batch's forward and backward pass under a trace, which names the cause of a skipped step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from halftrack.precision.batches import named_tensors, sample_names
from halftrack.precision.culprit import Culprit, of_targets
from halftrack.precision.dtypes import FP16_OVERFLOWS, widen
from halftrack.precision.losses import loss_terms
from halftrack.precision.nonfinite import Event, NonFiniteTrace
from halftrack.precision.ops import is_finite
from halftrack.precision.policy import Precision
from halftrack.precision.sites import OUTERMOST
from halftrack.precision.step import unscale_and_norm

__all__ = [
    "LossRaisedError",
    "TracedPass",
    "culprit_of",
    "first_culprit",
    "fitting_scale",
    "hand_in_batch",
    "hand_in_weights",
    "norm_overflow",
]

_LEAST_SCALE = 2.0**-24


class LossRaisedError(Exception):
    """A loss that could not be computed because of a non-finite tensor; its cause is the reason."""

    def __init__(self, culprit: Culprit) -> None:
        super().__init__(str(culprit))
        self.culprit = culprit


class TracedPass:
    """A traced batch of a step, run forward once and backward as often as needed.

    Args:
        model: on the device and in its mode.
        precision: of the step.
        loss_scale: the step's loss scale.
        device: the device that the model is on.
        learned: the parameters that learn; the model's own if left out.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        precision: Precision,
        loss_scale: float,
        device: torch.device,
        learned: Iterable[Tensor] | None = None,
    ) -> None:
        self._model, self._precision = model, precision
        self._loss_scale, self._device = loss_scale, device
        self._learned = list(model.parameters() if learned is None else learned)
        self._event: Event | None = None
        self.batch: Any = None
        self.terms: Mapping[str, Tensor] = {}

    def forward(self, batch: Any, losses: Callable[[Any], Any]) -> Mapping[str, Tensor]:
        """Record non-finite inputs and weights, run the forward pass and return the loss terms.

        Raises:
            LossRaisedError: from the exception that computing the losses ended with, if a
                non-finite tensor came before it.
        """
        self.batch, self._sample_ids = batch, sample_names(batch)
        self._trace = NonFiniteTrace(self._model, self._sample_ids)
        hand_in_batch(self._trace, batch)
        hand_in_weights(self._trace, self._model)
        precision, device = self._precision, self._device
        try:
            with precision.arithmetic(device), self._trace, precision.autocast(device):
                self.terms = loss_terms(losses(batch))
        except Exception as error:
            event = self._trace.latest()
            if event is None:
                raise
            raised = f"{type(error).__name__}: {error}"
            raise LossRaisedError(self._told(event, raised=raised)) from error
        return self.terms

    def backward(self) -> bool:
        """Run the backward pass, which adds to the present gradients; True if they are finite."""
        self._event = self._backward(list(self.terms.values()), self._loss_scale)
        return self._event is None

    @property
    def is_blind(self) -> bool:
        """True if the gradients are finite and the loss is not: a step is taken all the same."""
        return self._event is None and not all(map(is_finite, self.terms.values()))

    def culprit(self) -> Culprit | None:
        """The first fault, found by further backward passes; None if gradients and loss are finite.

        The gradients are left as they are.
        """
        event = self._event or self._trace.origin(self.terms.values())
        if event is None:
            return None
        with _gradients_put_back(self._parameters()):
            own = fitting_scale(event, self._loss_scale)
            fits_at = None if own is None else self._largest_scale(own)
            found = self._told(event, loss_term=self._blamed_term(event), fits_at=fits_at)
        return of_targets(found, self.batch)

    def largest_scale(self, start: float) -> float | None:
        """The largest loss scale up to ``start`` at which the gradients are finite, by octaves.

        None if no scale makes them so. The gradients are left as they are.
        """
        with _gradients_put_back(self._parameters()):
            return self._largest_scale(start)

    def take_gradients(self) -> list[tuple[Tensor, Tensor]]:
        """Remove the present gradients and return them, each behind its parameter.

        A pass adds to what is there: after a faulty one the next would seem faulty too.
        """
        taken = [(p, p.grad) for p in self._parameters() if p.grad is not None]
        for parameter, _ in taken:
            parameter.grad = None
        return taken

    def _parameters(self) -> list[Tensor]:
        others = {id(parameter) for parameter in self._learned}
        return [*self._learned, *(p for p in self._model.parameters() if id(p) not in others)]

    def _largest_scale(self, start: float) -> float | None:
        # Behind the first tensor that overflows all others are lost: each pass shows the next.
        scale: float | None = start
        while scale is not None and scale >= _LEAST_SCALE:
            self.take_gradients()
            event = self._backward(list(self.terms.values()), scale)
            if event is None:
                return scale
            own = fitting_scale(event, scale)
            scale = None if own is None else min(own, scale / 2)
        return None

    def _told(self, event: Event, **fields: Any) -> Culprit:
        return culprit_of(event, self._sample_ids, self._loss_scale, **fields)

    def _backward(self, terms: Sequence[Tensor], loss_scale: float) -> Event | None:
        """The event that non-finite gradients of these loss terms, or the terms, descend from.

        A loss may be infinite and its gradient finite: such a step is taken.
        """
        learned = [term for term in terms if term.requires_grad]
        if learned:
            with self._precision.arithmetic(self._device), self._trace:
                # As a scaler does: where a loss is half, its gradient is cast, and may overflow.
                learned = [widen(term) for term in learned]
                seeds = [torch.full_like(term, loss_scale) for term in learned]
                # Kept for the passes of each term alone.
                torch.autograd.backward(learned, seeds, retain_graph=True)
        gradients = [p.grad for p in self._learned if p.grad is not None]
        if all(is_finite(gradient) for gradient in gradients):
            return None
        return self._trace.origin([*gradients, *terms])

    def _blamed_term(self, event: Event) -> str | None:
        """The only loss term with this event; in the backward pass the one where it is largest."""
        guilty: dict[str, float] = {}
        for name, term in self.terms.items():
            if event.direction != "backward" and not is_finite(term):
                own = self._trace.origin([term])
            else:
                self.take_gradients()
                own = self._backward([term], self._loss_scale)
            if own is not None and _same_place(own, event):
                guilty[name] = math.inf if own.magnitude is None else own.magnitude
        if event.direction == "backward":
            return max(guilty, key=guilty.__getitem__, default=None)
        return next(iter(guilty)) if len(guilty) == 1 else None


def hand_in_batch(trace: NonFiniteTrace, batch: Any, name: str = "") -> None:
    """Record what a batch holds, of any type, under this name before those of its fields."""
    for field, tensor, sample in named_tensors(batch, name):
        trace.hand_in(tensor, field, "batch", samples=None if sample is None else (sample,))


def hand_in_weights(trace: NonFiniteTrace, model: nn.Module) -> None:
    """Record a model's parameters and buffers."""
    for name, parameter in model.named_parameters():
        trace.hand_in(parameter, name, "parameter", samples=())
    for name, buffer in model.named_buffers():
        trace.hand_in(buffer, name, "buffer", samples=())


def first_culprit(
    passes: Sequence[TracedPass], otherwise: Callable[[], Culprit | None]
) -> Culprit | None:
    """The culprit of a step: of its gradients, else another one, else of a loss.

    Args:
        passes: those of the step whose gradients or loss are not finite, in order.
        otherwise: finds the culprit where each gradient is finite, as ``norm_overflow`` does;
            called only there, for it may cost as much as the step.
    """
    blind = [each for each in passes if each.is_blind]
    faulty = [each for each in passes if not each.is_blind]
    return _of_all(faulty) or otherwise() or _of_all(blind)


def _of_all(passes: Sequence[TracedPass]) -> Culprit | None:
    """The culprit of the first of some passes with one, at the scale that all of them fit."""
    found: Culprit | None = None
    for each in passes:
        if found is None:
            found = each.culprit()
        elif found.fits_at is not None:
            found = replace(found, fits_at=each.largest_scale(found.fits_at))
    return found


def culprit_of(
    event: Event,
    sample_ids: tuple[str, ...],
    loss_scale: float,
    *,
    loss_term: str | None = None,
    fits_at: float | None = None,
    fits_whole_step: bool = True,
    raised: str | None = None,
) -> Culprit:
    """The culprit that an event of a trace is told as."""
    return Culprit(
        where=event.module or OUTERMOST,
        operation=event.operation,
        direction=event.direction,
        kind=event.kind,
        loss_term=loss_term,
        sample_ids=sample_ids,
        bad_samples=event.samples,
        dtype=str(event.dtype).removeprefix("torch."),
        loss_scale=loss_scale,
        magnitude=event.magnitude if event.kind == "overflow" else None,
        fits_at=fits_at,
        fits_whole_step=fits_whole_step,
        raised=raised,
    )


def fitting_scale(event: Event, loss_scale: float) -> float | None:
    """Largest power of two at which what overflowed at this scale does not, or None."""
    if event.direction != "backward" or event.kind != "overflow" or not event.magnitude:
        return None
    limit = FP16_OVERFLOWS if event.dtype == torch.float16 else torch.finfo(event.dtype).max
    # Gradients grow with the scale: the largest power of two that stays below the limit.
    return float(2.0 ** (math.ceil(math.log2(limit / event.magnitude * loss_scale)) - 1))


def norm_overflow(
    gradients: Mapping[str, Tensor], loss_scale: float, sample_ids: tuple[str, ...]
) -> Culprit | None:
    """The culprit if finite gradients overflow fp32 in the norm that ``optimizer_step`` takes.

    Args:
        gradients: by the parameter's name; divided by the scale in place.
        loss_scale: the step's loss scale.
        sample_ids: names of the step's samples.
    """
    if math.isfinite(unscale_and_norm(list(gradients.values()), loss_scale)):
        return None
    norms = {name: float(_double(gradient).norm()) for name, gradient in gradients.items()}
    return Culprit(
        where=max(norms, key=norms.__getitem__),
        operation="norm",
        direction=None,
        kind="overflow",
        loss_term=None,
        sample_ids=sample_ids,
        bad_samples=(),
        dtype="float32",
        loss_scale=loss_scale,
        magnitude=math.hypot(*norms.values()),
        fits_at=None,
    )


def _double(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float64))  # complex ones stay complex


def _same_place(one: Event, other: Event) -> bool:
    if other.direction != "backward":
        return one is other
    place = (other.module, other.operation, other.direction, other.kind)
    return (one.module, one.operation, one.direction, one.kind) == place


@contextmanager
def _gradients_put_back(parameters: Sequence[Tensor]) -> Iterator[None]:
    kept = [parameter.grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient
