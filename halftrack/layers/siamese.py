"""Sizes of SiamRPN++'s two crops, and where anchors lie in the larger one: stated once.

Li et al., SiamRPN++ (arXiv 1812.11703); must agree with MMTracking 0.14. Training data, model and
tracker take the same value, so none of them can be out of step with the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from halftrack.bounds import Bounds, check_bounds
from halftrack.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["SiameseGeometry"]

# The stem's 7x7 convolution, not padded; the strided layers behind it halve what it leaves.
_STEM = 7


@dataclass(frozen=True, kw_only=True)
class SiameseGeometry:
    """Template, search region, response map and anchors; the defaults are the published ones.

    Raises:
        ValueError: for a value out of its range.
    """

    stride: ClassVar[int] = 8
    """Pixels of a crop between two cells of the backbone's maps."""
    template_size: Annotated[int, Bounds(least=1, most=4096)] = 127
    """Width and height of the template, in pixels."""
    search_size: Annotated[int, Bounds(least=1, most=4096)] = 255
    """Width and height of the search region, in pixels of the template's scale."""
    context_amount: Annotated[float, Bounds(least=0, most=10)] = 0.5
    """Share of the object's width plus height that is added to each of them for the template."""
    template_cells: Annotated[int, Bounds(least=1, most=512)] = 7
    """Cells a side that are kept of the template's maps, around their centre."""
    anchor_scale: Annotated[float, Bounds(above=0, most=1000)] = 8.0
    """Side of an anchor, in strides."""
    anchor_ratios: Annotated[tuple[float, ...], Bounds(least=1 / 64, most=64)] = (
        0.33,
        0.5,
        1.0,
        2.0,
        3.0,
    )
    """Heights over widths of a cell's anchors."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.template_size > self.search_size:
            raise UserError(
                f"template_size={self.template_size!r}, search_size={self.search_size!r}: "
                "expected template <= search"
            )
        if not 1 <= self.template_cells <= self.cells(self.template_size):
            raise UserError(
                f"template_cells={self.template_cells!r}, template_size={self.template_size!r}: "
                f"the template's maps have {max(self.cells(self.template_size), 0)} cells a side"
            )
        self._check_centres()
        if not self.anchor_ratios:
            raise UserError(f"anchor_ratios={self.anchor_ratios!r}: expected one or more")

    def _check_centres(self) -> None:
        """Object, kept cells and response map must have one centre, or every box is a shift off."""
        if (self.cells(self.template_size) - self.template_cells) % 2:
            raise UserError(
                f"template_cells={self.template_cells!r}, template_size={self.template_size!r}: "
                f"of {self.cells(self.template_size)} cells a side the kept ones would lie half a "
                "cell off the middle: expected both even or both odd"
            )
        beyond = (self.search_size - self.template_size) % (2 * self.stride)
        if beyond:
            low = self.search_size - beyond
            raise UserError(
                f"search_size={self.search_size!r}, template_size={self.template_size!r}: the "
                f"anchors would lie off the middle of the region: expected a difference of a "
                f"multiple of {2 * self.stride}, as {low} or {low + 2 * self.stride}"
            )

    @property
    def response_size(self) -> int:
        """Cells a side of the response map: 25 as published."""
        return self.cells(self.search_size) - self.template_cells + 1

    @classmethod
    def cells(cls, size: int) -> int:
        """Cells a side of the backbone's maps of a crop of ``size`` pixels."""
        return (size - _STEM) // cls.stride

    def anchors(self, rows: int, columns: int, device: torch.device | str) -> Tensor:
        """Lay the anchors of a response map; the middle cell is at 0.

        Sides are cut to whole pixels before they are scaled, unlike an ``AnchorGrid``'s.

        Args:
            rows: of the response map.
            columns: of the response map.
            device: where they are made.

        Returns:
            fp32 ``(rows * columns * ratios, 4)`` xyxy, in (row, column, anchor) order.
        """
        import torch

        stretch = torch.tensor(self.anchor_ratios, device=device).sqrt()
        widths = (self.stride * (1 / stretch)).long() * self.anchor_scale
        heights = (self.stride * stretch).long() * self.anchor_scale
        base = torch.stack([-widths, -heights, widths, heights], dim=1) * 0.5
        y = (torch.arange(rows, device=device) - rows // 2) * self.stride
        x = (torch.arange(columns, device=device) - columns // 2) * self.stride
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        shifts = torch.stack([grid_x, grid_y, grid_x, grid_y], dim=-1).reshape(-1, 1, 4)
        return (base[None] + shifts).reshape(-1, 4)
