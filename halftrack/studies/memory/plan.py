"""Memory plan: the peak of a training step before anyone computes it, and what would fit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from halftrack.errors import UserError
from halftrack.recipes import TrainedRecipe
from halftrack.rehearsing.gpu import CONTEXT, live_that_fits
from halftrack.rehearsing.memory import StepMemory, folded
from halftrack.studies.memory.largest import Largest, largest_image, most_samples
from halftrack.studies.memory.step import predicted_step
from halftrack.studies.memory.traffic import Traffic, traffic

__all__ = ["MemoryPlan", "PlannedStep", "plan_memory", "planned_precisions"]


@dataclass(frozen=True, kw_only=True)
class PlannedStep(StepMemory):
    """The predicted peak of one way to take the step."""

    first_epoch: int
    """0-based epoch from which on it trains these parameters."""
    recompute: tuple[int, ...]
    """Stages of the backbone whose activations are computed again."""
    accumulates: bool
    """True if gradients of an earlier batch are there too."""
    shard: str = "none"
    """Part of the training state that several GPUs divide among them."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Memory of a training step: every precision, phase, accumulation and division among GPUs."""

    recipe: str
    """The recipe's name."""
    image: tuple[int, int]
    """Height and width of the largest image."""
    sharing: str
    """The fields that say how much shares a pass, and their values."""
    objects: int
    """Boxes to learn in each frame of a detector."""
    steps: tuple[PlannedStep, ...]
    """Every way: phase, precision, recomputation, accumulation."""
    as_given: tuple[PlannedStep, ...]
    """Those that are the recipe's own, one for each phase."""
    gpu_memory: int | None
    """Bytes there are, if that was asked."""
    largest: tuple[Largest, ...]
    """The largest sizes that would fit into the GPU."""
    assumed: tuple[str, ...]
    """Assumptions about this recipe, as lines."""
    traffic: Traffic | None
    """Exchanges of the GPUs that share a step; None for one GPU."""
    refusal: str | None
    """The reason why the GPUs cannot divide everything; None if they can."""
    seconds: float
    """Time that the plan took, in seconds."""

    def numbers(self) -> dict[str, Any]:
        """The plan in full, as JSON takes it."""
        steps = [asdict(step) | {"on_a_gpu": step.on_a_gpu} for step in self.steps]
        numbers = asdict(self) | {"steps": steps, "context": CONTEXT, "fits": self.fits}
        del numbers["as_given"]
        return numbers

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """Title and rows of what is shown."""
        height, width = self.image
        title = f"{self.recipe}, {height}x{width}, {self.sharing}"
        if self.traffic is not None:
            title += f", each of {self.traffic.gpus} GPUs"
        tables = {
            f"Peak of a training step (GiB): {title}": [self._row(s) for s in self.steps],
            "The peak by kind (MiB)": self._by_kind(),
        }
        # Where weights move, at the peak of small steps, no activation is left.
        if modules := self._by_module():
            tables["Activations and cast weights by module (MiB)"] = modules
        if self.gpu_memory is not None:
            tables[f"Largest that fits into {_gib(self.gpu_memory)} GiB"] = [
                {
                    "precision": each.precision,
                    "set": " ".join(each.settings) or "nothing fits",
                    "live": _gib(each.peak) if each.settings else "-",
                    "more": "not looked for" if each.bounded else "does not fit",
                }
                for each in self.largest
            ]
        return tables

    @property
    def fits(self) -> bool | None:
        """True if the recipe as given fits into the GPU in every phase; None without a GPU."""
        if self.gpu_memory is None:
            return None
        return all(step.fits(self.gpu_memory) for step in self.as_given)

    @property
    def verdict(self) -> str | None:
        """A line that says whether the recipe as given fits; None without a GPU."""
        if self.gpu_memory is None:
            return None
        most = max(step.on_a_gpu[1] + CONTEXT for step in self.as_given)
        word = "fits" if self.fits else "does not fit"
        return (
            f"{word}: {self.recipe} in {self.as_given[0].precision} may take up to {_gib(most)} "
            f"GiB, the GPU has {_gib(self.gpu_memory)} GiB"
        )

    def notes(self) -> list[str]:
        """Assumptions of the tables, as lines."""
        bounded = "not looked for: more than 16 times the recipe's own, references out of its range"
        return [
            "live: every tensor alive at the peak, proposals and rois as many as there can be, "
            f"{self.objects} objects in each frame of a detector",
            "on a GPU: at least what the leanest of 15 measured steps held beyond its tensors, at "
            "most what the greediest of three published runs did, in share or in bytes; the "
            f"driver comes on top, for which fits sets {_gib(CONTEXT)} GiB aside",
            *[bounded] * any(each.bounded for each in self.largest),
            *(() if self.traffic is None else self.traffic.lines(refusal=self.refusal)),
            *self.assumed,
            f"planned in {self.seconds:.0f} s",
        ]

    def _row(self, step: PlannedStep) -> dict[str, object]:
        low, high = step.on_a_gpu
        row = {"precision": step.precision, **self._way(step)}
        row |= {"live": _gib(step.peak), "on a GPU": f"{_gib(low)}-{_gib(high)}"}
        if self.gpu_memory is not None:
            row["fits"] = "yes" if step.fits(self.gpu_memory) else "no"
        return row

    def _way(self, step: PlannedStep) -> dict[str, object]:
        """How the step is taken, as columns of a row."""
        way: dict[str, object] = {}
        if any(each.first_epoch for each in self.steps):
            way["from epoch"] = step.first_epoch + 1
        if any(each.recompute for each in self.steps):
            way["recompute"] = ",".join(map(str, step.recompute)) or "-"
        if self.traffic is not None:
            return way | {"shard": step.shard}
        return way | {"accumulate": "yes" if step.accumulates else "-"}

    def _by_kind(self) -> list[dict[str, object]]:
        ways: dict[tuple[object, ...], list[PlannedStep]] = {}
        for step in self.steps:
            ways.setdefault((step.first_epoch, *_measures(step)), []).append(step)
        return [
            {"kind": kind, **self._way(steps[0])}
            | {step.precision: _mib(step.by_kind[kind]) for step in steps}
            for steps in ways.values()
            for kind in steps[0].by_kind
        ]

    def _by_module(self) -> list[dict[str, object]]:
        """Parts of the model that hold a MiB or more, in the recipe's last phase."""
        own = (self.steps[-1].first_epoch, _measures(self.steps[0]))
        columns = {
            step.precision: folded(step.by_module)
            for step in self.steps
            if (step.first_epoch, _measures(step)) == own
        }
        parts = dict.fromkeys(
            part for sizes in columns.values() for part in sizes if sizes[part] >= 2**20
        )
        rows: list[dict[str, object]] = []
        for part in parts:
            sizes = {name: _mib(column.get(part, 0)) for name, column in columns.items()}
            rows.append({"module": part, **sizes})
        return rows


