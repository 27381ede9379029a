"""Watch over a training loop of the user's own, in the arithmetic of a GPU."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftrack.errors import UserError
from halftrack.precision import Culprit, Precision, RangeMeter
from halftrack.precision.batches import named_tensors
from halftrack.precision.nonfinite import NonFiniteTrace, is_finite
from halftrack.precision.traced_pass import culprit_of, fitting_scale
from halftrack.rehearsing.any_model import rehearsed_precision
from halftrack.rehearsing.findings import RehearsedStep
from halftrack.rehearsing.measured import MeasuredSteps
from halftrack.rehearsing.report import Report
from halftrack.rehearsing.scalers import loop_told_to
from halftrack.rehearsing.snapshot import learned_by
from halftrack.rehearsing.trained_step import device_of

__all__ = ["Watch", "watching"]

_NO_MEMORY = "Not known of a loop of one's own: halftrack.plan(step, batch, ...) predicts it."
_IDLE = (
    "a GradScaler is disabled, as one made outside halftrack.watching is on a CPU: make it inside"
)
_watched: list[Watch] = []


def watching(model: nn.Module, *, precision: Precision | str = "fp16", every: int = 10) -> Watch:
    """Watch a training loop of your own, with its autocast and GradScaler, on a CPU.

    Every optimizer step inside is a step of the report::

        with halftrack.watching(model) as watch:
            scaler = torch.amp.GradScaler("cpu")  # or "cuda": inside it works on a CPU too
            for images, labels in loader:
                with torch.autocast("cpu", dtype=torch.float16):
                    loss = criterion(model(images), labels)
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
        print(watch.report)

    Half products, forward and backward, are computed as a GPU computes them; autocast is the
    loop's own. Steps of several optimizers without a backward pass between them are one step. The
    model is trained: nothing is put back. ``fits_at`` of a culprit is the scale that its own tensor
    fits; the step may need a smaller one.

    Args:
        model: the model whose modules are named.
        precision: of the loop, for the words of the report; ``tf32`` rehearses that.
        every: the first step's ranges are measured, and those of each that comes so many steps
            after the last that was measured and taken.

    Raises:
        UserError: for fp32, for an ``every`` below 1, and on entering within another one.
    """
    return Watch(model, rehearsed_precision(precision), every=every)


class Watch:
    """A loop that is watched, and from the first step on its ``report``."""

    def __init__(self, model: nn.Module, precision: Precision, *, every: int) -> None:
        self._model, self._precision = model, precision
        self._device = device_of(model)
        self._measured = MeasuredSteps(model, precision, every=every)
        self._loop, self._step = ExitStack(), ExitStack()
        self._trace = self._trace_before = NonFiniteTrace(model, ())
        self._meter: RangeMeter | None = None
        self._passed, self._losses = False, list[float | None]()
        self._loss_scale = 1.0
        self._bad: Culprit | None = None
        self._notes: dict[str, None] = {}
        self._stopped: str | None = None
        self._error: Exception | None = None
        self._start = time.perf_counter()
        self._end: float | None = None

    @property
    def report(self) -> Report:
        """The findings so far."""
        return Report(
            name=type(self._model).__name__,
            precision=self._precision,
            planned_steps=len(self._measured.steps),
            no_memory=_NO_MEMORY,
            notes=tuple(self._notes),
            steps=tuple(self._measured.steps),
            sampled=tuple(self._measured.sampled),
            ranges=self._measured.ranges,
            fits_whole_steps=False,
            stopped=self._stopped,
            error=self._error,
            seconds=(self._end or time.perf_counter()) - self._start,
        )

    def __enter__(self) -> Self:
        if _watched:
            raise UserError("a loop is watched already: leave halftrack.watching first")
        _watched.append(self)
        self._loop.callback(_watched.remove, self)
        self._loop.enter_context(loop_told_to(self))
        self._begin()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._end = time.perf_counter()
        event = self._trace.latest()
        self._step.close()
        self._loop.close()
        if isinstance(error, Exception) and event is not None:
            self._error = error
            raised = f"{type(error).__name__}: {error}"
            culprit = culprit_of(event, (), self._loss_scale, raised=raised)
            self._measured.keep(RehearsedStep.without_loss(culprit, self._loss_scale), None)
            self._stopped = f"the loop raised {raised}"

    def scaled(self, loss_scale: float) -> None:
        """A loss was scaled: the gradients that follow are of this scale."""
        # A torch scaler that met only NaN comes down to 0, at which nothing is learned.
        self._loss_scale = loss_scale or 1.0
        if self._meter is not None:
            self._meter.scale_by(self._loss_scale)

    def learned_from(self, loss: float | None) -> None:
        """A backward pass begins."""
        self._passed = True
        self._losses.append(loss)

    def moves(self, optimizer: Optimizer) -> None:
        """An optimizer moves the weights whatever its gradients are."""
        self._bad = self._culprit(optimizer)
        if self._bad is not None:
            number = len(self._measured.steps) + (not self._shares_step)
            self._stopped = self._stopped or (
                f"step {number} moved the weights by gradients that are not finite: {self._bad}"
            )

    def ended(self, optimizer: Optimizer, *, loss_scale: float, skipped: bool) -> None:
        """A step ended; one that follows no backward pass belongs to the step before."""
        culprit = self._culprit(optimizer) if skipped else self._bad
        gradients = [p.grad for p in learned_by([optimizer]) if p.grad is not None]
        known = [loss for loss in self._losses if loss is not None]
        step = RehearsedStep(
            losses={"loss": sum(known)} if len(known) == len(self._losses) else {},
            grad_norm=_norm(gradients),
            loss_scale=loss_scale,
            skipped=skipped,
            why=_why(culprit) if skipped else None,
            culprit=culprit,
        )
        if self._shares_step:
            steps = self._measured.steps
            if skipped and not steps[-1].skipped:
                steps[-1] = replace(steps[-1], skipped=True, why=step.why, culprit=culprit)
            return
        self._step.close()
        self._measured.keep(step, self._meter)
        self._begin()

    def idle_scaler(self) -> None:
        """A scaler does nothing."""
        self._note(_IDLE)

    @property
    def _shares_step(self) -> bool:
        """True if no backward pass came since the last step: another optimizer's turn in it."""
        return bool(self._measured.steps) and not self._passed

    def _note(self, line: str) -> None:
        self._notes.setdefault(line)

    def _begin(self) -> None:
        """Enter what a step is seen through, in the order that each needs."""
        self._passed, self._losses, self._bad = False, [], None
        self._meter = self._measured.next_meter(self._loss_scale)
        self._trace_before, self._trace = self._trace, NonFiniteTrace(self._model, ())
        if self._meter is not None:
            self._step.enter_context(self._meter)
        self._step.enter_context(self._precision.arithmetic(self._device))
        for name, parameter in self._model.named_parameters():
            self._trace.hand_in(parameter, name, "parameter", samples=())
        for name, buffer in self._model.named_buffers():
            self._trace.hand_in(buffer, name, "buffer", samples=())
        self._step.enter_context(self._trace)
        hook = self._model.register_forward_pre_hook(self._given, with_kwargs=True)
        self._step.callback(hook.remove)

    def _given(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for name, tensor, _sample in named_tensors({**dict(enumerate(args)), **kwargs}):
            self._trace.hand_in(tensor, f"input{name}", "batch", samples=())

    def _culprit(self, optimizer: Optimizer) -> Culprit | None:
        gradients = [p.grad for p in learned_by([optimizer]) if p.grad is not None]
        event = (self._trace_before if self._shares_step else self._trace).origin(gradients)
        if event is None:
            return None
        fits_at = fitting_scale(event, self._loss_scale)
        return culprit_of(event, (), self._loss_scale, fits_at=fits_at)


def _why(culprit: Culprit | None) -> str:
    """The cause of a skipped step, in words."""
    # The graph is gone after the backward pass: what overflows behind this tensor is not known.
    return str(culprit).replace("the step fits", "this one fits") if culprit else "no cause found"


def _norm(gradients: list[Tensor]) -> float:
    if not all(map(is_finite, gradients)):
        return math.inf
    return math.hypot(*(float(torch.linalg.vector_norm(each.float())) for each in gradients))
