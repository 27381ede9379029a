"""The end of a training run: how far it came, and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

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
    interrupted: int | None = None
    """The signal that ended the run early, None if it ran to its end."""
