"""Tables for the terminal and for files, with the row of the published model zoo."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from halftrack.recipes import Evaluation, Recipe

__all__ = ["Row", "published_row", "render_table", "write_csv"]

Row = Mapping[str, object]


def published_row(
    recipe: Recipe, evaluation: Evaluation, *, memory_mb: float | None, checkpoint: Path | None
) -> dict[str, object]:
    """Make one row of MMTracking's table for the recipe's task, under its column names.

    Args:
        recipe: the recipe that was run.
        evaluation: the scores and the frames a second.
        memory_mb: peak training memory from the log; None if unknown.
        checkpoint: the weights that were scored; None for those that the recipe names.
    """
    files = {"config": recipe.name, "checkpoint": "-" if checkpoint is None else str(checkpoint)}
    speed = {"Inf time (fps)": "-"}  # unknown for result files
    if evaluation.seconds:
        speed = {"Inf time (fps)": f"{evaluation.frames_per_second:.1f}"}
    columns = recipe.published_columns(memory_mb=memory_mb)
    return columns | speed | evaluation.published_scores() | files


def render_table(rows: Sequence[Row], *, title: str | None = None) -> Table:
    """Make a rich table with a column for every key of the first row.

    Raises:
        ValueError: if there are no rows or their keys differ.
    """
    columns = _columns(rows)
    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    return table


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as comma-separated values.

    Raises:
        ValueError: if there are no rows or their keys differ.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=_columns(rows))
        writer.writeheader()
        writer.writerows(rows)


def _columns(rows: Sequence[Row]) -> list[str]:
    if not rows:
        raise ValueError("a table needs at least one row")
    columns = list(rows[0])
    for row in rows:
        if list(row) != columns:
            raise ValueError(f"rows of one table differ in columns: {columns} and {list(row)}")
    return columns
