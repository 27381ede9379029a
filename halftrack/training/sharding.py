"""SGD whose momentum is divided among processes: each moves its part of the weights, then tells it.

The first stage of ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054, section 5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from halftrack.precision.step import FusedSGD
from halftrack.training.ranks import Ranks

__all__ = ["divided", "shard_momentum"]


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
