"""Sizes of a training step that can be known beforehand: samples that share a pass, and boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Sharing", "spread_boxes"]


@dataclass(frozen=True)
class Sharing:
    """A recipe's number of samples that share a pass."""

    field: str
    """Name of the recipe field that says it."""
    value: int
    """The recipe's own."""
    unit: int = 1
    """It is a multiple of this."""
    most: int | None = None
    """Largest number that the recipe allows; None for any."""

    def __str__(self) -> str:
        return f"{self.field}={self.value}"


def spread_boxes(count: int, size: tuple[int, int]) -> Tensor:
    """Boxes ``(count, 4)`` of all sizes, from half of an image to a thirtieth, inside it."""
    sides = torch.tensor(size[::-1]) * torch.logspace(-1, -5, count, base=2)[:, None]
    corners = (torch.tensor(size[::-1]) - sides) * torch.linspace(0, 1, count)[:, None]
    return torch.cat([corners, corners + sides], dim=1)
