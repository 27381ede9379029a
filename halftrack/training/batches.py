"""What the loop asks of the data: batches that name their samples, in an order of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self

import torch

__all__ = ["Batch", "BatchSource"]


class Batch(Protocol):
    """What the loop needs of one training sample."""

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of what is in the batch."""

    def to(self, device: torch.device | str) -> Self:
        """The batch on another device."""


class BatchSource(Protocol):
    """Where training samples come from: an order that depends on (seed, epoch) alone."""

    def __len__(self) -> int:
        """Samples in an epoch."""

    def batches(
        self, *, seed: int, epoch: int, start: int, stop: int | None, workers: int, pin: bool
    ) -> Iterator[Batch]:
        """Samples ``start`` to ``stop`` of an epoch's order, which wraps around past its end."""
