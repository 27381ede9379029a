"""Why a step was skipped: the step is run again and the first tensor that went wrong is named.

NaN and infinities spread within a few ops to every gradient; what helps depends on where the first
of them arose, on what it was made from, and on the loss scale.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from halftrack.precision.nonfinite import Direction, Event, Kind, NonFiniteTrace, is_finite
from halftrack.precision.policy import Precision
from halftrack.precision.sites import OUTERMOST
from halftrack.precision.step import unscale_and_norm

__all__ = ["Culprit", "find_culprit"]

_HANDED_IN = ("batch", "parameter", "buffer")
# Halfway between 65504, the largest finite half, and what would be the next: it rounds to infinity.
_HALF_LIMIT = 65520.0


class Sampled(Protocol):
    """A batch that names its samples."""

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of what is in the batch."""


BatchT = TypeVar("BatchT", bound=Sampled)


@dataclass(frozen=True, kw_only=True)
class Culprit:
    """The first non-finite tensor that a step's gradients descend from.

    Two are equal if they name the same thing; how large it was may differ from device to device.
    """

    where: str
    """Path of the module, as ``named_modules`` has it, or ``the model itself``; of a batch the
    field, of weights the parameter or buffer, of a norm the parameter that adds most to it."""
    operation: str
    """The op, by the name of its forward pass (``convolution``, ``softmax``, ``mul``, ``cast``);
    outside the graph ``batch``, ``target``, ``parameter``, ``buffer``, ``constant`` or ``norm``."""
    direction: Direction | None
    """``forward``, ``backward``, or None outside the graph."""
    kind: Kind
    """``overflow``: an infinity made of finite values; ``NaN``: made of finite values; ``0 x inf``:
    NaN made of a deliberate infinity, such as a mask; ``infinity``: handed in as such, or
    deliberate."""
    loss_term: str | None
    """Of a backward fault the term whose own backward pass gives it, of a forward fault the only
    term that suffers from it; None where there is no such term."""
    sample_ids: tuple[str, ...]
    """All samples of the batch."""
    bad_samples: tuple[str, ...]
    """Those that hold it, where the tensor's leading dimension is theirs; else empty."""
    dtype: str
    """Type of the tensor, e.g. ``float16``."""
    loss_scale: float
    """The scale the gradients were made with."""
    magnitude: float | None = field(compare=False)
    """Largest size the lost values have in the next wider type; None if they are lost there too."""
    fits_at: float | None = field(compare=False)
    """Largest power of two as loss scale at which it is finite; None where none helps."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Culprit:
        """What ``to_dict`` gave, read back from JSON."""
        lists = {name: tuple(values[name]) for name in ("sample_ids", "bad_samples")}
        return cls(**{**values, **lists})

    def __str__(self) -> str:
        samples = ", ".join(self.bad_samples)
        if self.operation == "target":
            return (
                f"the target of {samples} has no area or is not finite; no loss scale helps: mend "
                "its annotation, or leave it out"
            )
        if self.operation == "constant":
            return f"a constant in {self.where} held NaN"
        if self.operation in _HANDED_IN:
            held = "NaN" if self.kind == "NaN" else "an infinity"
            who = f" of {samples}" if samples and self.operation == "batch" else ""
            when = "" if self.operation == "batch" else " before the step"
            return f"{self.operation} {self.where}{who} held {held}{when}"
        of_samples = f"; samples: {samples}" if samples else ""
        if self.operation == "norm":
            return (
                f"the squares of all gradients add up to more than {self.dtype} holds, their norm "
                f"is {self._amount}; the largest gradient is that of {self.where}; no loss scale "
                "helps"
            )
        term = f" for {self.loss_term}" if self.loss_term else ""
        place = f"{self.direction} {self.operation} in {self.where}{term}"
        return f"{place} {self._fault}; {self._remedy}{of_samples}"

    @property
    def _amount(self) -> str:
        return "beyond measure" if self.magnitude is None else f"{self.magnitude:.3g}"

    @property
    def _fault(self) -> str:
        if self.kind == "NaN":
            return "made NaN of finite values"
        if self.kind == "infinity":
            return "passed a deliberate infinity on"
        if self.kind == "0 x inf":
            return "made NaN of an infinity (0 x inf or inf - inf)"
        if self.magnitude is None:
            return f"made an infinity that no wider type than {self.dtype} holds either"
        limit = torch.finfo(getattr(torch, self.dtype)).max
        return f"reached {self._amount}, {self.dtype} ends at {limit:.5g}"

    @property
    def _remedy(self) -> str:
        if self.fits_at is not None:
            return f"it fits at loss scale {self.fits_at:g} or less (was {self.loss_scale:g})"
        if self.kind != "overflow" or self.magnitude is None or self.dtype == "float32":
            return "no loss scale helps, nor does fp32: look at what it was given"
        if self.where == OUTERMOST:
            return "no loss scale helps; compute it within fp32_island"
        return f"no loss scale helps; keep {self.where} in fp32 (precision.keep_fp32)"


def find_culprit(
    model: nn.Module,
    batches: Sequence[BatchT],
    losses: Callable[[BatchT], Mapping[str, Tensor]],
    *,
    precision: Precision,
    loss_scale: float,
    device: torch.device | str,
) -> Culprit | None:
    """Run a step again and say why its gradients are not finite; None if now they are.

    The model is left as it was: buffers, gradients, random numbers. It costs a few steps' time.

    Args:
        model: as it was before the step, on its device and in its mode.
        batches: of the step, in order; their gradients add up.
        losses: the forward pass of one batch, its random seed set: the loss terms, whose sum is
            trained (divided by the number of batches, where they are averaged).
        precision: what the step computed in.
        loss_scale: the scale it used.
        device: where it computed.
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
    """One batch of a step under a trace, run forward once and backward as often as needed."""

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
        """Note what is handed in and run the forward pass."""
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
        """Run the backward pass on top of the gradients there are, and look at what they become."""
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
        """What non-finite gradients of these terms, and the terms, descend from.

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
        """The loss term that alone gives this event; backward the one where it is largest."""
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
    """Every tensor in a batch, the field it lies in, and the sample, where a part names one."""
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
    """Finite gradients whose sum of squares overflows fp32, as ``optimizer_step`` adds them up."""
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
    """Buffers, gradients and random numbers come back, whatever happens inside."""
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
