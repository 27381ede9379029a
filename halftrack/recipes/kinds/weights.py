"""Random weights that follow from a seed, and models filled with the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

__all__ = ["fill", "seeded"]

ModelT = TypeVar("ModelT", bound="nn.Module")


def seeded(build: Callable[[], ModelT], seed: int) -> ModelT:
    """Returns what ``build`` makes on the CPU, its random numbers a function of ``seed`` alone."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def fill(model: nn.Module, checkpoint: str | Path, what: str, *, trust: bool) -> None:
    """Fill all of a model with all of a checkpoint, or of the part of it that is the model's.

    Raises:
        ValueError: if a key is missing, left over or of another shape; says of ``what``.
    """
    from halftrack.training.weights import check_complete, load_weights

    report = load_weights(model, checkpoint, trust=trust)
    check_complete(report, f"{checkpoint} does not fit {what}")
