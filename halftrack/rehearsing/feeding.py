"""Arguments of a rehearsal: its optimizers, and batches from any iterable, again where it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from torch import nn
from torch.optim import Optimizer

from halftrack.errors import UserError

__all__ = ["optimizers_of", "steps_of"]

_NONE = object()


def optimizers_of(step: object, optimizer: Optimizer | Sequence[Optimizer]) -> list[Optimizer]:
    """The optimizers that a step moves the model by, as a list.

    Raises:
        UserError: for a step that is the model itself, and what is no optimizer.
    """
    if isinstance(step, nn.Module):
        raise UserError(
            f"step is a {type(step).__name__}; expected a function that takes the model and a "
            "batch and returns the loss"
        )
    given = list(optimizer) if isinstance(optimizer, Iterable) else [optimizer]
    for each in given:
        if not isinstance(each, Optimizer):
            raise UserError(f"optimizer is a {type(each).__name__}; expected one of torch.optim")
    return given


def steps_of(batches: Iterable[Any], *, steps: int, accumulate: int) -> Iterator[list[Any]]:
    """The batches of each step, ``accumulate`` of them.

    An iterable that can be read again, such as a loader, is read again; of one that cannot, such as
    a generator, the batches are kept.

    Raises:
        UserError: if there is no batch, or none where it is read again.
    """
    endless = _repeated(batches)
    for _ in range(steps):
        yield list(islice(endless, accumulate))


def _repeated(batches: Iterable[Any]) -> Iterator[Any]:
    once = iter(batches)
    kept: list[Any] | None = [] if once is batches else None
    first = next(once, _NONE)
    if first is _NONE:
        raise UserError("batches: there is none; expected a loader or list with at least one batch")
    count = 0
    for batch in chain([first], once):
        count += 1
        if kept is not None:
            kept.append(batch)
        yield batch
    again = batches if kept is None else kept
    while True:
        batch = _NONE
        for batch in again:
            yield batch
        if batch is _NONE:
            raise UserError(
                f"batches: nothing more after {count}; expected a loader that can be read again, "
                "or as many batches as the steps take"
            )
