"""Curves of training logs, a panel for each field: a picture, or a page with tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from halftrack.errors import naming_file
from halftrack.rehearsing.html import document, figure, paragraph, table
from halftrack.rehearsing.svg import curves, legend

__all__ = ["Curves", "draw_log_curves", "write_log_page"]

Curves = Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
"""Points (step, value) by field and then by log."""

_ACROSS = 3
_CROSSES = "a cross is a value that is not finite"


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


def write_log_page(
    path: Path, panels: Curves, *, rows: Sequence[Mapping[str, object]], notes: Sequence[str]
) -> None:
    """Write a page that needs no other file: a table, notes, and a chart for each field.

    Args:
        path: the page to write.
        panels: the points.
        rows: of the table, one a log.
        notes: a paragraph each.
    """
    parts = [table(rows), *(paragraph(note) for note in notes)]
    for field, logs in panels.items():
        chart = curves(logs, title=field, x="step", marks=_lost(logs))
        parts.append(figure(field, chart + legend(logs), _CROSSES if _lost(logs) else "by step"))
    with naming_file(path):
        path.write_text(document("Training logs", parts), encoding="utf-8")


def _lost(logs: Mapping[str, Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Places of values that are not finite, at the height of the largest that is."""
    points = [point for each in logs.values() for point in each]
    top = max((value for _, value in points if math.isfinite(value)), default=1.0)
    return [(step, top) for step, value in points if not math.isfinite(value)]


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
