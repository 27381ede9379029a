"""A training run: how it is begun, recorded, saved, evaluated and ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from halftrack.errors import UserError
from halftrack.precision import NonFiniteGradientError, StepReport
from halftrack.training.batches import Batch
from halftrack.training.checkpoint import (
    code_versions,
    newest_checkpoint,
    prune,
    write_checkpoint,
)
from halftrack.training.config import TrainingConfig
from halftrack.training.learner import Learner
from halftrack.training.log import RunLog
from halftrack.training.same_run import check_same_run, check_unused
from halftrack.training.skipped import Explanation, SkippedSteps

__all__ = ["Run", "TrainingResult"]


@dataclass(kw_only=True)
class TrainingResult:
    """Result of a run."""

    steps: int = 0
    """Attempted steps, those before a resume included."""
    skipped: int = 0
    """Steps skipped because a gradient was not finite."""
    loss_scale: float = 1.0
    """The loss scale at the end."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The last evaluation."""
    best: float | None = None
    """The best value of ``best_metric``."""
    checkpoint: Path | None = None
    """The newest checkpoint."""
    interrupted: int | None = None
    """The signal that ended the run early, None if it ran to its end."""


class Run:
    """A training run around its learner: how far it is, its log, checkpoints and evaluations.

    Args:
        learner: moves the weights.
        config: the recipe's training settings.
        out: the folder of its log and checkpoints.
        seed: the origin of all randomness.
        recipe: plain values that say what is run; a resume must bring the same.
        free: dotted paths of fields among them that a resume may change.
        init: the file or the word that the first weights came from, for the log.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        config: TrainingConfig,
        out: Path,
        seed: int,
        recipe: Mapping[str, Any],
        free: Collection[str],
        init: str,
    ) -> None:
        self.learner, self.config = learner, config
        self._out, self._seed = out, seed
        self._recipe, self._free, self._init = dict(recipe), free, init
        self.skips = SkippedSteps(
            learner.model,
            precision=learner.precision,
            device=learner.device,
            out=out,
            recipe=recipe,
            bundles=config.replay_bundles,
        )
        self.batches_per_epoch = learner.steps_per_epoch * config.accumulate
        self.batches_done = 0
        self.epochs_finished = 0
        self.result = TrainingResult()
        self.log = RunLog(
            out / "log.jsonl",
            every=config.log_every,
            device=learner.device,
            total_steps=learner.steps_per_epoch * config.epochs,
        )

    def begin(self, *, resume: bool) -> None:
        """Start afresh, or take the newest intact checkpoint of the folder over.

        Raises:
            FileNotFoundError: ``resume`` and no intact checkpoint.
            ValueError: the checkpoint is of another recipe or seed, or the folder already holds a
            run.
        """
        if resume:
            path, state, torn = newest_checkpoint(self._out)
            for line in torn:
                self.log.say(f"passed over: {line}")
            self._restore(path, state)
            self.log.say(f"resumed from {path} at step {self.result.steps}")
            return
        check_unused(self._out)
        self.skips.forget()
        self.log.load_state_dict({"position": 0, "losses": [], "skipped": 0})
        config = self.config
        lr_rule = (
            f"learning rate {config.scaled_lr:g} = {config.lr:g} for "
            f"{config.published_batches_per_step} batches a step, "
            f"{'' if config.scale_lr else 'NOT '}scaled to {config.accumulate}"
        )
        self.log.note(
            mode="meta",
            recipe=self._recipe,
            seed=self._seed,
            init=self._init,
            device=str(self.learner.device),
            versions=code_versions(),
            lr_rule=lr_rule,
        )
        self.log.say(lr_rule)

    def save(self) -> None:
        """Write ``step_N.pth`` and delete the oldest beyond ``keep_checkpoints``."""
        path = self._out / f"step_{self.result.steps}.pth"
        write_checkpoint(path, self._state())
        self.result.checkpoint = path
        prune(self._out, keep=self.config.keep_checkpoints, written=path)

    def finish_epoch(self, evaluate: Callable[[nn.Module], dict[str, float]] | None) -> None:
        """Save, evaluate where that is due, and save the score with it."""
        self.save()
        epoch = self.epochs_finished + 1
        if evaluate and (epoch % self.config.evaluate_every == 0 or epoch == self.config.epochs):
            self.evaluate(evaluate)
        self.epochs_finished = epoch
        if epoch == self.config.epochs:
            self.save()

    def evaluate(self, evaluate: Callable[[nn.Module], dict[str, float]]) -> None:
        """Score the (averaged) weights and keep them as ``best.pth`` if none before were better."""
        with self.learner.average.swapped_in(self.learner.model) as model:
            # numpy scalars would make the checkpoint unreadable without pickle.
            metrics = {name: float(value) for name, value in evaluate(model.eval()).items()}
            score = metrics.get(self.config.best_metric)
            if score is None:
                raise UserError(
                    f"training.best_metric {self.config.best_metric!r} is not measured; "
                    f"measured are {sorted(metrics)}"
                )
            # A NaN score is never the best: nothing compares greater than it ever after.
            if score == score and (self.result.best is None or score > self.result.best):
                self.result.best = score
                write_checkpoint(
                    self._out / "best.pth",
                    {
                        "meta": self._meta() | {"metrics": metrics},
                        "state_dict": model.state_dict(),
                    },
                )
        self.learner.model.train()
        self.result.metrics = metrics
        self.log.note(
            mode="val",
            epoch=self.epochs_finished + 1,
            iter=self.learner.steps_per_epoch,
            step=self.result.steps,
            **metrics,
        )
        self.log.say(f"epoch {self.epochs_finished + 1}: {self.config.best_metric} {score:.4f}")

    def stop(self, signal_number: int) -> TrainingResult:
        """Save and end early, as a signal asked for."""
        self.save()
        self.result.interrupted = signal_number
        self.log.say(
            f"stopped by signal {signal_number}; go on with --resume from {self.result.checkpoint}"
        )
        return self.result

    def explain(
        self, report: StepReport, batches: Sequence[tuple[Batch, int]], *, epoch: int
    ) -> Explanation:
        """The cause of the step just skipped.

        Args:
            report: of the step.
            batches: of the step, in order, with their seeds.
            epoch: 0-based.
        """
        return self.skips.explain(
            batches, loss_scale=report.loss_scale, epoch=epoch, step=self.result.steps
        )

    def explain_stop(
        self, error: NonFiniteGradientError, batches: Sequence[tuple[Batch, int]], *, epoch: int
    ) -> None:
        """Log why a step ends the run, and say so in the error."""
        scale, step = self.learner.loss_scale.value, self.result.steps + 1
        why = self.skips.explain(batches, loss_scale=scale, epoch=epoch, step=step, last=True)
        self.log.note(
            mode="stop",
            epoch=epoch + 1,
            step=step,
            loss_scale=scale,
            sample_ids=[name for batch, _ in batches for name in batch.sample_ids],
            culprit=why.culprit and why.culprit.to_dict(),
        )
        if why.culprit is not None and why.culprit.operation == "target":
            # The data are at fault: advice on learning rate and precision would mislead.
            error.args = (f"the gradients of step {step} are not finite: {why.culprit}",)
        error.add_note(why.sentence)

    def _meta(self) -> dict[str, Any]:
        return {
            "recipe": self._recipe,
            "seed": self._seed,
            "init": self._init,
            "versions": code_versions(),
            "epoch": self.epochs_finished,
            "iter": self.result.steps,
        }

    def _state(self) -> dict[str, Any]:
        return {
            "meta": self._meta(),
            **self.learner.state_dict(),
            "log": self.log.state_dict(),
            "position": {
                "batches_done": self.batches_done,
                "epochs_finished": self.epochs_finished,
                "steps": self.result.steps,
                "skipped": self.result.skipped,
                "best": self.result.best,
                "metrics": self.result.metrics,
            },
        }

    def _restore(self, path: Path, state: Mapping[str, Any]) -> None:
        meta, position = state["meta"], state["position"]
        check_same_run(path, meta, recipe=self._recipe, seed=self._seed, free=self._free)
        self._init = meta.get("init", "not recorded")
        self.learner.load_state_dict(state)
        self.log.load_state_dict(state["log"])
        # Earlier versions called a batch a clip.
        done = "batches_done" if "batches_done" in position else "clips_done"
        self.batches_done = position[done]
        self.epochs_finished = position["epochs_finished"]
        self.result.steps, self.result.skipped = position["steps"], position["skipped"]
        self.result.best, self.result.checkpoint = position["best"], path
        self.result.loss_scale = self.learner.loss_scale.value
        self.result.metrics = position["metrics"]
