"""Batch norms whose counters move together: one kernel for a network, not one for each norm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BatchNorm1d", "BatchNorm2d", "counted_together"]

_waiting: list[dict[Tensor, int]] = []
"""By context, the counters that are to move at its end, and by how much."""


@contextmanager
def counted_together() -> Iterator[None]:
    """Context, or decorator, at whose end the norms that ran inside it count their batches."""
    counters: dict[Tensor, int] = {}
    _waiting.append(counters)
    try:
        yield
    finally:
        _waiting.pop()
        if counters:
            torch._foreach_add_(list(counters), list(counters.values()))


class _CountingLater(nn.modules.batchnorm._BatchNorm):
    """Batch norm as torch's; within ``counted_together`` it counts at the end."""

    def forward(self, x: Tensor) -> Tensor:
        # Without a momentum the counter is the average's weight, and must move first.
        later = _waiting and not torch.compiler.is_compiling()
        if not later or not self.training or self.momentum is None:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        assert self.num_batches_tracked is not None
        _waiting[-1][self.num_batches_tracked] = _waiting[-1].get(self.num_batches_tracked, 0) + 1
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=self.momentum,
            eps=self.eps,
        )


class BatchNorm1d(_CountingLater, nn.BatchNorm1d):
    """Batch norm of rows ``(n, d)``; within ``counted_together`` it counts at the end."""


class BatchNorm2d(_CountingLater, nn.BatchNorm2d):
    """Batch norm of maps ``(b, c, h, w)``; within ``counted_together`` it counts at the end."""
