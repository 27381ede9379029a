"""Findings of a rehearsal: its steps, the ranges of their values, culprits, islands, memory."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

import torch

from halftrack.precision import Culprit, Islands, LossScaleAdvice, Precision, Ranges
from halftrack.precision.called_ops import CalledOps
from halftrack.precision.loss_scale import scale_words
from halftrack.rehearsing.memory import StepMemory

__all__ = ["Findings", "RehearsedStep"]


@dataclass(frozen=True, kw_only=True)
class RehearsedStep:
    """One attempted step."""

    losses: dict[str, float]
    """Means over its batches of the loss terms, and ``loss``, the sum that is trained; empty if the
    loss could not be computed."""
    grad_norm: float
    """L2 norm of the unscaled gradients, before clipping."""
    loss_scale: float
    """The scale its gradients were made with."""
    skipped: bool
    """True if no weight moved."""
    why: str | None = None
    """Cause of a skipped step, or of a loss that is not finite, in words; None if it was taken with
    a finite one."""
    culprit: Culprit | None = None
    """First non-finite tensor of such a step; None if there is none to name."""

    @property
    def taken_blindly(self) -> bool:
        """True if weights moved by finite gradients of a loss that is not finite."""
        return not self.skipped and not math.isfinite(self.losses.get("loss", 0.0))

    @classmethod
    def without_loss(cls, culprit: Culprit, loss_scale: float) -> RehearsedStep:
        """A step that ended where its loss was computed."""
        return cls(
            losses={},
            grad_norm=math.nan,
            loss_scale=loss_scale,
            skipped=True,
            why=str(culprit),
            culprit=culprit,
        )


def _versions() -> dict[str, str | None]:
    from halftrack import __version__

    return {
        "halftrack": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Findings of a rehearsal; everything that is told of it follows from here.

    The methods that say how to change a setting say it in Python; a rehearsal that is started from
    elsewhere says it in that place's words.
    """

    owner: ClassVar[str] = "run"
    """Word for what has the loss scale of its own."""
    untold: ClassVar[tuple[str, ...]] = (
        *("ranges", "precision", "called", "fp32_islands", "memory", "steps"),
    )
    """Fields that ``numbers`` tells in another form or not at all."""

    name: str
    """The name of the model or recipe."""
    precision: Precision
    """The precision that was rehearsed."""
    planned_sizes: str = "the first batch's sizes"
    """The sizes that the memory is told of."""
    planned_steps: int
    """Number of steps that were asked for."""
    memory: tuple[StepMemory, ...] = ()
    """The predicted peak of a step in each precision."""
    no_memory: str | None = None
    """Why there is no memory to tell of."""
    notes: tuple[str, ...] = ()
    """Assumptions that were made on the way, as lines."""
    steps: tuple[RehearsedStep, ...] = ()
    """Those taken and skipped, in order."""
    sampled: tuple[int, ...] = ()
    """Numbers, from 1, of the steps whose ranges were measured."""
    ranges: Ranges = field(default_factory=Ranges, repr=False)
    """Ranges of all sampled steps together; gradients only of steps in which all were finite."""
    called: CalledOps = field(default_factory=CalledOps)
    """Ops of the measured steps that a GPU may compute otherwise; none are measured in tf32."""
    fp32_islands: Islands | None = None
    """The smallest set of fp32 islands; None if they were not searched."""
    islands_bytes: int | None = 0
    """Memory, in bytes, that the islands add to the peak of a step; None if it is not known."""
    stopped: str | None = None
    """Why it could not go on; None if it could."""
    interrupted: bool = False
    """True if the rehearsal was ended early from outside."""
    seconds: float = 0.0
    """Time that the rehearsal took, in seconds."""
    versions: dict[str, str | None] = field(default_factory=_versions)
    """Versions of the code and libraries."""

    @cached_property
    def advice(self) -> LossScaleAdvice | None:
        """On the loss scale; None if no step with finite gradients was sampled."""
        gradients = self.ranges.gradients
        return LossScaleAdvice(gradients) if gradients else None

    @property
    def skipped(self) -> dict[int, RehearsedStep]:
        """The skipped steps by their number, from 1."""
        return {n: step for n, step in enumerate(self.steps, start=1) if step.skipped}

    @property
    def culprits(self) -> tuple[Culprit, ...]:
        """The culprits of the skipped steps and of losses that are not finite, in order."""
        return tuple(step.culprit for step in self.steps if step.culprit is not None)

    @property
    def trained_terms(self) -> tuple[str, ...]:
        """Names of the losses that are trained, first ``loss``, which is their sum."""
        names = dict.fromkeys(name for step in self.steps for name in step.losses)
        return ("loss", *(name for name in names if name != "loss"))

    @property
    def circumstances(self) -> str:
        """The data and their sizes, in words that follow a number of steps."""
        return "on batches of your own"

    @property
    def islands_hint(self) -> str:
        """The way to search for fp32 islands."""
        return "report.islands() finds the smallest set"

    def set_loss_scale(self, scale: float) -> str:
        """The change that sets a loss scale."""
        told = scale_words(scale)
        return f"loss scale {told}: GradScaler(init_scale={told}), or a constant"

    def set_islands(self, paths: tuple[str, ...]) -> str:
        """The change that keeps modules in fp32."""
        return f'Precision("{self.precision.name}", keep_fp32={paths!r}).keep_in_fp32(model)'

    def numbers(self) -> dict[str, Any]:
        """Everything, as JSON takes it: NaN and infinities as text."""
        advice = self.advice
        names = [each.name for each in fields(self) if each.name not in self.untold]
        plain = {name: getattr(self, name) for name in names}
        return plain | {
            "precision": asdict(self.precision),
            "called": asdict(self.called),
            "islands": self.fp32_islands and asdict(self.fp32_islands),
            "steps": [_finite(asdict(step)) for step in self.steps],
            "memory": [asdict(each) | {"on_a_gpu": each.on_a_gpu} for each in self.memory],
            "loss_scale": None
            if advice is None
            else {
                "recommended": advice.recommended,
                "safe": advice.safe,
                "least": advice.least,
                "greatest": advice.greatest,
                "unserved": advice.unserved,
            },
            "ranges": self.ranges.to_dict(),
        }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN or infinity: they become text, at any depth."""
    return {
        name: _finite(value)
        if isinstance(value, Mapping)
        else str(value)
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in values.items()
    }
