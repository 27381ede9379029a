"""The answer of an evaluation: scores, and whatever a task leaves on disk beside them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halftrack.evaluation import OpeMetrics

__all__ = ["Evaluation"]


@dataclass(frozen=True, kw_only=True)
class Evaluation(ABC):
    """Result of scoring a model; each task adds its scores and what they were computed from."""

    frames: int
    """Frames scored."""
    seconds: float
    """Time spent in the model, reading and scoring not."""
    skipped: tuple[str, ...] = ()
    """Lines about what could not be read and was left out; empty if nothing was."""

    @property
    def frames_per_second(self) -> float:
        """Speed of the model alone."""
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def curves(self) -> OpeMetrics | None:
        """The scores whose success and precision curves are drawn; None where there are none."""
        return None

    @abstractmethod
    def flat(self) -> dict[str, float]:
        """The scores under their names, as logged; ``training.best_metric`` is one of them."""

    def numbers(self) -> dict[str, Any]:
        """The scores in full, as JSON takes them."""
        return dict(self.flat())

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """Title and rows of what is shown beneath the published row."""
        return {}

    def published_scores(self) -> dict[str, object]:
        """The columns of the published row that hold scores."""
        return {name: f"{score:.3f}" for name, score in self.flat().items()}

    def result_writers(self) -> dict[str, Callable[[Path], None]]:
        """For each sequence a function that writes its result file; empty for other tasks."""
        return {}
