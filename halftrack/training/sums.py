"""Sums over processes: on a CPU in the order of ranks, as if one process had added all up."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["added_in_order", "all_gather", "piece_of_sum"]

# Older torch has other names for them.
all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
# Values of each process: their copies need room beside the sum.
_AT_ONCE = 2**16


def added_in_order(pieces: Tensor) -> Tensor:
    """The sum ``(n,)`` of what all processes have for this one, those of rank 0 first.

    Args:
        pieces: ``(processes, n)``, what this process has for each.
    """
    received = torch.empty_like(pieces)
    dist.all_to_all_single(received, pieces)
    total = received[0]
    for values in received[1:]:
        total += values
    return total


def piece_of_sum(own: Tensor, processes: int, wire: torch.dtype | None) -> Tensor:
    """This process's piece ``(n,)`` of the sum of all processes' values.

    GPUs add them up in an order of their own.

    Args:
        own: ``(processes * n,)``, this process's values.
        processes: how many there are.
        wire: type that they travel in; None for their own.
    """
    sent = (own if wire is None else own.to(wire)).view(processes, -1)
    total = torch.empty_like(sent[0])
    if own.device.type == "cpu":
        for start in range(0, len(total), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            total[some] = added_in_order(sent[:, some].contiguous())
    else:
        _reduce_scatter(total, sent.view(-1))
    return total.to(own.dtype)
