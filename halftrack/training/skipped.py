"""Skipped steps: a step whose gradients were not finite is explained and kept for replay.

None of this runs in a step that is taken.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from halftrack.frames import batches_of
from halftrack.precision import Culprit, Precision, find_culprit
from halftrack.training.batches import Batch
from halftrack.training.compilation import eagerly
from halftrack.training.files.bundle import ReplayBundle, write_bundle
from halftrack.training.files.checkpoint import code_versions
from halftrack.training.files.run_folder import keep_folder
from halftrack.training.learner import total_loss
from halftrack.training.passes import Pass
from halftrack.training.ranks import ALONE, Ranks

__all__ = ["Explanation", "SkippedSteps", "explain"]


@dataclass(frozen=True)
class Explanation:
    """Why a step was skipped."""

    culprit: Culprit | None
    """The first non-finite tensor; None if the step was finite when it was run again."""
    sentence: str
    """For people, with the command that runs the step again."""
    sample_ids: tuple[str, ...] = ()
    """All samples of the step."""
    by_rank: Mapping[int, Culprit] = field(default_factory=dict)
    """By rank what its batches held, where several processes shared the step."""

    def fields(self) -> dict[str, Any]:
        """The log's fields that say it."""
        culprit = None if self.culprit is None else self.culprit.to_dict()
        told: dict[str, Any] = {"sample_ids": list(self.sample_ids), "culprit": culprit}
        if self.by_rank:
            told["culprits"] = [{"rank": r} | each.to_dict() for r, each in self.by_rank.items()]
        return told


def explain(
    model: nn.Module,
    batches: Sequence[Batch],
    seeds: Sequence[int],
    *,
    precision: Precision,
    loss_scale: float,
    device: torch.device,
    processes: int = 1,
) -> Culprit | None:
    """Run a step of the loop again, exactly, and name its culprit; leaves the model as it is.

    Args:
        model: as it was before the step, on its device and in its mode.
        batches: of the step, in order, on the device.
        seeds: of the random numbers of each.
        precision: what the step computed in.
        loss_scale: the scale it used.
        device: where it computed.
        processes: how many took as many batches each in the step.
    """
    remaining = iter(seeds)
    taken = processes * sum(map(batches_of, batches))

    def losses(batch: Batch) -> dict[str, Tensor]:
        torch.manual_seed(next(remaining))
        passes, named = taken / batches_of(batch), model(batch)
        if "loss" in named:  # it would be taken for the sum of all
            return {"loss": total_loss(named) / passes}
        terms = {name: loss for name, loss in named.items() if name.startswith("loss")}
        return {name: loss / passes for name, loss in terms.items()}

    with eagerly(model):
        return find_culprit(
            model, batches, losses, precision=precision, loss_scale=loss_scale, device=device
        )


class SkippedSteps:
    """Explains the skipped steps of a run; the first ``bundles`` of them are kept for replay.

    Args:
        model: the run's module.
        precision: what it computes in.
        device: where.
        out: the run's folder; bundles go to ``skipped/step_N`` in it.
        recipe: plain values that say what is run.
        bundles: how many to keep; the step that ends a run is kept beyond that, unless it is 0.
        ranks: the processes that share each step.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        precision: Precision,
        device: torch.device,
        out: Path,
        recipe: Mapping[str, Any],
        bundles: int,
        ranks: Ranks = ALONE,
    ) -> None:
        self._model, self._precision, self._device = model, precision, device
        self._ranks = ranks
        self._folder, self._recipe, self._bundles = out / "skipped", dict(recipe), bundles

    def explain(
        self,
        step_batches: Sequence[Pass],
        *,
        loss_scale: float,
        epoch: int,
        step: int,
        last: bool = False,
    ) -> Explanation:
        """Name the culprit of a step, and write its bundle where there is room for one.

        Of processes that share the step each finds the culprit of its own batches; the first one
        writes the bundle of all.

        Args:
            step_batches: of this process, in order, with their seeds.
            loss_scale: the scale that the step used.
            epoch: 0-based.
            step: the attempt, 1-based.
            last: whether the run ends with it.
        """
        ranks = self._ranks
        own = explain(
            self._model,
            [batch for batch, _ in step_batches],
            [seed for _, seed in step_batches],
            precision=self._precision,
            loss_scale=loss_scale,
            device=self._device,
            processes=ranks.size,
        )
        names = tuple(name for batch, _ in step_batches for name in batch.sample_ids)
        told = ranks.gathered((own, names))
        found = {rank: culprit for rank, (culprit, _) in enumerate(told) if culprit is not None}
        first = next(iter(found.values()), None)
        said = "no cause found: its gradients were finite when it was run again"
        if ranks.size > 1:
            said = "; ".join(f"rank {rank}: {each}" for rank, each in found.items()) or said
        elif first is not None:
            said = str(first)
        if ranks.of_first(self._has_room(step, last=last)):
            parts = ranks.gathered_by_first(
                [(batch.to("cpu"), seed) for batch, seed in step_batches]
            )
            whole = [each for part in parts for each in part]
            said += ranks.first_does(
                lambda: self._keep(
                    whole, culprit=first, loss_scale=loss_scale, epoch=epoch, step=step
                )
            )
        everything = tuple(name for _, part in told for name in part)
        return Explanation(first, said, everything, by_rank=found if ranks.size > 1 else {})

    def _has_room(self, step: int, *, last: bool) -> bool:
        """True if a step's bundle is to be kept; ``last`` if the run ends with the step."""
        return self._bundles > 0 and (self._others(self._of(step)) < self._bundles or last)

    def _keep(
        self,
        step_batches: Sequence[Pass],
        *,
        culprit: Culprit | None,
        loss_scale: float,
        epoch: int,
        step: int,
    ) -> str:
        """Write a step's bundle; returns the end of the sentence that tells it.

        Raises:
            ValueError: if another process trains in the run's folder by now.
        """
        bundle = ReplayBundle(
            recipe=self._recipe,
            precision=self._precision,
            loss_scale=loss_scale,
            step=step,
            epoch=epoch,
            batches=tuple(batch for batch, _ in step_batches),
            seeds=tuple(seed for _, seed in step_batches),
            weights=self._model.state_dict(),
            device=str(self._device),
            culprit=culprit,
            versions=code_versions(),
        )
        try:
            keep_folder(self._folder.parent)
            write_bundle(bundle, self._of(step))
        except (TypeError, OSError) as error:  # a run goes on without it, but not silently
            return f"; no replay bundle: {error}"
        return f"; see it again: halftrack replay {shlex.quote(str(self._of(step)))}"

    def forget(self) -> None:
        """Delete the bundles that an earlier run left in the folder."""
        if self._ranks.is_first:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _of(self, step: int) -> Path:
        return self._folder / f"step_{step}"

    def _others(self, folder: Path) -> int:
        """Bundles kept beside this one; one half written is none."""
        found = [path for path in self._folder.glob("step_*") if path.suffix != ".partial"]
        return sum(path != folder for path in found)
