"""What a run carries from step to step, and how it is begun, saved, evaluated and ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from halftrack.errors import UserError
from halftrack.precision import NonFiniteGradientError, Precision
from halftrack.training.batches import Batch
from halftrack.training.checkpoint import (
    code_versions,
    newest_checkpoint,
    prune,
    write_checkpoint,
)
from halftrack.training.config import TrainingConfig
from halftrack.training.log import RunLog
from halftrack.training.optimiser import (
    BatchStatistics,
    StepSchedule,
    WeightAverage,
    build_sgd,
    scaled_rate,
)
from halftrack.training.skipped import SkippedSteps

__all__ = ["Run", "TrainingResult", "check_same_run", "placed"]

# What a resumed run may change, at any depth of its recipe: no weight depends on it.
# ``on_bad_sample`` is among them for the run that stopped at a bad file.
_FREE = frozenset(
    {
        "workers",
        "log_every",
        "checkpoint_every",
        "keep_checkpoints",
        "replay_bundles",
        "on_bad_sample",
        "cache_mb",
    }
)


@dataclass(kw_only=True)
class TrainingResult:
    """How a run ended."""

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


def placed(model: nn.Module, config: TrainingConfig, device: torch.device) -> nn.Module:
    """The model on its device, in the memory layout it trains in, and in training mode."""
    layout = torch.channels_last if config.channels_last else torch.preserve_format
    moved: nn.Module = model.to(device, memory_format=layout)  # type: ignore[call-overload]
    return moved.train()


class Run:
    """The mutable state of one training run; ``train`` in loop.py moves it.

    Args:
        model: the module, already on its device.
        clips: samples in the training set.
        config: how the run is to be trained.
        precision: what it computes in.
        out: the folder of its log and checkpoints.
        device: where it computes.
        seed: the origin of all randomness.
        recipe: plain values that say what was run; a resume must bring the same.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        clips: int,
        config: TrainingConfig,
        precision: Precision,
        out: Path,
        device: torch.device,
        seed: int,
        recipe: Mapping[str, Any],
    ) -> None:
        if clips < 1:
            raise UserError("the training set is empty")
        self.model, self.config, self.precision = model, config, precision
        self._out, self._seed, self._recipe, self._device = out, seed, dict(recipe), device
        steps_per_epoch = math.ceil(clips / config.accumulate)
        self.clips_per_epoch = steps_per_epoch * config.accumulate
        lr = config.lr
        if config.scale_lr:
            lr = scaled_rate(
                lr,
                batches_per_step=config.accumulate,
                published_batches_per_step=config.published_batches_per_step,
            )
        self.optimizer = build_sgd(
            model,
            lr=lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            slower=dict(config.lr_factors),
        )
        self.schedule = StepSchedule(
            [self.optimizer],
            steps_per_epoch=steps_per_epoch,
            milestones=config.milestones,
            gamma=config.gamma,
            warmup_steps=config.warmup_steps,
            warmup_ratio=config.warmup_ratio,
            ramps=config.ramps,
        )
        self.loss_scale = precision.new_loss_scale()
        self.average = WeightAverage(model, decay=config.ema_decay)
        self.statistics = BatchStatistics(model)
        self.skips = SkippedSteps(
            model,
            precision=precision,
            device=device,
            out=out,
            recipe=recipe,
            bundles=config.replay_bundles,
        )
        self.clips_done = 0
        self.epochs_finished = 0
        self.result = TrainingResult()
        self.log = RunLog(
            out / "log.jsonl",
            every=config.log_every,
            device=device,
            total_steps=steps_per_epoch * config.epochs,
        )
        self._lr_rule = (
            f"learning rate {lr:g} = {config.lr:g} for {config.published_batches_per_step} "
            f"batches a step, {'' if config.scale_lr else 'NOT '}scaled to {config.accumulate}"
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
        if any(self._out.glob("step_*.pth")):
            raise UserError(
                f"{self._out} already holds a run: resume it (--resume) or choose another folder"
            )
        self.skips.forget()
        self.log.load_state_dict({"position": 0, "losses": [], "skipped": 0})
        self.log.note(
            mode="meta",
            recipe=self._recipe,
            seed=self._seed,
            device=str(self._device),
            versions=code_versions(),
            lr_rule=self._lr_rule,
        )
        self.log.say(self._lr_rule)

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
        with self.average.swapped_in(self.model) as model:
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
        self.model.train()
        self.result.metrics = metrics
        self.log.note(
            mode="val",
            epoch=self.epochs_finished + 1,
            iter=self.clips_per_epoch // self.config.accumulate,
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

    def explain_stop(
        self, error: NonFiniteGradientError, clips: Sequence[tuple[Batch, int]], *, epoch: int
    ) -> None:
        """Log why a step ends the run, and say so in the error."""
        self.statistics.put_back()
        scale, step = self.loss_scale.value, self.result.steps + 1
        why = self.skips.explain(clips, loss_scale=scale, epoch=epoch, step=step, last=True)
        self.log.note(
            mode="stop",
            epoch=epoch + 1,
            step=step,
            loss_scale=scale,
            sample_ids=[name for batch, _ in clips for name in batch.sample_ids],
            culprit=why.culprit and why.culprit.to_dict(),
        )
        error.add_note(why.sentence)

    def _meta(self) -> dict[str, Any]:
        return {
            "recipe": self._recipe,
            "seed": self._seed,
            "versions": code_versions(),
            "epoch": self.epochs_finished,
            "iter": self.result.steps,
        }

    def _state(self) -> dict[str, Any]:
        return {
            "meta": self._meta(),
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "loss_scale": self.loss_scale.state_dict(),
            "average": self.average.state_dict(),
            "log": self.log.state_dict(),
            "position": {
                "clips_done": self.clips_done,
                "epochs_finished": self.epochs_finished,
                "steps": self.result.steps,
                "skipped": self.result.skipped,
                "best": self.result.best,
                "metrics": self.result.metrics,
            },
        }

    def _restore(self, path: Path, state: Mapping[str, Any]) -> None:
        check_same_run(path, state["meta"], recipe=self._recipe, seed=self._seed)
        self.model.load_state_dict(state["state_dict"])
        self.statistics.keep()
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.loss_scale.load_state_dict(state["loss_scale"])
        self.average.load_state_dict(state["average"])
        self.log.load_state_dict(state["log"])
        position = state["position"]
        self.clips_done = position["clips_done"]
        self.epochs_finished = position["epochs_finished"]
        self.result.steps, self.result.skipped = position["steps"], position["skipped"]
        self.result.best, self.result.checkpoint = position["best"], path
        self.result.loss_scale = self.loss_scale.value
        self.result.metrics = position["metrics"]


def check_same_run(
    path: Path, meta: Mapping[str, Any], *, recipe: Mapping[str, Any], seed: int
) -> None:
    """Make sure that a file is of the run at hand; what cannot change a weight may differ.

    Args:
        path: the checkpoint or log, for the error.
        meta: what it says of its run.
        recipe: plain values that say what is run now.
        seed: of the run now.

    Raises:
        ValueError: if it is of another recipe or seed; names the first field that differs.
    """
    if meta["seed"] != seed:
        raise UserError(f"{path} was trained with seed {meta['seed']}, this run has {seed}")
    was, now = _numerical(meta["recipe"]), _numerical(recipe)
    for name in sorted(set(was) | set(now)):
        if was.get(name) != now.get(name):
            raise UserError(
                f"{path} is of another recipe: {name} was {was.get(name)!r}, now {now.get(name)!r}"
            )


def _numerical(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe without what cannot change a weight."""
    return {
        name: _numerical(value) if isinstance(value, Mapping) else value
        for name, value in recipe.items()
        if name not in _FREE
    }
