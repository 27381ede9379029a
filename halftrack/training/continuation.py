"""Training that goes on from another program's run: its weights, optimizer state and loss scale.

Whoever reads the other program's file hands in plain values by parameter name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from halftrack.bounds import shown
from halftrack.errors import UserError
from halftrack.precision.loss_scale import scale_words
from halftrack.training.files.weights import check_complete, fill_weights
from halftrack.training.learner import Learner

if TYPE_CHECKING:
    from halftrack.training.config import TrainingConfig
    from halftrack.training.run import Run

__all__ = ["Continuation"]

_SHARED = ("momentum", "dampening", "weight_decay", "nesterov")


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """State of another program's run, at the end of an epoch."""

    file: Path
    """The file it was read from, for messages."""
    weights: Mapping[str, Tensor]
    """The model's state dict."""
    epochs_finished: int
    """Epochs the run has finished."""
    steps: int
    """Steps the run has taken, for a message: epochs may have another length here."""
    settings: Mapping[str, Mapping[str, Any]]
    """By parameter name, SGD's settings: base_lr, momentum, dampening, weight_decay, nesterov."""
    momentum: Mapping[str, Tensor]
    """SGD's momentum buffer, by the name of each parameter that has one."""
    loss_scale: Mapping[str, Any] | None
    """State of a loss scale, as ``halftrack.precision`` or torch's GradScaler writes it; None if
    the run had none."""

    def check_names(self, model: nn.Module) -> None:
        """Make sure that a model of the run has the same keys, where only the data tell its sizes.

        Raises:
            ValueError: if it has others; the model is filled.
        """
        report = fill_weights(model, self.weights, self.file)
        check_complete(replace(report, mismatched=()), f"{self.file} does not fit the model")

    def fill(self, learner: Learner, config: TrainingConfig) -> list[str]:
        """Put weights, optimizer state and loss scale into a learner that has not begun.

        Returns:
            Lines on what differs from it.

        Raises:
            ValueError: if the weights or the optimizer's state do not fit the run, or it would be
                over before its first step.
        """
        epochs = config.epochs
        if not 0 <= self.epochs_finished < epochs:
            raise UserError(
                f"{self.file} has finished {shown(self.epochs_finished)} epochs, and this run has "
                f"{epochs}: set more training.epochs"
            )
        report = fill_weights(learner.model, self.weights, self.file)
        check_complete(report, f"{self.file} does not fit the model")
        rates = self._give_optimizer(learner)
        taken = self.epochs_finished * learner.steps_per_epoch
        learner.schedule.load_state_dict({"taken_steps": taken, "base_rates": rates})
        learner.statistics.keep()
        if config.ema_decay is not None:
            begins = {"updates": 0, "average": learner.model.state_dict()}
            learner.average.load_state_dict(begins)
        lines = [
            f"goes on from {self.file} after epoch {self.epochs_finished}, with its learning rate "
            f"{learner.schedule.lr:g} and the momentum of {len(self.momentum)} parameters",
            *self._give_scale(learner),
        ]
        if self.steps != taken:
            lines.append(
                f"that is step {self.steps} there and step {taken} here: an epoch has "
                f"{learner.steps_per_epoch} steps here"
            )
        planned = config.scaled_lr
        if not math.isclose(max(rates), planned, rel_tol=1e-6):
            share = config.accumulate
            lines.append(
                f"its rate without warm-up and decay is {max(rates):g}; this recipe's is "
                f"{planned:g} for {share} batch{'es' * (share > 1)} a step (training.accumulate)"
            )
        return lines

    def begin(self, run: Run) -> list[str]:
        """Put all of it into a run that has not begun; returns lines on what differs from it.

        Raises:
            ValueError: as ``fill``.
        """
        lines = self.fill(run.learner, run.config)
        run.result.epochs_finished = self.epochs_finished
        run.batches_done = self.epochs_finished * run.batches_per_epoch
        run.result.steps = run.learner.schedule.taken_steps
        return lines

    def _give_optimizer(self, learner: Learner) -> list[float]:
        """Fill the optimizer; returns the base rate of each of its groups."""
        state, rates = learner.optimizer.state_dict(), []
        buffers = {}
        for group in state["param_groups"]:
            names = group["param_names"]
            own = self._shared(names)
            rates.append(float(own.pop("base_lr")))
            group.update(own)
            for index, name in zip(group["params"], names, strict=True):
                if name in self.momentum:
                    buffers[index] = {"momentum_buffer": self.momentum[name].float()}
        shapes = {name: value.shape for name, value in learner.model.named_parameters()}
        for name, buffer in self.momentum.items():
            if buffer.shape != shapes.get(name) or not buffer.isfinite().all():
                raise UserError(
                    f"{self.file}: the momentum of {name} {tuple(buffer.shape)} does not fit the "
                    "parameter, or holds values that are not finite"
                )
        learner.optimizer.load_state_dict({**state, "state": buffers})
        return rates

    def _shared(self, names: list[str]) -> dict[str, Any]:
        """The settings that all of a group's parameters have in the file."""
        first: dict[str, Any] = {}
        for name in names:
            own = self.settings.get(name)
            if own is None:
                raise UserError(f"{self.file}: its optimizer has no parameter {name}")
            first = first or dict(own)
            for field, value in own.items():
                if value != first[field]:
                    raise UserError(
                        f"{self.file}: {field} is {first[field]:g} for {names[0]} and {value:g} "
                        f"for {name}, which have one rate in this recipe: set training.lr_factors"
                    )
        return first

    def _give_scale(self, learner: Learner) -> list[str]:
        """Take the loss scale over; returns a line on it, if there is one to tell."""
        scale = learner.loss_scale
        if self.loss_scale is None:
            return (
                [f"it has no loss scale: {scale_words(scale.value)} stays"]
                if scale.skips_steps
                else []
            )
        if not scale.skips_steps:
            return ["its loss scale is not used: this run's precision needs none"]
        given, value = dict(self.loss_scale), self.loss_scale.get("scale")
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UserError(f"{self.file}: its loss scale is {shown(value)}, expected one above 0")
        if "_growth_tracker" in given and scale.state_dict()["kind"] == "static":
            given = {"kind": "static", "scale": given["scale"], "skips": 0}
        try:
            scale.load_state_dict(given)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.file}: its loss scale cannot be taken over: {error}") from error
        return [f"loss scale {scale_words(scale.value)}"]
