"""The steps of a rehearsal: those that training would take, some of them under a ``RangeMeter``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from halftrack.frames import batches_of
from halftrack.precision.islands import Islands
from halftrack.recipes import TrainedRecipe, prepare_model
from halftrack.rehearsing.measured import MeasuredSteps, Why
from halftrack.studies.rehearsal.islands import islands_of
from halftrack.training import Batch, Learner, total_loss
from halftrack.training.loop import batch_seed
from halftrack.training.loop import steps as whole_steps
from halftrack.training.passes import Pass
from halftrack.training.placement import placed
from halftrack.training.skipped import SkippedSteps

__all__ = ["RehearsedRun"]

_CPU = torch.device("cpu")
_SEARCHED = 2  # steps of each rehearsal in a search for islands


class RehearsedRun:
    """Training's own steps, with a meter around some of them."""

    def __init__(
        self, recipe: TrainedRecipe, data_root: Path, out: Path, *, seed: int, every: int
    ) -> None:
        self._recipe, self._out, self._seed, self._every = recipe, out, seed, every
        self._source = recipe.training_source(data_root)

    def prepare(self, init: str | None, *, trust: bool, note: Callable[[str], None]) -> None:
        """Make the model and what moves it, as training does."""
        recipe, config = self._recipe, self._recipe.training
        model = prepare_model(recipe, seed=self._seed, init=init, trust=trust, say=note)
        model = placed(model, config, recipe.precision, _CPU)
        if init == "none":
            note("random weights: what trained ones do may differ; give some with --init")
            if _take_statistics(model, next(self._batches(1))):
                note(
                    "frozen batch norms have the statistics of the first batch, as without weights "
                    "they have none"
                )
        self._bare = copy.deepcopy(model)
        self._learner = Learner(
            model, config, recipe.precision, device=_CPU, batches_per_epoch=len(self._source)
        )
        self._learner.begin_epoch(0)
        self.measured = MeasuredSteps(model, recipe.precision, every=self._every)
        self._skips = SkippedSteps(
            model, precision=recipe.precision, device=_CPU, out=self._out, recipe={}, bundles=0
        )

    def take(self, steps: int) -> Iterator[int]:
        """Attempt so many steps; yields how many were attempted, after each."""
        config = self._recipe.training
        batches = enumerate(self._batches(steps * config.accumulate))
        seeded = ((batch, batch_seed(self._seed, 0, index)) for index, batch in batches)
        for step in whole_steps(seeded, config):
            self._step(step)
            yield len(self.measured.steps)

    def islands(self, loss_scale: float | None) -> Islands:
        """The smallest set that makes the first steps clean with the weights of now.

        Args:
            loss_scale: the one to use; the run's own if None.
        """
        # The search has a model that never had any islands.
        self._bare.load_state_dict(self._learner.model.state_dict())
        together = self._recipe.training.clips_per_pass
        one_pass = replace(self._recipe.training, accumulate=together)
        seeded = ((batch, 0) for batch in self._batches(_SEARCHED * together))
        return islands_of(
            self._recipe,
            (batch for step in whole_steps(seeded, one_pass) for batch, _ in step),
            steps=_SEARCHED,
            loss_scale=loss_scale or self._learner.loss_scale.value,
            model=self._bare,
        )

    def _step(self, passes: list[Pass]) -> None:
        scale, number = self._learner.loss_scale.value, len(self.measured.steps) + 1

        def why() -> Why:
            told = self._skips.explain(passes, loss_scale=scale, epoch=0, step=number)
            return told.sentence, told.culprit

        self.measured.attempt(
            loss_scale=scale,
            gradients=lambda: self._mean_losses(passes),
            step=self._learner.step,
            why=why,
        )

    def _mean_losses(self, passes: list[Pass]) -> dict[str, float]:
        """Add up the step's gradients; returns the means over its batches."""
        losses = [
            row
            for batch, seed in passes
            for row in [_numbers(self._learner.gradients(batch, seed))] * batches_of(batch)
        ]
        return {name: sum(row[name] for row in losses) / len(losses) for name in losses[0]}

    def _batches(self, stop: int) -> Iterator[Batch]:
        # A step takes so long that reading ahead would gain nothing, and Ctrl-C meets one process.
        for batch in self._source.batches(
            seed=self._seed, epoch=0, places=range(stop), workers=0, pin=False
        ):
            yield batch.to(_CPU)


def _numbers(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """The losses and their sum, which is trained."""
    told = {**losses, "loss": total_loss(losses)}
    return {name: float(value.detach()) for name, value in told.items()}


@torch.no_grad()
def _take_statistics(model: nn.Module, batch: Batch) -> int:
    """Fill frozen batch norms as trained weights would; returns how many there are.

    Without statistics they normalise nothing: a random SiamRPN++ R50, whose images are not
    normalised either, reaches 9,300 on synthetic video, and with them 32.
    """
    frozen = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and not m.training]
    momenta = [norm.momentum for norm in frozen]
    for norm in frozen:
        norm.train()
        norm.momentum = 1.0
    model(batch)
    for norm, momentum in zip(frozen, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
    return len(frozen)
