"""Tuning of a tracker: which settings a search may change, and how its trials are scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn

    from halftrack.data import Progress
    from halftrack.recipes.scoring.evaluation import Evaluation

__all__ = ["OpenTrials", "Trials", "Tuning"]


class Trials(Protocol):
    """Scores a recipe again and again, each time with other settings of its tracker."""

    inputs: dict[str, str]
    """Hashes and versions of all that the scores depend on beside the settings: weights, data."""
    frames: int
    """Frames of the test set."""

    def prepare(self, progress: Progress | None = None) -> None:
        """Compute and keep what all trials have in common."""

    def score(self, recipe: Any) -> Evaluation:
        """The evaluation of the recipe with these settings, the same that ``evaluate`` gives."""


class OpenTrials(Protocol):
    """Opens the test data; nothing is computed yet."""

    def __call__(
        self,
        model: nn.Module,
        data_root: str | Path,
        device: torch.device,
        *,
        cache: Path,
        most_bytes: int,
        say: Callable[[str], None],
    ) -> Trials:
        """Trials around a model that is loaded.

        Args:
            model: of the recipe, on the device, in evaluation mode.
            data_root: the folder that holds the data sets as downloaded.
            device: where to compute.
            cache: folder for what all trials have in common.
            most_bytes: bound of that folder's size.
            say: told how large it gets, and whether an old one is used.

        Raises:
            DataError: if the data are not there or not readable.
            ValueError: for data without ground truth.
        """


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Answer of a recipe that tracks to the question what can be tuned."""

    metrics: tuple[str, ...]
    """Names of scores that a search can raise, the usual one first; more is better in all."""
    grid: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """Fields with the values to try, where the recipe brings its own."""
    open: OpenTrials
    """Opens the test data."""
    shared: str
    """Words on what trials have in common."""
