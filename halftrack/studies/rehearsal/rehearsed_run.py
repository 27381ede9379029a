"""The steps of a rehearsal: those that training would take, some of them under a ``RangeMeter``."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from halftrack.precision import Culprit, NonFiniteGradientError, RangeMeter, Ranges, optimizer_step
from halftrack.precision.islands import Islands
from halftrack.recipes import TrainedRecipe, prepare_model
from halftrack.studies.rehearsal.islands import islands_of
from halftrack.training import Batch, total_loss
from halftrack.training.loop import clip_seed
from halftrack.training.optimiser import apply_phases
from halftrack.training.run import Run, placed

__all__ = ["RehearsedRun", "RehearsedStep"]

_CPU = torch.device("cpu")
_SEARCHED = 2  # steps of each rehearsal in a search for islands


@dataclass(frozen=True, kw_only=True)
class RehearsedStep:
    """One attempted step."""

    losses: dict[str, float]
    """Means over its clips of what the model returned, and ``loss``, the sum that is trained."""
    grad_norm: float
    """L2 norm of the unscaled gradients, before clipping."""
    loss_scale: float
    """The scale its gradients were made with."""
    skipped: bool
    """True if no weight moved."""
    why: str | None = None
    """Of a skipped step, the cause in words."""
    culprit: Culprit | None = None
    """Its first non-finite tensor; None also if it was finite when it was run again."""


class RehearsedRun:
    """The walk of ``halftrack.training.train``, with a meter around some steps."""

    def __init__(
        self, recipe: TrainedRecipe, data_root: Path, out: Path, *, seed: int, every: int
    ) -> None:
        self._recipe, self._out, self._seed, self._every = recipe, out, seed, every
        self._source = recipe.training_source(data_root)
        self._next_sample = 1
        self.steps: list[RehearsedStep] = []
        self.sampled: list[int] = []
        self.ranges = Ranges()

    def prepare(self, init: str | None, *, trust: bool, note: Callable[[str], None]) -> None:
        """Make the model and what moves it, as training does."""
        recipe = self._recipe
        # Nobody replays a rehearsal.
        config = replace(recipe.training, replay_bundles=0)
        model = prepare_model(recipe, seed=self._seed, init=init, trust=trust, say=note)
        model = placed(model, config, _CPU)
        if init == "none":
            note("random weights: what trained ones do may differ; give some with --init")
            if _take_statistics(model, self._first_clip()):
                note(
                    "frozen batch norms have the statistics of the first clip, as without weights "
                    "they have none"
                )
        self._bare = copy.deepcopy(model)
        recipe.precision.keep_in_fp32(model)
        self._run = Run(
            model=model,
            clips=len(self._source),
            config=config,
            precision=recipe.precision,
            out=self._out,
            device=_CPU,
            seed=self._seed,
            recipe={},
        )
        apply_phases(model, config.phases, 0)

    def take(self, steps: int) -> Iterator[int]:
        """Attempt so many steps; yields how many were attempted, after each."""
        accumulate = self._run.config.accumulate
        clips: list[tuple[Batch, int]] = []
        batches = self._batches(steps * accumulate)
        for index, clip in enumerate(batches):
            clips.append((clip, clip_seed(self._seed, 0, index)))
            if len(clips) == accumulate:
                self._step(clips)
                clips = []
                yield len(self.steps)

    def islands(self, loss_scale: float | None) -> Islands:
        """The smallest set that makes the first steps clean with the weights of now.

        Args:
            loss_scale: the one to use; the run's own if None.
        """
        # Islands cannot be unmade or copied: the search has a model that never had any.
        self._bare.load_state_dict(self._run.model.state_dict())
        return islands_of(
            self._recipe,
            self._batches(_SEARCHED),
            steps=_SEARCHED,
            loss_scale=loss_scale or self._run.loss_scale.value,
            model=self._bare,
        )

    def _step(self, clips: list[tuple[Batch, int]]) -> None:
        run, number = self._run, len(self.steps) + 1
        scale = run.loss_scale.value
        meter = None
        if number >= self._next_sample:
            meter = RangeMeter(run.model, loss_scale=scale)
        with meter or nullcontext():
            losses = [self._learn(clip, seed) for clip, seed in clips]
        means = {name: sum(row[name] for row in losses) / len(losses) for name in losses[0]}
        try:
            with meter.updates() if meter else nullcontext():
                report = optimizer_step(
                    [run.optimizer], run.loss_scale, max_grad_norm=run.config.max_grad_norm
                )
        except NonFiniteGradientError:
            self._skip(clips, means, math.nan, scale)
            self._keep(meter, number, taken=False)
            raise
        if report.skipped:
            self._skip(clips, means, report.grad_norm, scale)
        else:
            run.schedule.step()
            run.statistics.keep()
            step = RehearsedStep(
                losses=means, grad_norm=report.grad_norm, loss_scale=scale, skipped=False
            )
            self.steps.append(step)
        self._keep(meter, number, taken=not report.skipped)

    def _learn(self, clip: Batch, seed: int) -> dict[str, float]:
        """Forward and backward of one clip; its losses."""
        run, precision = self._run, self._recipe.precision
        torch.manual_seed(seed)
        with precision.arithmetic(_CPU):
            with precision.autocast(_CPU):
                losses = run.model(clip)
            loss = total_loss(losses)
            run.loss_scale.scale(loss / run.config.accumulate).backward()
        told = {**losses, "loss": loss}
        return {name: float(value.detach()) for name, value in told.items()}

    def _skip(
        self, clips: list[tuple[Batch, int]], losses: dict[str, float], norm: float, scale: float
    ) -> None:
        """What training does with a skipped step, and its cause."""
        run = self._run
        run.statistics.put_back()
        why = run.skips.explain(clips, loss_scale=scale, epoch=0, step=len(self.steps) + 1)
        self.steps.append(
            RehearsedStep(
                losses=losses,
                grad_norm=norm,
                loss_scale=scale,
                skipped=True,
                why=why.sentence,
                culprit=why.culprit,
            )
        )

    def _keep(self, meter: RangeMeter | None, number: int, *, taken: bool) -> None:
        """Add what a meter saw; of a skipped step its activations, and the next one is measured."""
        if meter is None:
            return
        self.sampled.append(number)
        seen = meter.ranges
        if taken and not any(each.nonfinite for each in seen.gradients.values()):
            self._next_sample = number + self._every
        else:
            # Infinite gradients tell nothing of another loss scale.
            seen = Ranges(activations=seen.activations)
        self.ranges += seen

    def _first_clip(self) -> Batch:
        return next(self._batches(1))

    def _batches(self, stop: int) -> Iterator[Batch]:
        # A step takes so long that reading ahead would gain nothing, and Ctrl-C meets one process.
        return self._source.batches(
            seed=self._seed, epoch=0, start=0, stop=stop, workers=0, pin=False
        )


@torch.no_grad()
def _take_statistics(model: nn.Module, clip: Batch) -> int:
    """Fill frozen batch norms as trained weights would; returns how many there are.

    Without statistics they normalise nothing: a random SiamRPN++ R50, whose images are not
    normalised either, reaches 9,300 on synthetic video, and with them 32.
    """
    frozen = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and not m.training]
    momenta = [norm.momentum for norm in frozen]
    for norm in frozen:
        norm.train()
        norm.momentum = 1.0
    model(clip)
    for norm, momentum in zip(frozen, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
    return len(frozen)
