"""Rehearsal of any model: a user's own step on a CPU, in the arithmetic of a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from halftrack.errors import UserError
from halftrack.precision import Islands, NonFiniteGradientError, Precision
from halftrack.precision.traced_pass import LossRaisedError
from halftrack.rehearsing.feeding import optimizers_of, steps_of
from halftrack.rehearsing.islands import islands_of_step
from halftrack.rehearsing.memory import StepMemory
from halftrack.rehearsing.planned import peak_of_step
from halftrack.rehearsing.report import Report
from halftrack.rehearsing.snapshot import Snapshot
from halftrack.rehearsing.trained_step import Step, TrainedSteps

__all__ = ["rehearse", "rehearsed_precision"]

_SEARCHED = 2  # batches of each rehearsal in a search for islands
_SCALE = 1024.0  # of that search where no step was attempted


def rehearse(
    step: Step,
    batches: Iterable[Any],
    *,
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    precision: Precision | str = "fp16",
    steps: int = 50,
    every: int = 10,
    accumulate: int = 1,
    max_grad_norm: float | None = None,
    memory: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Take the first steps of a training on this CPU and see what half precision does to them.

    Five lines beside a training script::

        def step(model, batch):
            images, labels = batch
            return torch.nn.functional.cross_entropy(model(images), labels)

        report = halftrack.rehearse(step, loader, model=model, optimizer=optimizer)
        print(report)

    The step runs within autocast and a GPU's arithmetic, forward and backward; the loss is scaled,
    and the optimizers step or skip as with a ``GradScaler``. A trace is kept on, so that a skipped
    step is explained without running it again. Ctrl-C ends it after the steps so far.

    The model is left as it was: weights, buffers, gradients, modes, optimizers and random numbers
    are put back at the end, after an error too. What a model keeps outside its parameters and
    buffers is not.

    Args:
        step: takes the model and a batch; returns a scalar loss, a dict of losses, or an output
            with ``.loss``. Of a dict the entry ``loss`` is trained if there is one, and if not the
            sum of all.
        batches: of any type, in any iterable; read again from its start where it ends.
        model: in the mode in which it trains, on the CPU.
        optimizer: the optimizer, or several: all of them step together, or none.
        precision: ``fp16`` (with a dynamic loss scale), ``bf16``, ``tf32``, or a ``Precision``,
            whose ``keep_fp32`` is followed.
        steps: attempted steps.
        every: the first step's ranges are measured, and those of each that comes so many steps
            after the last that was measured and taken.
        accumulate: batches that make a step, on their mean loss.
        max_grad_norm: clip gradients to this norm; None to leave them.
        memory: predict the memory of a step, which takes a step on shapes in each precision.
        progress: told (steps attempted, steps in all).

    Raises:
        UserError: for less than one step or batch, a loss that is none or has no gradient, and a
            precision that has nothing to rehearse.
    """
    start = time.perf_counter()
    chosen = rehearsed_precision(precision)
    optimizers = optimizers_of(step, optimizer)
    for name, value in (("steps", steps), ("accumulate", accumulate)):
        if value < 1:
            raise UserError(f"{name}={value}: expected at least 1")
    snapshot = Snapshot(model, optimizers)
    seen: list[Any] = []
    notes = [] if model.training else ["the model is in evaluation mode"]
    found = Report(name=type(model).__name__, precision=chosen, planned_steps=steps)
    try:
        chosen.keep_in_fp32(model)
        run = TrainedSteps(
            step,
            model=model,
            optimizers=optimizers,
            precision=chosen,
            every=every,
            max_grad_norm=max_grad_norm,
        )
        try:
            for taken in steps_of(batches, steps=steps, accumulate=accumulate):
                seen += taken[: max(_SEARCHED - len(seen), 0)]
                run.attempt(taken)
                if progress is not None:
                    progress(len(run.measured.steps), steps)
        except NonFiniteGradientError as error:
            found = replace(found, stopped=str(error))
        except LossRaisedError as error:
            cause = error.__cause__
            assert isinstance(cause, Exception)
            told = f"{type(cause).__name__}: {cause}"
            found = replace(found, stopped=f"the loss raised {told}", error=cause)
        except KeyboardInterrupt:
            found = replace(found, interrupted=True)
            notes.append(f"ended early, after {len(run.measured.steps)} of {steps} steps")
    finally:
        snapshot.put_back()
    found = replace(
        found,
        notes=tuple(notes),
        search=_Search(step, seen, model, optimizers),
        **run.measured.findings,
    )
    if not memory:
        found = replace(found, no_memory="It was not asked for (memory=False).")
    elif found.interrupted:
        found = replace(found, no_memory="Not known: the rehearsal was ended early.")
    else:
        found = _with_memory(found, step, seen[0], model, optimizers)
    return replace(found, seconds=time.perf_counter() - start)


def rehearsed_precision(precision: Precision | str) -> Precision:
    """The precision of a name, or as given; fp16 has a dynamic loss scale unless it has one.

    Raises:
        UserError: for fp32.
    """
    chosen = Precision.named(precision) if isinstance(precision, str) else precision
    if chosen.name == "fp32":
        raise UserError("precision 'fp32' has nothing to rehearse; choose tf32, bf16 or fp16")
    return chosen


def _with_memory(
    found: Report, step: Step, batch: Any, model: nn.Module, optimizers: Sequence[Optimizer]
) -> Report:
    """The report with the peak in fp32 (or tf32), bf16 and fp16, or why it is not known."""
    first = "tf32" if found.precision.name == "tf32" else "fp32"
    peaks: list[StepMemory] = []
    try:
        for name in (first, "bf16", "fp16"):
            as_named = replace(Precision.named(name), keep_fp32=found.precision.keep_fp32)
            peaks.append(
                peak_of_step(step, batch, model=model, optimizers=optimizers, precision=as_named)
            )
    except UserError as error:
        return replace(found, no_memory=f"{str(error)[:1].upper()}{str(error)[1:]}.")
    return replace(found, memory=tuple(peaks))


class _Search:
    """The search for islands, which a report makes when it is asked."""

    def __init__(
        self,
        step: Step,
        batches: Sequence[Any],
        model: nn.Module,
        optimizers: Sequence[Optimizer],
    ) -> None:
        self._step, self._batches = step, batches
        self._model, self._optimizers = model, optimizers

    def __call__(self, report: Report) -> tuple[Islands, int | None]:
        """The islands, and the memory that they cost if that of a step is known."""
        if not self._batches:
            raise UserError("islands cannot be searched: it was ended before the first batch")
        advice = report.advice
        scale = None if advice is None else advice.recommended
        own = min((step.loss_scale for step in report.steps), default=_SCALE)
        found = islands_of_step(
            self._step,
            self._batches,
            model=self._model,
            optimizers=self._optimizers,
            loss_scale=scale or own,
        )
        if not found.keep_fp32:
            return found, 0
        if not report.memory:
            return found, None
        return found, self._peak(found.keep_fp32) - self._peak(())

    def _peak(self, islands: tuple[str, ...]) -> int:
        return peak_of_step(
            self._step,
            self._batches[0],
            model=self._model,
            optimizers=self._optimizers,
            precision=Precision("fp16", 1.0, islands),
        ).peak
