"""A training run: how it is begun, recorded, saved, evaluated and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch import nn

from halftrack.errors import UserError
from halftrack.precision import NonFiniteGradientError, StepReport
from halftrack.training.compilation import Compilations
from halftrack.training.config import TrainingConfig
from halftrack.training.continuation import Continuation
from halftrack.training.files.checkpoint import NewestCheckpoint, code_versions, newest_checkpoint
from halftrack.training.files.run_files import RunFiles
from halftrack.training.learner import Learner
from halftrack.training.passes import Pass
from halftrack.training.placement import computation
from halftrack.training.processes.distributed import new_log
from halftrack.training.result import TrainingResult
from halftrack.training.same_run import (
    EPOCH,
    SCORED,
    DataFacts,
    FreeFields,
    batches_done,
    check_same_data,
    check_same_run,
    check_unused,
)
from halftrack.training.skipped import Explanation, SkippedSteps

__all__ = ["Run", "TrainingResult"]


class Run:
    """A training run around its learner: how far it is, its log, checkpoints and evaluations.

    Args:
        learner: moves the weights.
        config: the recipe's training settings.
        out: the folder of its log and checkpoints.
        seed: the origin of all randomness.
        recipe: plain values that say what is run; a resume must bring the same.
        free: fields among them that a resume may change.
        init: the file or the word that the first weights came from, for the log.
        data: what is learned from; a resume must bring the same.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        config: TrainingConfig,
        out: Path,
        seed: int,
        recipe: Mapping[str, Any] | None,
        free: FreeFields,
        init: str,
        data: DataFacts | None,
    ) -> None:
        self.learner, self.config, ranks = learner, config, learner.ranks
        self._compilations = Compilations(learner.model)
        self._out, self._seed = out, seed
        ranks.first_does(lambda: out.mkdir(parents=True, exist_ok=True))
        self._recipe, self._free, self._init = dict(recipe or {}), free, init
        self.skips = SkippedSteps(
            learner.model,
            precision=learner.precision,
            device=learner.device,
            out=out,
            recipe=self._recipe,
            bundles=config.replay_bundles,
            ranks=ranks,
        )
        self.batches_per_epoch = learner.steps_per_epoch * config.accumulate
        self._data = {EPOCH: {"batches": self.batches_per_epoch}, **(data or {})}
        self.batches_done = 0
        self.result = TrainingResult()
        self.log = new_log(
            ranks,
            out / "log.jsonl",
            every=config.log_every,
            device=learner.device,
            total_steps=learner.steps_per_epoch * config.epochs,
        )
        self.files = RunFiles(out, config, say=self.log.say, sync=self.log.sync, ranks=ranks)

    def __enter__(self) -> Self:
        self.log.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.files.close()
            if error[0] is None:
                self.learner.end()
            self.result.checkpoint, self.result.best = self.files.newest, self.files.best
        finally:
            self.log.__exit__(*error)

    def begin(
        self,
        *,
        resume: bool | NewestCheckpoint,
        data_changed: bool = False,
        start: Continuation | None = None,
    ) -> None:
        """Start afresh, or take the newest intact checkpoint of the folder over.

        Args:
            resume: go on from the checkpoint, which may have been read already.
            data_changed: with other data too, from the start of the epoch.
            start: another program's run that a new one goes on from.

        Raises:
            FileNotFoundError: ``resume`` and no intact checkpoint.
            ValueError: the checkpoint is of another recipe, seed or other data, or the folder
                already holds a run.
        """
        learner, ranks = self.learner, self.learner.ranks
        self.files.clear_partial()
        computes = computation(learner.model, self.config, learner.precision, learner.device, ranks)
        if resume is not False:
            newest = newest_checkpoint(self._out, ranks) if resume is True else resume
            self._go_on(newest, computes, data_changed=data_changed)
            return
        ranks.first_does(lambda: check_unused(self._out))
        self.skips.forget()
        self.log.load_state_dict({"position": 0, "losses": [], "skipped": 0})
        continued = start.begin(self) if start is not None else []
        self.log.note(
            mode="meta",
            recipe=self._recipe,
            seed=self._seed,
            init=self._init,
            device=str(self.learner.device),
            computes=computes,
            versions=code_versions(),
            lr_rule=self.config.lr_rule,
            steps=self.learner.steps_per_epoch * self.config.epochs,
        )
        for line in (computes, self.config.lr_rule, *continued):
            self.log.say(line)

    def _go_on(self, newest: NewestCheckpoint, computes: str, *, data_changed: bool) -> None:
        """Take a checkpoint over, and empty it."""
        path, state, torn = newest
        for reason in torn.values():
            self.log.say(f"passed over: {reason}")
        changes = check_same_data(path, state, self._data, may_change=data_changed)
        self._restore(path, state)
        for damaged in torn:  # under its name it would count among the files to keep
            damaged.rename(f"{damaged}.torn")
        if self.result.epochs_finished >= self.config.epochs:
            self.log.say(self.result.nothing_left())
        else:
            if "data" not in state["meta"]:
                self.log.say("that file is of an earlier version and does not name its data")
            self.log.say(f"resumed from {path} at step {self.result.steps}; {computes}")
            if changes:
                self._restart_epoch(state, changes)
            elif data_changed:
                self.log.say("the data are those of the checkpoint: nothing is done anew")
        state.clear()  # or whoever read it would hold it in memory as long as the run

    def save(self) -> None:
        """Begin to write a checkpoint; see ``RunFiles.save``."""
        self.files.save(self.result.steps, self._state)

    def finish_epoch(self, evaluate: Callable[[nn.Module], dict[str, float]] | None) -> None:
        """Save, evaluate where that is due, and save the score with it."""
        self.save()
        self._compilations.tell(self.log.say, epoch=self.result.epochs_finished)
        epoch = self.result.epochs_finished + 1
        if evaluate and (epoch % self.config.evaluate_every == 0 or epoch == self.config.epochs):
            self.evaluate(evaluate)
        self.result.epochs_finished = epoch
        if epoch == self.config.epochs:
            self.files.save_last(self.result.steps, self._state)

    def evaluate(self, evaluate: Callable[[nn.Module], dict[str, float]]) -> None:
        """Score the (averaged) weights and keep them as ``best.pth`` if none before were better."""
        learner, epoch = self.learner, self.result.epochs_finished + 1
        with learner.whole_weights(), learner.average.swapped_in(learner.model) as model:
            # numpy scalars would make the checkpoint unreadable without pickle.
            metrics = {name: float(value) for name, value in evaluate(model.eval()).items()}
            score = metrics.get(self.config.best_metric)
            if score is None:
                raise UserError(
                    f"training.best_metric {self.config.best_metric!r} is not measured; "
                    f"measured are {sorted(metrics)}"
                )
            # A NaN score is never the best: nothing compares greater than it ever after.
            best = learner.ranks.of_first(self.files.best)
            if score == score and (best is None or score > best):
                meta = self._meta() | {"metrics": metrics}
                self.files.save_best(score, {"meta": meta, "state_dict": model.state_dict()})
        learner.model.train()
        self.result.metrics = metrics
        self.log.note(
            mode="val",
            epoch=epoch,
            iter=learner.steps_per_epoch,
            step=self.result.steps,
            **metrics,
        )
        self.log.say(f"epoch {epoch}: {self.config.best_metric} {score:.4f}")

    def stop(self, signal_number: int) -> TrainingResult:
        """Save and end early, as a signal asked for."""
        self.files.save_last(self.result.steps, self._state)
        self.result.interrupted = signal_number
        self.log.say(
            f"stopped by signal {signal_number}; the same command goes on from {self.files.newest}"
        )
        return self.result

    def explain(self, report: StepReport, batches: Sequence[Pass], *, epoch: int) -> Explanation:
        """The cause of the step just skipped.

        Args:
            report: of the step.
            batches: of the step, in order, with their seeds.
            epoch: 0-based.
        """
        with self.learner.whole_weights():
            return self.skips.explain(
                batches, loss_scale=report.loss_scale, epoch=epoch, step=self.result.steps
            )

    def explain_stop(
        self, error: NonFiniteGradientError, batches: Sequence[Pass], *, epoch: int
    ) -> None:
        """Log why a step ends the run, and say so in the error."""
        scale, step = self.learner.loss_scale.value, self.result.steps + 1
        with self.learner.whole_weights():
            why = self.skips.explain(batches, loss_scale=scale, epoch=epoch, step=step, last=True)
        self.log.note(mode="stop", epoch=epoch + 1, step=step, loss_scale=scale, **why.fields())
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
            "epoch": self.result.epochs_finished,
            "iter": self.result.steps,
            "data": self._data,
        }

    def _state(self) -> dict[str, Any]:
        return {
            "meta": self._meta(),
            **self.learner.state_dict(),
            "log": self.log.state_dict(),
            "position": {
                "batches_done": self.batches_done,
                "epochs_finished": self.result.epochs_finished,
                "steps": self.result.steps,
                "skipped": self.result.skipped,
                "best": self.files.best,
                "metrics": self.result.metrics,
            },
        }

    def _restore(self, path: Path, state: Mapping[str, Any]) -> None:
        meta = state["meta"]
        check_same_run(path, meta, recipe=self._recipe, seed=self._seed, free=self._free)
        self._init = meta.get("init", "not recorded")
        try:
            self.learner.load_state_dict(state)
        except UserError:
            raise
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{path} does not fit this run: {reason}") from error
        self.log.load_state_dict(state["log"])
        self.batches_done = batches_done(state["position"])
        self.result = TrainingResult.of_checkpoint(path, state)
        self.files.best, self.files.newest = self.result.best, path
        before = meta["recipe"].get("training", {}).get("best_metric", self.config.best_metric)
        if before != self.config.best_metric:
            self._forget_best(f"was by {before}")
        if self.files.best is not None and not self.learner.ranks.of_first(self.files.has_best):
            self._forget_best("was in best.pth, which is gone")

    def _forget_best(self, why: str) -> None:
        self.files.best = None
        self.log.say(f"the best so far {why}: it counts no more")

    def _restart_epoch(self, state: Mapping[str, Any], changes: Sequence[str]) -> None:
        """Go on with other data at the start of the epoch, which may be of another length."""
        learner, length = self.learner, self.learner.steps_per_epoch
        if any(line.startswith(SCORED) for line in changes):
            self._forget_best("was on other validation data")
        was = state["meta"].get("data", {}).get(EPOCH, {}).get("batches")
        complete = was is not None and self.batches_done == (self.result.epochs_finished + 1) * was
        begun = self.result.epochs_finished + complete
        self.batches_done = begun * self.batches_per_epoch
        # Milestones are counted in steps of the new length.
        taken = {"taken_steps": begun * length}
        learner.schedule.load_state_dict(learner.schedule.state_dict() | taken)
        total = self.result.steps + (self.config.epochs - begun) * length
        self.log.expect(total)
        self.log.note(
            mode="data",
            epoch=begun + 1,
            step=self.result.steps,
            steps=total,
            changes=list(changes),
        )
        self.log.say(f"the data have changed: {'; '.join(changes)}")
        self.log.say(f"epoch {begun + 1} begins anew with them, {length} steps long")
