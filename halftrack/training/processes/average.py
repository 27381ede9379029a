"""Average of weights that several processes divide: each holds its piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from halftrack.training.learner import WeightAverage
from halftrack.training.processes.parts import Part
from halftrack.training.ranks import Ranks

__all__ = ["DividedAverage"]


class DividedAverage(WeightAverage):
    """An average of this process's pieces of the weights; buffers are copied whole.

    Args:
        model: whole.
        parts: of it.
        ranks: the processes.
        decay: of the average.
    """

    def __init__(
        self, model: nn.Module, parts: Sequence[Part], ranks: Ranks, *, decay: float
    ) -> None:
        super().__init__(model, decay=None)
        self._decay, self._parts, self._ranks = decay, parts, ranks
        names = {parameter: name for name, parameter in model.named_parameters()}
        self._names = [[names[parameter] for parameter in part.parameters] for part in parts]
        state, parameters = model.state_dict(), set(names.values())
        self._order, self._buffers = list(state), [n for n in state if n not in parameters]
        self._held = [part.held.clone() for part in parts]
        self._average = self._named(zip(parts, self._held, strict=True))
        self._average |= {name: state[name].clone() for name in self._buffers}

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[nn.Module]:
        """The model, which must be whole, with the averaged weights; its own come back after.

        Where the block fails the parameters do not: ``DividedModel.whole()``, which ends with it,
        then keeps nothing of what was shown.
        """
        live = model.state_dict()
        own = {name: live[name].clone() for name in self._buffers}
        self._show(self._held)
        self._copy(self._average, live)
        try:
            yield model
        finally:
            self._copy(own, live)
        # Not where it failed: the others would have no part in the exchange.
        self._show([part.held for part in self._parts])

    def _show(self, held: Sequence[Tensor]) -> None:
        for part, each in zip(self._parts, held, strict=True):
            part.show(each)

    def _copy(self, buffers: Mapping[str, Tensor], live: Mapping[str, Tensor]) -> None:
        for name in self._buffers:
            live[name].copy_(buffers[name])

    def state_dict(self) -> dict[str, Any]:
        """The whole average in rank 0, and the number of updates. All processes must call it."""
        whole = {name: self._average[name] for name in self._buffers}
        for part, held, names in zip(self._parts, self._held, self._names, strict=True):
            values = part.joined(held)
            if self._ranks.is_first:
                kept = (value.cpu() for value in values)
                whole |= zip(names, kept, strict=True)
        average = {name: whole[name] for name in self._order if name in whole}
        return {"updates": self._updates, "average": average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the whole ``state`` was taken, by any number of processes.

        Raises:
            ValueError: if only one of the two runs averages weights.
        """
        whole = state["average"]
        if whole:
            spread = (
                (part, part.spread([whole[name] for name in names]))
                for part, names in zip(self._parts, self._names, strict=True)
            )
            whole = self._named(spread) | {name: whole[name] for name in self._buffers}
        super().load_state_dict({**state, "average": whole})

    def _live(self, model: nn.Module) -> Mapping[str, Tensor]:
        state = model.state_dict()
        pieces = self._named((part, part.held) for part in self._parts)
        return pieces | {name: state[name] for name in self._buffers}

    def _named(self, held: Iterable[tuple[Part, Tensor]]) -> dict[str, Tensor]:
        """By parameter this process's piece of it."""
        pieces = [part.split(each) for part, each in held]
        return {
            name: piece
            for names, of_part in zip(self._names, pieces, strict=True)
            for name, piece in zip(names, of_part, strict=True)
        }
