"""The end of a training run: how far it came, and what is left of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["TrainingResult"]


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
    epochs_finished: int = 0
    """Epochs whose evaluation is done too, those before a resume included."""
    interrupted: int | None = None
    """The signal that ended the run early, None if it ran to its end."""

    @classmethod
    def of_checkpoint(cls, path: Path, state: Mapping[str, Any]) -> Self:
        """Result so far of a run that has written a checkpoint.

        Args:
            path: the checkpoint.
            state: what it holds, with the parts of a run's checkpoint.
        """
        position = state["position"]
        return cls(
            steps=position["steps"],
            skipped=position["skipped"],
            loss_scale=state["loss_scale"].get("scale", 1.0),
            metrics=position["metrics"],
            best=position["best"],
            checkpoint=path,
            epochs_finished=position["epochs_finished"],
        )

    def nothing_left(self) -> str:
        """A line to tell of a run that is finished when it is asked for again."""
        assert self.checkpoint is not None
        return (
            f"{self.checkpoint.parent} holds this run, and it is finished: nothing is left to do; "
            "to train it again choose another folder (--out)"
        )
