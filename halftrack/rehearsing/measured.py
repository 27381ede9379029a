"""Steps that are attempted one after the other, some of them under a ``RangeMeter``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from torch import nn

from halftrack.errors import UserError
from halftrack.precision import (
    Culprit,
    NonFiniteGradientError,
    Precision,
    RangeMeter,
    Ranges,
    StepReport,
)
from halftrack.precision.called_ops import CalledOps
from halftrack.precision.traced_pass import LossRaisedError
from halftrack.rehearsing.findings import RehearsedStep

__all__ = ["MeasuredSteps", "Why"]

Why = tuple[str | None, Culprit | None]
"""Words for why a step was skipped or its loss is not finite, and the culprit."""


class MeasuredSteps:
    """Steps of a rehearsal, of a recipe's run or of any model's.

    Args:
        model: the model that learns.
        precision: of the steps.
        every: the first step is measured, and each that comes so many steps after the last that was
            measured and taken.

    Raises:
        UserError: for an ``every`` below 1.
    """

    def __init__(self, model: nn.Module, precision: Precision, *, every: int) -> None:
        if every < 1:
            raise UserError(f"every={every}: expected at least 1")
        self._model, self._precision, self._every = model, precision, every
        self._next_sample = 1
        self.steps: list[RehearsedStep] = []
        self.sampled: list[int] = []
        self.ranges = Ranges()
        self.called = CalledOps()

    @property
    def findings(self) -> dict[str, Any]:
        """The fields of ``Findings`` that hold what was seen so far."""
        return {
            "steps": tuple(self.steps),
            "sampled": tuple(self.sampled),
            "ranges": self.ranges,
            "called": self.called,
        }

    def attempt(
        self,
        *,
        loss_scale: float,
        gradients: Callable[[], Mapping[str, float]],
        step: Callable[[], StepReport],
        why: Callable[[], Why],
    ) -> None:
        """Attempt one step and keep what was seen of it.

        Args:
            loss_scale: the scale that its gradients are made with.
            gradients: computes forward and backward and returns the loss terms, and ``loss``.
            step: moves the weights or skips the step.
            why: says why a step was skipped or its loss is not finite; asked only then.

        Raises:
            NonFiniteGradientError: if ``step`` raises it; the step is kept all the same.
            LossRaisedError: if ``gradients`` raises it; likewise.
        """
        meter = self.next_meter(loss_scale)
        try:
            with meter or nullcontext():
                losses = dict(gradients())
        except LossRaisedError as error:
            self.keep(RehearsedStep.without_loss(error.culprit, loss_scale), meter)
            raise
        stopped, norm, skipped = None, math.nan, True
        try:
            with meter.updates() if meter else nullcontext():
                report = step()
            norm, skipped = report.grad_norm, report.skipped
        except NonFiniteGradientError as error:
            stopped = error
        faulty = skipped or not math.isfinite(losses["loss"])
        words, culprit = why() if faulty else (None, None)
        self.keep(
            RehearsedStep(
                losses=losses,
                grad_norm=norm,
                loss_scale=loss_scale,
                skipped=skipped,
                why=words,
                culprit=culprit,
            ),
            meter,
        )
        if stopped is not None:
            raise stopped

    def follow(self, model: nn.Module) -> None:
        """Measure another model from the next step on."""
        self._model = model

    def next_meter(self, loss_scale: float) -> RangeMeter | None:
        """A new meter if the next step is to be measured."""
        if not self._precision.is_half or len(self.steps) + 1 < self._next_sample:
            return None
        return RangeMeter(self._model, loss_scale=loss_scale)

    def keep(self, step: RehearsedStep, meter: RangeMeter | None) -> None:
        """Add a step and what its meter saw.

        Of a skipped step only the activations are kept, and the next one is measured too.
        """
        self.steps.append(step)
        if meter is None:
            return
        self.sampled.append(len(self.steps))
        self.called += meter.calls.found
        seen = meter.ranges
        if step.skipped or any(each.nonfinite for each in seen.gradients.values()):
            # Infinite gradients tell nothing of another loss scale.
            seen = Ranges(activations=seen.activations)
        else:
            self._next_sample = len(self.steps) + self._every
        self.ranges += seen
