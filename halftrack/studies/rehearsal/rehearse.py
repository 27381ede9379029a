"""The rehearsal of a recipe: the beginning of its run on this CPU, with a GPU's arithmetic.

The steps are those that training would take, with its own parts; some are looked at under a
``RangeMeter``, and each that is skipped is explained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from halftrack.data import Progress
from halftrack.errors import UserError
from halftrack.precision import NonFiniteGradientError
from halftrack.precision.histogram import exponent_of
from halftrack.recipes import TrainedRecipe
from halftrack.rehearsing.findings import Findings
from halftrack.studies.memory.plan import PlannedStep, planned_precisions
from halftrack.studies.memory.step import predicted_step
from halftrack.studies.memory.step_sizes import resized
from halftrack.studies.rehearsal.island_cost import island_cost
from halftrack.studies.rehearsal.rehearsed_run import RehearsedRun
from halftrack.training.compilation import check_compilation
from halftrack.training.files.checkpoint import code_versions

__all__ = ["Rehearsal", "rehearse"]

_PATIENCE = 120.0  # seconds of all steps beyond which it is said how to shorten them


@dataclass(frozen=True, kw_only=True)
class Rehearsal(Findings):
    """Findings of a recipe's rehearsal, told in the words of the command line."""

    owner: ClassVar[str] = "recipe"

    seed: int
    """Origin of all randomness."""
    data: str
    """The data that were learned from."""
    image: tuple[int, int]
    """Height and width of the largest image."""
    versions: dict[str, str | None] = field(default_factory=code_versions)
    """Versions of the code and libraries."""

    @property
    def islands_hint(self) -> str:
        """The way to search for fp32 islands."""
        return "--islands finds the smallest set"

    @property
    def trained_terms(self) -> tuple[str, ...]:
        """Names of the losses that are trained; what a recipe tells beside them is an accuracy."""
        return tuple(name for name in super().trained_terms if name.startswith("loss"))

    @property
    def circumstances(self) -> str:
        """The data and their sizes, in words that follow a number of steps."""
        height, width = self.image
        return f"on {self.data}, images of {height}x{width}, seed {self.seed}"

    def set_loss_scale(self, scale: float) -> str:
        """The argument that sets a loss scale."""
        return f"--set precision.loss_scale={scale}"

    def set_islands(self, paths: tuple[str, ...]) -> str:
        """The argument that keeps modules in fp32."""
        # In double quotes for a shell: the tuple has single ones.
        return f'--set precision.keep_fp32="{paths!r}"'

    def numbers(self) -> dict[str, Any]:
        """Everything, as JSON takes it: NaN and infinities as text."""
        plain = super().numbers()
        return {"recipe": plain.pop("name")} | plain


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
    # The data and the weights before the memory plan, which takes seconds.
    rehearsed = RehearsedRun(recipe.settled(data_root), data_root, out, seed=seed, every=every)
    rehearsed.prepare(init, trust=trust, note=note)
    height, width = planned.image_size
    found = Rehearsal(
        name=recipe.name,
        precision=recipe.precision,
        seed=seed,
        data=data,
        image=recipe.image_size,
        planned_sizes=f"{height}x{width} ({', '.join(map(str, planned.sharing()))})",
        planned_steps=steps,
        memory=tuple(_memory(planned)),
    )
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
        note(f"ended early, after {len(rehearsed.measured.steps)} of {steps} steps")
    found = replace(
        found,
        notes=tuple(notes),
        stopped=stopped,
        interrupted=interrupted,
        **rehearsed.measured.findings,
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
    return replace(found, fp32_islands=islands, islands_bytes=cost)


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


def _memory(recipe: TrainedRecipe) -> Iterator[PlannedStep]:
    """The peak in each precision, in the recipe's last phase."""
    recipe, epoch = recipe.without_data(), _last_phase(recipe)
    for name in planned_precisions(recipe):
        meter = predicted_step(recipe.with_precision(name), epoch=epoch)
        yield PlannedStep(
            precision=name,
            first_epoch=epoch,
            recompute=recipe.recompute,
            accumulates=recipe.training.accumulates,
            peak=meter.peak,
            by_kind=meter.peak_by_kind,
            by_module=meter.peak_by_module,
        )
