"""Curves of training logs on a page, a chart for each field."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from halftrack.errors import naming_file
from halftrack.rehearsing.html import document, figure, paragraph, table
from halftrack.rehearsing.svg import curves, legend

__all__ = ["POWERS", "Curves", "log_charts", "write_log_page", "write_page"]

Curves = Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
"""Points (step, value) by field and then by log."""

POWERS = ("loss_scale",)
"""Fields that are halved and doubled: drawn as powers of two."""

_CROSSES = "a cross is a value that is not finite"


def write_log_page(
    path: Path,
    panels: Curves,
    *,
    rows: Sequence[Mapping[str, object]],
    notes: Sequence[str],
    settings: Sequence[Mapping[str, object]] = (),
) -> None:
    """Write a page that needs no other file: a table, notes, and a chart for each field.

    Args:
        path: the page to write.
        panels: the points.
        rows: of the table, one a log.
        notes: a paragraph each.
        settings: rows of a table of settings that differ; without any it is left out.
    """
    parts = [table(rows), *(paragraph(note) for note in notes)]
    if settings:
        parts += ["<h2>Settings that differ</h2>", table(settings)]
    parts += ["<h2>Curves</h2>", *log_charts(panels)]
    write_page(path, document("Training logs", parts))


def write_page(path: Path, page: str) -> None:
    """Write a page's text; who reads the file meanwhile sees the former page or this one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with naming_file(path):
        beside.write_text(page, encoding="utf-8")
        os.replace(beside, path)


def log_charts(panels: Curves) -> Iterator[str]:
    """The charts of all fields as HTML, beside each other where the window is wide."""
    yield '<div class="charts">'
    for field, logs in panels.items():
        lost = _lost(logs)
        up = field in POWERS and all(v > 0 for points in logs.values() for _, v in points)
        chart = curves(logs, title=field, x="step", marks=lost, log2=(False, up))
        names = legend(logs) if len(logs) > 1 else ""
        yield figure(field, chart + names, _CROSSES if lost else "by step")
    yield "</div>"


def _lost(logs: Mapping[str, Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Places of values that are not finite, at the height of the largest that is."""
    points = [point for each in logs.values() for point in each]
    top = max((value for _, value in points if math.isfinite(value)), default=1.0)
    return [(step, top) for step, value in points if not math.isfinite(value)]