def plan_memory(
    recipe: TrainedRecipe, *, gpu_memory: int | None = None, objects: int = 50, gpus: int = 1
) -> MemoryPlan:
    """Predict a step in each precision and phase, with and without recomputation and accumulation.

    Several GPUs keep their gradients all the time, as accumulation does: their steps are predicted
    with nothing, momentum and everything sharded instead.

    Args:
        recipe: what would be trained, at the largest sizes it may meet.
        gpu_memory: bytes; with it the largest sizes that fit are looked for.
        objects: boxes to learn in each frame of a detector: their overlaps with all anchors are
            alive at once.
        gpus: how many share a step; the one that holds most is planned.

    Raises:
        ValueError: if there are no objects, or the GPUs cannot share a step evenly.
    """
    if objects < 1:
        raise UserError(f"objects={objects}: a frame that is learned has at least 1")
    start = time.perf_counter()
    assumed = tuple(_assumptions(recipe))
    recipe = recipe.without_data()
    exchanged = traffic(recipe, gpus) if gpus > 1 else None
    if exchanged is not None:  # which bounds the clips that can share a pass
        together = min(recipe.training.clips_per_pass, exchanged.batches)
        recipe = replace(recipe, training=replace(recipe.training, clips_per_pass=together))
    refusals: list[str] = []
    steps = tuple(_steps(recipe, objects, gpus, refusals))
    largest = () if gpu_memory is None else _all_largest(recipe, steps, gpu_memory, objects, gpus)
    training = recipe.training
    own = (recipe.recompute, training.accumulates, training.shard if gpus > 1 else "none")
    return MemoryPlan(
        recipe=recipe.name,
        image=recipe.image_size,
        sharing=", ".join(map(str, recipe.sharing())),
        objects=objects,
        steps=steps,
        as_given=tuple(
            step
            for step in steps
            if step.precision == recipe.precision.name and _measures(step) == own
        ),
        gpu_memory=gpu_memory,
        largest=tuple(largest),
        assumed=assumed,
        traffic=exchanged,
        refusal=next(iter(refusals), None),
        seconds=time.perf_counter() - start,
    )


