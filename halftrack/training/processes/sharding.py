"""SGD whose momentum is divided among processes: whole parameters, or a piece of each.

The first and the third stage of ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054, section 5). Where
weights are whole everywhere, each process moves its parameters, then tells them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from halftrack.precision.step import FusedSGD
from halftrack.training.processes.parts import Part
from halftrack.training.ranks import Ranks

__all__ = ["divided", "move_pieces", "shard_momentum"]


def shard_momentum(optimizer: SGD, ranks: Ranks) -> None:
    """Let each process hold the momentum of its part of the parameters alone, from now on.

    A parameter is moved by one process and copied by the others: the weights after a step are those
    of one process, bit for bit.

    Args:
        optimizer: without any state yet, over the same parameters in all processes; their gradients
            must be the same in each step.
        ranks: the processes.
    """
    parts = divided(optimizer, ranks.size)
    optimizer.__class__ = _ShardedSGD
    assert isinstance(optimizer, _ShardedSGD)
    optimizer.ranks, optimizer.parts = ranks, parts


class _ShardedSGD(FusedSGD):
    ranks: Ranks
    parts: list[list[Tensor]]

    def step(self, closure: Any = None) -> Any:
        """Move every parameter that has a gradient. All processes must call it."""
        moved = [[p for p in part if p.grad is not None] for part in self.parts]
        others = [
            (p, p.grad)
            for part in (*moved[: self.ranks.rank], *moved[self.ranks.rank + 1 :])
            for p in part
        ]
        for parameter, _ in others:
            parameter.grad = None
        result = super().step(closure)
        for parameter, gradient in others:
            parameter.grad = gradient
        for rank, part in enumerate(moved):
            if part:
                self._tell(part, of=rank)
        return result

    @torch.no_grad()
    def _tell(self, part: Sequence[Tensor], *, of: int) -> None:
        """Give parameters the values that they have in one process, in one message."""
        # In the order of memory, which is the same everywhere and need not be that of the shape.
        values = [parameter.as_strided((parameter.numel(),), (1,)) for parameter in part]
        told = self.ranks.broadcast(torch.cat(values), of=of)
        if of != self.ranks.rank:
            torch._foreach_copy_(values, list(told.split([len(each) for each in values])))

    def state_dict(self) -> dict[str, Any]:
        """State of the whole optimizer, as one process has it, in rank 0; its own part in others.

        All processes must call it.
        """
        state = super().state_dict()
        held = {
            index: {name: value.cpu() for name, value in each.items()}
            for index, each in state["state"].items()
        }
        parts = self.ranks.gathered_by_first(held) or [held]
        whole = {index: each for part in parts for index, each in part.items()}
        return {**state, "state": dict(sorted(whole.items()))}

    def load_state_dict(self, state_dict: Any) -> None:
        """Continue where the whole state was taken, by any number of processes."""
        own = set(map(id, self.parts[self.ranks.rank]))
        parameters = [p for group in self.param_groups for p in group["params"]]
        state = {
            index: state_dict["state"][index]
            for index, parameter in enumerate(parameters)
            if id(parameter) in own and index in state_dict["state"]
        }
        super().load_state_dict({**state_dict, "state": state})


def divided(optimizer: SGD, parts: int) -> list[list[Tensor]]:
    """Parts of an optimizer's parameters, of about equal bytes, each of whole tensors.

    The largest tensor bounds what that saves.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    found: list[list[Tensor]] = [[] for _ in range(parts)]
    sizes = [0] * parts
    for parameter in sorted(parameters, key=lambda p: -p.nbytes):
        least = sizes.index(min(sizes))
        found[least].append(parameter)
        sizes[least] += parameter.nbytes
    return found


def move_pieces(optimizer: SGD, parts: Sequence[Part], ranks: Ranks) -> None:
    """Let each process move its pieces of the parameters alone, from now on.

    Args:
        optimizer: without any state yet, over the parameters of the parts.
        parts: of the model.
        ranks: the processes.
    """
    pieces = {p: own for part in parts for p, own in zip(part.parameters, part.pieces, strict=True)}
    for group in optimizer.param_groups:
        group["params"] = [pieces[parameter] for parameter in group["params"]]
    optimizer.__class__ = _PiecesSGD
    assert isinstance(optimizer, _PiecesSGD)
    optimizer.ranks, optimizer.parts = ranks, parts


class _PiecesSGD(FusedSGD):
    ranks: Ranks
    parts: Sequence[Part]

    def state_dict(self) -> dict[str, Any]:
        """State of the whole optimizer, as one process has it, in rank 0; none in others.

        All processes must call it.
        """
        state, places, whole = super().state_dict(), self._places(), {}
        for part in self.parts:
            held = torch.zeros_like(part.held)
            momenta = [self.state[piece].get("momentum_buffer") for piece in part.pieces]
            for room, momentum in zip(part.split(held), momenta, strict=True):
                if momentum is not None:
                    room.copy_(momentum)
            # A parameter that moved has momentum in every process, of its piece that may be empty.
            if any(momentum is not None for momentum in momenta):
                values = part.joined(held)
                for piece, momentum, value in zip(part.pieces, momenta, values, strict=True):
                    if momentum is not None and self.ranks.is_first:
                        whole[places[piece]] = {"momentum_buffer": value.cpu()}
        return {**state, "state": dict(sorted(whole.items()))}

    def load_state_dict(self, state_dict: Any) -> None:
        """Continue where the whole state was taken, by any number of processes."""
        given, places, state = state_dict["state"], self._places(), {}
        for part in self.parts:
            momenta = [given.get(places[own], {}).get("momentum_buffer") for own in part.pieces]
            rooms = part.split(part.spread(momenta))
            for piece, momentum, room in zip(part.pieces, momenta, rooms, strict=True):
                if momentum is not None:
                    state[places[piece]] = {"momentum_buffer": room.clone()}
        super().load_state_dict({**state_dict, "state": state})

    def _places(self) -> dict[Tensor, int]:
        """By piece its number in the state."""
        every = (piece for group in self.param_groups for piece in group["params"])
        return {piece: number for number, piece in enumerate(every)}
