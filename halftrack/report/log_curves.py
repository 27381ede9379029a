"""Curves of training logs as a picture, a panel for each field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from halftrack.errors import naming_file
from halftrack.report.log_page import Curves

__all__ = ["draw_log_curves"]

_ACROSS = 3


def draw_log_curves(path: Path, panels: Curves) -> None:
    """Draw a panel for each field into one PNG, a line for each log.

    Args:
        path: the picture to write.
        panels: the points; values that are not finite become a cross at the top.
    """
    across = min(len(panels), _ACROSS)
    down = math.ceil(len(panels) / across)
    drawing = Figure(figsize=(4 * across, 3.2 * down), layout="constrained")
    FigureCanvasAgg(drawing)
    grid = drawing.subplots(down, across, squeeze=False).flat
    for panel, (field, logs) in zip(grid, panels.items(), strict=False):
        for number, (name, points) in enumerate(logs.items()):
            finite = [point for point in points if math.isfinite(point[1])]
            marker = "o" if len(finite) < _ACROSS else None
            panel.plot(*_columns(finite), color=f"C{number}", label=name, marker=marker)
            lost = [step for step, value in points if not math.isfinite(value)]
            top = max((value for _, value in finite), default=1.0)
            panel.scatter(lost, [top] * len(lost), marker="x", color=f"C{number}", zorder=3)
        panel.set_title(field)
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
    for panel in list(grid)[: across * down - len(panels)]:
        panel.set_axis_off()
    drawing.axes[0].legend()
    with naming_file(path):
        drawing.savefig(path, dpi=110)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
