"""Batch norms of several processes: running statistics alike in all, and SyncBN."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.training.learner import BatchStatistics
from halftrack.training.ranks import Ranks

__all__ = ["ReplayedStatistics", "sync_norms"]


class ReplayedStatistics:
    """Running statistics as if one process had seen all batches, those of rank 0 first.

    A batch norm that has seen n batches since the last step went from r to (1 - m)^n r + s; s, and
    so where it goes from any other r, follows from the two values.

    Raises:
        ValueError: if a norm averages over all batches alike, which cannot be replayed so.
    """

    def __init__(self, model: nn.Module, statistics: BatchStatistics, ranks: Ranks) -> None:
        self._statistics, self._ranks = statistics, ranks
        names = {norm: name for name, norm in model.named_modules()}
        for norm in statistics.norms:
            if norm.momentum is None:
                raise UserError(
                    f"{names[norm]} has momentum=None: several processes cannot keep its "
                    "statistics alike; expected a number"
                )
        self._sizes = [len(mean) for mean in statistics.live[0::3]]
        owners = [number for number, size in enumerate(self._sizes) for _ in range(size)]
        device = next(model.parameters()).device
        self._owners = torch.tensor(owners * 2, device=device)
        momenta = [norm.momentum for norm in statistics.norms]
        self._kept_share = 1.0 - torch.tensor(momenta, device=device)

    @torch.no_grad()
    def replay(self) -> None:
        """Move them on from the last step, alike in all processes."""
        live, kept = self._statistics.live, self._statistics.kept
        if not live:
            return
        before, after = (torch.cat([*each[0::3], *each[1::3]]) for each in (kept, live))
        counts = torch.stack(kept[2::3])
        seen = torch.stack(live[2::3]) - counts
        rows = self._ranks.rows(torch.cat([after, seen.to(after.dtype)]))
        now = before
        for row in rows:
            after, batches = row.split([len(before), len(counts)])
            now = after + (self._kept_share**batches)[self._owners] * (now - before)
            counts = counts + batches.to(counts.dtype)
        torch._foreach_copy_([*live[0::3], *live[1::3]], list(now.split(self._sizes * 2)))
        torch._foreach_copy_(live[2::3], list(counts))


def sync_norms(norms: Iterable[nn.Module]) -> None:
    """Let these batch norms, while they train, take the statistics of all processes together.

    All processes must run them equally often. Names, parameters and buffers stay.
    """
    # Of their own: gradients that travel at the same time may be in another order.
    group = dist.new_group()
    for norm in norms:
        norm.__class__ = type(type(norm).__name__, (_Synced, type(norm)), {"group": group})


class _Synced(nn.modules.batchnorm._BatchNorm):
    # Not torch's SyncBatchNorm, which runs on GPUs alone and is no BatchNorm2d: phases, folding and
    # frozen statistics look for one.
    group: Any

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            frozen: Tensor = super().forward(x)
            return frozen
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        dims = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        wide = x.float()
        own = x.new_full((1,), float(x.numel() / x.shape[1]), dtype=torch.float32)
        *sums, count = self._added_up(torch.cat([wide.sum(dims), own])).split([x.shape[1], 1])
        mean = sums[0] / count
        centred = wide - mean.view(shape)
        # Of centred values: a difference of two large sums would lose all digits.
        var = self._added_up(centred.square().sum(dims)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        normed = centred * (var + self.eps).rsqrt().view(shape)
        scaled: Tensor = normed * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(x.dtype)

    def _added_up(self, sums: Tensor) -> Tensor:
        added: Tensor = _Sum.apply(sums, self.group)
        return added


class _Sum(torch.autograd.Function):
    """The sum over processes; so is its gradient, as each one's loss depends on all of them."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = own.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None
