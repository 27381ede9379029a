"""Protocols of what training takes: batches that name their samples, and a source of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import torch

__all__ = ["Batch", "BatchSource"]


class Batch(Protocol):
    """One forward and backward pass's samples: all that training needs to know of them."""

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of the samples in the batch."""

    def to(self, device: torch.device | str) -> Self:
        """The batch on another device."""


class BatchSource(Protocol):
    """Training batches in an order that depends on (seed, epoch) alone."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def batches(
        self, *, seed: int, epoch: int, places: Sequence[int], workers: int, pin: bool
    ) -> Iterator[Batch]:
        """The batches at these places of an epoch's order, which wraps around past its end."""
