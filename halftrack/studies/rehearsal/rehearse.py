"""The rehearsal of a recipe: the beginning of its run on this CPU, with a GPU's arithmetic.

The steps are those that training would take, with its own parts; some are looked at under a
``RangeMeter``, and each that is skipped is explained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from halftrack.data import Progress
from halftrack.errors import UserError
from halftrack.precision import LossScaleAdvice, NonFiniteGradientError, Precision, Ranges
from halftrack.precision.histogram import exponent_of
from halftrack.precision.islands import Islands
from halftrack.recipes import TrainedRecipe
from halftrack.studies.memory.plan import StepMemory, planned_precisions
from halftrack.studies.memory.step import predicted_step
from halftrack.studies.memory.step_sizes import resized
from halftrack.studies.rehearsal.island_cost import island_cost
from halftrack.studies.rehearsal.rehearsed_run import RehearsedRun, RehearsedStep
from halftrack.training.checkpoint import code_versions
from halftrack.training.compilation import check_compilation

__all__ = ["Rehearsal", "rehearse"]

_PATIENCE = 120.0  # seconds of all steps beyond which it is said how to shorten them


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Findings of a rehearsal; everything that is told of it follows from here."""

    recipe: str
    """The recipe's name."""
    precision: Precision
    """The recipe that was rehearsed."""
    seed: int
    """Origin of all randomness."""
    data: str
    """The data that were learned from."""
    image: tuple[int, int]
    """Height and width of the largest image."""
    planned_sizes: str
    """The recipe's own image and number of samples that share a pass: the memory is theirs."""
    planned_steps: int
    """Number of steps that were asked for."""
    memory: tuple[StepMemory, ...]
    """The predicted peak of the recipe's own step in each precision, in its last phase."""
    notes: tuple[str, ...] = ()
    """Assumptions that were made on the way, as lines."""
    steps: tuple[RehearsedStep, ...] = ()
    """Those taken and skipped, in order."""
    sampled: tuple[int, ...] = ()
    """Numbers, from 1, of the steps whose ranges were measured."""
    ranges: Ranges = field(default_factory=Ranges, repr=False)
    """Ranges of all sampled steps together; gradients only of steps in which all were finite."""
    islands: Islands | None = None
    """The smallest set of fp32 islands; None if they were not searched."""
    islands_bytes: int = 0
    """Memory, in bytes, that the islands add to the peak of the recipe's own step."""
    stopped: str | None = None
    """Why it could not go on; None if it could."""
    interrupted: bool = False
    """True if the rehearsal was ended early from outside."""
    seconds: float = 0.0
    """Time that the rehearsal took, in seconds."""
    versions: dict[str, str | None] = field(default_factory=code_versions)
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

    def numbers(self) -> dict[str, Any]:
        """Everything, as JSON takes it: NaN and infinities as text."""
        advice = self.advice
        plain = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("ranges", "precision", "islands", "memory", "steps")
        }
        return plain | {
            "precision": asdict(self.precision),
            "islands": self.islands and asdict(self.islands),
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


def rehearse(
    recipe: TrainedRecipe,
    *,
    data_root: Path | None,
    out: Path,
    steps: int = 50,
    every: int = 10,
    image: str | None = None,
    samples: int | None = None,
    islands: bool = False,
    init: str | None = None,
    seed: int = 0,
    trust: bool = False,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> Rehearsal:
    """Take the first steps of a recipe's run on this CPU and see what its precision does to them.

    Ctrl-C ends it after the steps so far.

    Args:
        recipe: in half precision or tf32, as ``rehearsable`` returns it.
        data_root: its data; None for synthetic video, which is written to ``out/data``.
        out: the folder for that.
        steps: attempted steps, of the first epoch's order, which wraps around.
        every: the first step is measured, and each that comes so many steps after the last that was
            measured and taken.
        image: another image size, as ``resized`` takes it; the memory is that of the recipe's own.
        samples: another number of samples a step learns from, likewise.
        islands: search the smallest set of modules to keep in fp32, which takes many rehearsals of
            two steps each; not for tf32.
        init: the weights to start from, as in training; on synthetic video random ones if left out.
        seed: origin of all randomness.
        trust: unpickle arbitrary objects in ``init``.
        say: told what is taken for granted, line by line.
        progress: told (steps attempted, steps in all).

    Raises:
        DataError: if the data are not there or not readable.
        ValueError: for sizes or weights that do not fit, less than one step, a loss scale that is
            no power of two, islands of tf32, and a recipe with ``training.compile``.
    """
    if islands and not recipe.precision.is_half:
        raise UserError(f"--islands: {recipe.precision.name} has fp32's range and needs none")
    check_compilation(recipe.training, recipe.precision, torch.device("cpu"))
    for name, value in (("steps", steps), ("every", every)):
        if value < 1:
            raise UserError(f"{name}={value}: expected at least 1")
    exponent_of(recipe.precision.new_loss_scale().value)
    start = time.perf_counter()
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        say(line)

    planned, recipe = recipe, resized(recipe, image=image, samples=samples)
    data = "synthetic video" if data_root is None else str(data_root)
    if data_root is None:
        recipe = recipe.reading_synthetic()
        data_root = recipe.write_synthetic(out / "data", seed=seed)
        note(f"synthetic video in place of {recipe.name}'s data: give --data-root for real data")
        if init is None:
            init = "none"
    height, width = planned.image_size
    found = Rehearsal(
        recipe=recipe.name,
        precision=recipe.precision,
        seed=seed,
        data=data,
        image=recipe.image_size,
        planned_sizes=f"{height}x{width} ({', '.join(map(str, planned.sharing()))})",
        planned_steps=steps,
        memory=tuple(_memory(planned)),
    )
    rehearsed = RehearsedRun(recipe.settled(data_root), data_root, out, seed=seed, every=every)
    rehearsed.prepare(init, trust=trust, note=note)
    stopped, interrupted = None, False
    if progress is not None:
        progress(0, steps)  # the first step may take minutes
    began = time.perf_counter()
    try:
        for done in rehearsed.take(steps):
            if done == 1:
                _tell_pace(time.perf_counter() - began, steps, say)
            if progress is not None:
                progress(done, steps)
    except NonFiniteGradientError as error:
        stopped = str(error)
    except KeyboardInterrupt:
        interrupted = True
        note(f"ended early, after {len(rehearsed.steps)} of {steps} steps")
    found = replace(
        found,
        notes=tuple(notes),
        steps=tuple(rehearsed.steps),
        sampled=tuple(rehearsed.sampled),
        ranges=rehearsed.ranges,
        stopped=stopped,
        interrupted=interrupted,
    )
    if islands and not interrupted:
        say("looking for the smallest set of fp32 islands ...")
        found = _with_islands(found, rehearsed, planned)
    return replace(found, seconds=time.perf_counter() - start)


def _with_islands(found: Rehearsal, run: RehearsedRun, planned: TrainedRecipe) -> Rehearsal:
    """The islands at the recommended scale, where there is one, and what they cost in memory."""
    advice = found.advice
    islands = run.islands(None if advice is None else advice.recommended)
    cost = 0
    if islands.keep_fp32:
        cost = island_cost(planned.without_data(), islands.keep_fp32)
    return replace(found, islands=islands, islands_bytes=cost)


def _tell_pace(seconds: float, steps: int, say: Callable[[str], None]) -> None:
    """Say how long all steps take if the first took so many seconds, unless that is soon."""
    if seconds * steps > _PATIENCE:
        say(
            f"the first step took {seconds:.0f} s, so {steps} may take {seconds * steps / 60:.0f} "
            "min: fewer --samples or a smaller --image make them faster"
        )


def _last_phase(recipe: TrainedRecipe) -> int:
    """The epoch from which on its last phase trains: as a rule most parameters do then."""
    return max((phase.first_epoch for phase in recipe.training.phases), default=0)


def _memory(recipe: TrainedRecipe) -> Iterator[StepMemory]:
    """The peak in each precision, in the recipe's last phase."""
    recipe, epoch = recipe.without_data(), _last_phase(recipe)
    for name in planned_precisions(recipe):
        meter = predicted_step(recipe.with_precision(name), epoch=epoch)
        yield StepMemory(
            precision=name,
            first_epoch=epoch,
            recompute=recipe.recompute,
            accumulates=recipe.training.accumulates,
            peak=meter.peak,
            by_kind=meter.peak_by_kind,
            by_module=meter.peak_by_module,
        )


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
