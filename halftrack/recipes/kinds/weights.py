"""Random weights that follow from a seed, and models filled with the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from halftrack.errors import UserError

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


def fill(
    model: nn.Module,
    checkpoint: str | Path,
    what: str,
    *,
    trust: bool,
    data: object,
) -> None:
    """Fill all of a model with all of a checkpoint, or of the part of it that is the model's.

    Args:
        model: the model.
        checkpoint: the file.
        what: the model in words, for errors.
        trust: unpickle any object in the file.
        data: the data set's configuration, where it names the classes that the model tells apart.

    Raises:
        ValueError: if a key is missing, left over or of another shape, or the file's classes are
            others in number or order; says of ``what``.
    """
    from halftrack.training.files.weights import check_complete, load_weights

    report = load_weights(model, checkpoint, trust=trust)
    theirs, classes = report.classes, getattr(data, "class_names", ())
    # As many under other names may be the same things, as labels.txt calls them elsewhere.
    moved = sorted(theirs) == sorted(classes) and theirs != classes
    if theirs and classes and (moved or len(theirs) != len(classes)):
        raise UserError(
            f"{checkpoint} does not fit {what}: it tells other classes apart, or in another order; "
            f"take its own, --classes {','.join(theirs)}"
        )
    check_complete(report, f"{checkpoint} does not fit {what}")
