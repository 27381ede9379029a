"""Training steps and inference on synthetic video, timed part by part."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from halftrack.errors import UserError
from halftrack.frames import Clip, ClipBatch, CropBatch, FrameBatch, PairBatch
from halftrack.precision import StepReport
from halftrack.studies.bench.result import Benchmark, spreads
from halftrack.studies.memory.step_sizes import resized
from halftrack.training import Batch, Learner
from halftrack.training.compilation import check_compilation
from halftrack.training.loop import batch_seed
from halftrack.training.loop import steps as whole_steps
from halftrack.training.passes import Pass
from halftrack.training.placement import computation, placed

if TYPE_CHECKING:
    from halftrack.data import Progress
    from halftrack.recipes import TrainedRecipe

__all__ = ["bench"]

Seconds = dict[str, float]
"""Seconds of each part of a round, and of ``all`` of it."""
_OTHER = "between the layers"
FILM_SIZE = (720, 1280)
"""Height and width of the frames that are decoded."""
_FRAMES = 8  # the fewest of a synthetic video


def bench(
    recipe: TrainedRecipe,
    *,
    rounds: int = 5,
    warm_up: int = 1,
    image: str | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Time training steps and inference on synthetic video, with random weights.

    Frames of 720x1280 are decoded and resized to the recipe's own size in this process. The
    learning rate is 0, so that the weights stay as they are. Steps are those of the last of
    ``training.phases``, in which most is trained.

    Args:
        recipe: what is timed, in its precision.
        rounds: steps, and calls of inference, that count.
        warm_up: those before them, which do not.
        image: another image size, as ``resized`` takes it.
        device: where it computes; None for the CPU.
        progress: told (rounds done, rounds in all).

    Raises:
        ValueError: for a size that the recipe cannot have, for a recipe that has no synthetic
            video, and if ``training.compile`` asks for what cannot be had.
    """
    device = device or torch.device("cpu")
    check_compilation(recipe.training, recipe.precision, device)
    if recipe.synthetic_layout is None:
        raise UserError(f"there is no synthetic video for {recipe.name}: it cannot be timed")
    recipe = resized(recipe, image=image).reading_synthetic()
    count, clock = warm_up + rounds, _Clock(device)
    with tempfile.TemporaryDirectory() as folder:
        root = recipe.write_synthetic(Path(folder) / "data", seed=0, frames=_FRAMES, size=FILM_SIZE)
        recipe = recipe.settled(root)
        recipe = replace(recipe, training=replace(recipe.training, lr=0.0))
        config, precision = recipe.training, recipe.precision
        source = recipe.training_source(root)
        model = placed(recipe.build_model(), config, precision, device)
        learner = Learner(model, config, precision, device=device, batches_per_epoch=len(source))
        begun = [phase.first_epoch for phase in config.phases if phase.first_epoch < config.epochs]
        epoch = max(begun, default=0)
        learner.begin_epoch(epoch)
        batches = source.batches(
            seed=0, epoch=epoch, places=range(count * config.accumulate), workers=0, pin=False
        )
        seeded = ((each.to(device), batch_seed(0, epoch, k)) for k, each in enumerate(batches))
        steps, trained, skipped = whole_steps(seeded, config), list[Seconds](), list[bool]()
        for _ in range(count):
            seconds, passes, report = _step(learner, steps, clock)
            trained.append(seconds)
            skipped.append(report.skipped)
            if progress is not None:
                progress(len(trained), 2 * count)
    called = list[Seconds]()
    with precision.inference(device):
        call, frames = _inference(model.eval(), passes[0][0], recipe.test_references)
        while call is not None and len(called) < count:
            called.append(_call(model, call, clock))
            if progress is not None:
                progress(count + len(called), 2 * count)
    return Benchmark(
        recipe=recipe.name,
        computation=computation(model, config, precision, device),
        image=recipe.image_size,
        samples=sum(len(batch.sample_ids) for batch, _ in passes),
        frames=frames,
        references=recipe.test_references,
        epoch=epoch,
        skipped=sum(skipped[warm_up:]),
        warm_up=warm_up,
        training=spreads(trained[warm_up:]),
        inference=spreads(called[warm_up:]),
    )


class _Clock:
    """Seconds, read when the device has done what it was given."""

    def __init__(self, device: torch.device) -> None:
        self._waits = device.type != "cpu"

    def __call__(self) -> float:
        if self._waits:
            torch.accelerator.synchronize()
        return time.perf_counter()


def _step(
    learner: Learner, steps: Iterator[list[Pass]], clock: _Clock
) -> tuple[Seconds, list[Pass], StepReport]:
    """Time a step: its data, its passes one after the other, and the optimizer's step."""
    start = clock()
    passes = next(steps)
    seconds = {"data": clock() - start, "forward": 0.0, "backward": 0.0, "optimizer": 0.0}
    done = [0.0]

    def note(*_: object) -> None:
        done[0] = clock()

    handle = learner.model.register_forward_hook(note)
    for batch, seed in passes:
        began = clock()
        learner.gradients(batch, seed)
        seconds["forward"] += done[0] - began
        seconds["backward"] += clock() - done[0]
    handle.remove()
    began = clock()
    report = learner.step()
    seconds["optimizer"] = clock() - began
    return seconds | {"all": clock() - start}, passes, report


def _inference(
    model: Any, batch: Batch, references: int
) -> tuple[Callable[[], object] | None, int]:
    """A call of inference on what a batch shows, and its number of frames or crops.

    None for a batch of a kind that is not known here. A video has so many references, of which a
    training clip has a few: those come again.
    """
    match batch:
        case ClipBatch():
            return _inference(model, batch.clips[0], references)
        case Clip():
            model.start(list(islice(cycle(batch.references), references)))
            return lambda: model.detect(batch.key), 1
        case FrameBatch():
            return lambda: model.detect(batch.frames[0]), 1
        case CropBatch():
            return lambda: model(batch), len(batch.sample_ids)
        case PairBatch():
            embedding = model.embed(batch.templates[0])
            return lambda: model.compare(embedding, batch.searches[0]), 1
    return None, 0


def _call(model: nn.Module, call: Callable[[], object], clock: _Clock) -> Seconds:
    """Time a call by the model's parts; proposals, suppression and RoIs are between the layers."""
    with _parts_timed(model, clock) as seconds:
        start = clock()
        call()
        whole = clock() - start
    return {**seconds, _OTHER: whole - sum(seconds.values()), "all": whole}


@contextmanager
def _parts_timed(model: nn.Module, clock: _Clock) -> Iterator[Seconds]:
    """Gives the seconds of each part of a model, a child of it, whose modules are called."""
    seconds: Seconds = {}
    running: list[tuple[nn.Module, float]] = []
    # SELSA's parts are all in one child.
    (inner,) = children if len(children := list(model.children())) == 1 else (model,)
    handles = []
    for name, part in inner.named_children():

        def enter(module: nn.Module, _: object) -> None:
            if not running:
                running.append((module, clock()))

        def leave(module: nn.Module, _: object, __: object, name: str = name) -> None:
            if running[0][0] is module:
                seconds[name] = seconds.get(name, 0.0) + clock() - running.pop()[1]

        for module in part.modules():
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave))
    try:
        yield seconds
    finally:
        for handle in handles:
            handle.remove()
