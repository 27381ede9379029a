"""Anchors on one feature map, centred on cell corners, as mmdet's AnchorGenerator lays them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from halftrack.layers.compilable import is_read

__all__ = ["AnchorGrid"]


class AnchorGrid:
    """The anchors of a feature map with cells ``stride`` pixels apart.

    Calling it lays them; each size and device of a map is laid once.

    Args:
        stride: pixels between cells, and the side of a scale-1 anchor.
        scales: sides in units of ``stride``.
        ratios: heights over widths.
    """

    def __init__(self, *, stride: int, scales: Sequence[float], ratios: Sequence[float]) -> None:
        self.stride = stride
        self._scales, self._ratios = tuple(scales), tuple(ratios)
        self._grids: dict[tuple[int, int, torch.device], Tensor] = {}

    @property
    def per_cell(self) -> int:
        """Number of anchors per cell."""
        return len(self._scales) * len(self._ratios)

    def __call__(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """fp32 ``(rows * columns * per_cell, 4)`` xyxy: cell by cell, ratios outside scales."""
        if is_read():  # sizes are symbols
            return self._lay(rows, columns, device)
        key = (rows, columns, device)
        if key not in self._grids:
            self._grids[key] = self._lay(rows, columns, device)
        return self._grids[key]

    def _lay(self, rows: int, columns: int, device: torch.device) -> Tensor:
        scales = torch.tensor(self._scales, device=device)
        stretch = torch.tensor(self._ratios, device=device).sqrt()
        widths = (self.stride / stretch[:, None] * scales[None, :]).flatten()
        heights = (self.stride * stretch[:, None] * scales[None, :]).flatten()
        base = torch.stack([-widths, -heights, widths, heights], dim=1) * 0.5
        y = torch.arange(rows, device=device) * self.stride
        x = torch.arange(columns, device=device) * self.stride
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        shifts = torch.stack([grid_x, grid_y, grid_x, grid_y], dim=-1).reshape(-1, 1, 4)
        return (base[None] + shifts).reshape(-1, 4)
