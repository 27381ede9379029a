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
from halftrack.precision.batches import sample_names
from halftrack.precision.nonfinite import Event, NonFiniteTrace
from halftrack.precision.ops import is_finite
from halftrack.precision.traced_pass import (
    culprit_of,
    fitting_scale,
    hand_in_batch,
    hand_in_weights,
)
from halftrack.rehearsing.any_model import rehearsed_precision
from halftrack.rehearsing.findings import RehearsedStep
from halftrack.rehearsing.frameworks import training_in
from halftrack.rehearsing.measured import MeasuredSteps
from halftrack.rehearsing.outer_calls import OuterCalls
from halftrack.rehearsing.report import Report
from halftrack.rehearsing.returned_terms import ReturnedTerms
from halftrack.rehearsing.scalers import loop_told_to
from halftrack.rehearsing.snapshot import learned_by
from halftrack.rehearsing.trained_step import device_of

__all__ = ["Watch", "watching"]

_NO_MEMORY = "Not known of a loop of one's own: halftrack.plan(step, batch, ...) predicts it."
_IDLE = (
    "a GradScaler is disabled, as one made outside halftrack.watching is on a CPU: make it inside"
)
_watched: list[Watch] = []


def watching(
    model: nn.Module,
    trainer: Any = None,
    *,
    precision: Precision | str = "fp16",
    every: int = 10,
) -> Watch:
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

    or of a framework, which is made to train in this precision as it would on a GPU::

        trainer = lightning.Trainer(accelerator="cpu", max_steps=20)
        with halftrack.watching(module, trainer) as watch:
            trainer.fit(module, loader)
        print(watch.report)

    Half products, forward and backward, are computed as a GPU computes them; autocast is the
    loop's own. Steps of several optimizers without a backward pass between them are one step. The
    model is trained: nothing is put back. Samples are named by their position in what the model is
    given, and loss terms where the model returns them in a dict and one alone leads to the fault.
    ``fits_at`` of a culprit is the scale that its own tensor fits; the step may need a smaller one.

    Args:
        model: the model whose modules are named.
        trainer: what runs the loop, if it is none of your own: a ``Trainer`` of Lightning or
            transformers, or an ``Accelerator``, which prepares the model inside.
        precision: of the loop, for the words of the report; a ``trainer`` trains in it. ``tf32``
            rehearses that.
        every: the first step's ranges are measured, and those of each that comes so many steps
            after the last that was measured and taken.

    Raises:
        UserError: for fp32, for an ``every`` below 1, and on entering within another one, or with a
            trainer of another kind, on a GPU, or of several processes.
    """
    return Watch(model, rehearsed_precision(precision), trainer=trainer, every=every)


class Watch:
    """A loop that is watched, and from the first step on its ``report``."""

    def __init__(self, model: nn.Module, precision: Precision, *, trainer: Any, every: int) -> None:
        self._model, self._precision, self._trainer = model, precision, trainer
        self._device = device_of(model)
        self._measured = MeasuredSteps(model, precision, every=every)
        self._loop, self._step = ExitStack(), ExitStack()
        self._trace = self._trace_before = NonFiniteTrace(model, ())
        self._meter: RangeMeter | None = None
        self._passed, self._losses = False, list[float | None]()
        self._has_batch, self._terms = False, ReturnedTerms()
        self._loss_scale = 1.0
        self._ended: RehearsedStep | None = None
        self._bad: Culprit | None = None
        self._bad_loss: Event | None = None
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
            stopped=self._stopped,
            error=self._error,
            seconds=(self._end or time.perf_counter()) - self._start,
            **self._measured.findings,
        )

    def __enter__(self) -> Self:
        if _watched:
            raise UserError("a loop is watched already: leave halftrack.watching first")
        if self._trainer is not None:
            self._loop.enter_context(training_in(self._precision, self._trainer, self._model))
        _watched.append(self)
        self._loop.callback(_watched.remove, self)
        self._loop.enter_context(loop_told_to(self))
        self._begin()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._end = time.perf_counter()
        self._terms.clear()
        event = self._trace.latest()
        self._step.close()
        self._loop.close()
        if isinstance(error, Exception) and event is not None:
            self._error = error
            raised = f"{type(error).__name__}: {error}"
            samples = self._trace.sample_ids
            culprit = culprit_of(event, samples, self._loss_scale, raised=raised)
            self._measured.keep(RehearsedStep.without_loss(culprit, self._loss_scale), None)
            self._stopped = f"the loop raised {raised}"

    def follow(self, model: nn.Module) -> None:
        """Name the modules of another model, which has all that learns, from now on."""
        self._step.close()
        self._model = model
        self._measured.follow(model)
        self._begin()

    def scaled(self, loss_scale: float) -> None:
        """A loss was scaled: the gradients that follow are of this scale."""
        # A torch scaler that met only NaN comes down to 0, at which nothing is learned.
        self._loss_scale = loss_scale or 1.0
        if self._meter is not None:
            self._meter.scale_by(self._loss_scale)

    def learned_from(self, loss: float | None) -> None:
        """A backward pass begins."""
        self._passed, self._has_batch = True, False
        self._losses.append(loss)
        if self._bad_loss is None and loss is not None and not math.isfinite(loss):
            self._bad_loss = self._trace.latest()

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
        if not skipped and culprit is None and self._bad_loss is not None:
            culprit = self._culprit_of(self._bad_loss, self._trace)
        gradients = [p.grad for p in learned_by([optimizer]) if p.grad is not None]
        known = [loss for loss in self._losses if loss is not None]
        losses = {"loss": sum(known), **self._terms.means()}
        step = RehearsedStep(
            losses=losses if len(known) == len(self._losses) else {},
            grad_norm=_norm(gradients),
            loss_scale=loss_scale,
            skipped=skipped,
            culprit=culprit,
        )
        if skipped or step.taken_blindly:
            step = replace(step, why=str(culprit or "no cause found"))
        if self._shares_step:
            steps = self._measured.steps
            if skipped and not steps[-1].skipped:
                steps[-1] = replace(steps[-1], skipped=True, why=step.why, culprit=culprit)
            return
        if self._ended is None or (step.culprit and not self._ended.culprit):
            self._ended = step
        # Torch undoes what is entered within a backward pass as soon as that has ended.
        if torch._C._current_graph_task_id() == -1:
            self.learned()

    def learned(self) -> None:
        """A backward pass ended; an optimizer that steps within one ends its step with it."""
        if self._ended is None:
            return
        self._step.close()
        self._measured.keep(self._ended, self._meter)
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
        self._passed, self._losses, self._bad, self._bad_loss = False, [], None, None
        self._has_batch, self._ended = False, None
        self._terms.clear()
        self._meter = self._measured.next_meter(self._loss_scale)
        self._trace_before, self._trace = self._trace, NonFiniteTrace(self._model, ())
        if self._meter is not None:
            self._step.enter_context(self._meter)
        self._step.enter_context(self._precision.arithmetic(self._device))
        hand_in_weights(self._trace, self._model)
        self._step.enter_context(self._trace)
        self._step.enter_context(OuterCalls(self._model, self._given, self._returned))

    def _given(self, inputs: dict[Any, Any]) -> None:
        if not self._has_batch and torch.is_grad_enabled():
            self._has_batch, self._trace.sample_ids = True, sample_names(inputs)
        hand_in_batch(self._trace, inputs, "input")

    def _returned(self, output: Any) -> None:
        self._terms.take(output)

    def _culprit(self, optimizer: Optimizer) -> Culprit | None:
        gradients = [p.grad for p in learned_by([optimizer]) if p.grad is not None]
        trace = self._trace_before if self._shares_step else self._trace
        event = trace.origin(gradients)
        if event is None:
            return None
        # No smaller loss scale mends a loss, which came before its gradients.
        lost = self._bad_loss
        return self._culprit_of(
            event if lost is None or event.number < lost.number else lost, trace
        )

    def _culprit_of(self, event: Event, trace: NonFiniteTrace) -> Culprit:
        suffer = self._terms.that_suffer(event, trace)
        return culprit_of(
            event,
            trace.sample_ids,
            self._loss_scale,
            loss_term=suffer[0] if len(suffer) == 1 else None,
            fits_at=fitting_scale(event, self._loss_scale),
            # The graph is gone after the backward pass: what overflows behind this is not known.
            fits_whole_step=False,
        )


def _norm(gradients: list[Tensor]) -> float:
    if not all(map(is_finite, gradients)):
        return math.inf
    return math.hypot(*(float(torch.linalg.vector_norm(each.float())) for each in gradients))