def planned_precisions(recipe: TrainedRecipe) -> tuple[str, str, str]:
    """The precisions to compare a recipe's memory in: tf32, which holds what fp32 holds, if asked.

    Args:
        recipe: in tf32 if that is to stand in the place of fp32.
    """
    return ("tf32" if recipe.precision.name == "tf32" else "fp32", "bf16", "fp16")


def _assumptions(recipe: TrainedRecipe) -> Iterator[str]:
    yield from recipe.assumptions()
    asked = recipe.training.channels_last
    if recipe.precision.is_half if asked is None else asked:
        yield "not counted: a channels-last copy of the images"


def _measures(step: PlannedStep) -> tuple[object, ...]:
    """What can be done for a step to hold less."""
    return (step.recompute, step.accumulates, step.shard)


def _steps(
    recipe: TrainedRecipe, objects: int, gpus: int, refusals: list[str]
) -> Iterator[PlannedStep]:
    """Every way to take the step; why everything cannot be divided goes to ``refusals``."""
    training, together = recipe.training, recipe.training.clips_per_pass
    several = max(training.accumulate, 2 * together)
    ways = [replace(training, accumulate=count, shard="none") for count in (together, several)]
    if gpus > 1:
        ways = [replace(training, shard="none"), replace(training, shard="optimizer")]
        try:
            ways.append(replace(training, shard="full"))
        except UserError as error:  # compiled code
            refusals.append(str(error))
    for first_epoch in (0, *(phase.first_epoch for phase in recipe.training.phases)):
        for name in planned_precisions(recipe):
            for recompute in recipe.recompute_choices():
                for way in ways:
                    variant = replace(
                        recipe.with_precision(name).with_recompute(recompute), training=way
                    )
                    try:
                        meter = predicted_step(
                            variant, epoch=first_epoch, objects=objects, gpus=gpus
                        )
                    except UserError as error:
                        if way.shard != "full" or training.shard == "full":
                            raise
                        refusals.append(str(error))  # a model that cannot be divided
                        continue
                    yield PlannedStep(
                        precision=name,
                        first_epoch=first_epoch,
                        recompute=recompute,
                        accumulates=way.accumulates,
                        shard=way.shard,
                        peak=meter.peak,
                        by_kind=meter.peak_by_kind,
                        by_module=meter.peak_by_module,
                    )


def _all_largest(
    recipe: TrainedRecipe, steps: tuple[PlannedStep, ...], gpu_memory: int, objects: int, gpus: int
) -> Iterator[Largest]:
    """For each precision the most samples a pass, and the largest images."""
    for name in planned_precisions(recipe):
        # The phase that holds the most.
        epoch = max((s.peak, s.first_epoch) for s in steps if s.precision == name)[1]
        budget = live_that_fits(name, gpu_memory)
        chosen = recipe.with_precision(name)

        def peak(sized: TrainedRecipe, epoch: int = epoch) -> int:
            return predicted_step(sized, epoch=epoch, objects=objects, gpus=gpus).peak

        for shared in chosen.sharing():
            yield most_samples(chosen, shared, peak, budget)
        if recipe.any_image_size:
            yield largest_image(chosen, peak, budget)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f}"
