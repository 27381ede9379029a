"""Tables for the terminal and for files, with the row of the published model zoo."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table

from halftrack.recipes import Evaluation, Recipe

__all__ = ["Row", "published_row", "render_table", "write_csv"]

Row = Mapping[str, object]

_FOLDED = 23  # characters of a cell that may be folded: three columns fit a terminal of 80


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


def render_table(rows: Sequence[Row], *, title: str | None = None) -> RenderableType:
    """Make a table with a column for every key of the first row, for a terminal of any width.

    Where it is too wide, long cells are folded. If that is not enough, one row is printed from top
    to bottom, and more rows as several tables below each other, each of which begins with the first
    column.

    Raises:
        ValueError: if there are no rows or their keys differ.
    """
    columns = _columns(rows)
    return _FittingTable(title, columns, [[str(row[column]) for column in columns] for row in rows])


@dataclass(frozen=True)
class _FittingTable:
    """A table that is laid out when the width of the terminal is known."""

    title: str | None
    columns: list[str]
    rows: list[list[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        every = list(range(len(self.columns)))
        blocks = self._blocks(options.max_width)
        if len(blocks) == 1:
            yield self._table(every, self.title)
        elif len(self.rows) == 1:
            table = Table(title=self.title, show_header=False)
            for _ in range(2):
                table.add_column(overflow="fold")
            for name, value in zip(self.columns, self.rows[0], strict=True):
                table.add_row(name, value)
            yield table
        else:
            for number, block in enumerate(blocks):
                yield self._table(block, None if number else self.title)

    def _blocks(self, width: int) -> list[list[int]]:
        """Numbers of the columns that stand beside each other, the first in every block."""
        widths = [
            min(max(cell_len(text) for text in (name, *cells)), _FOLDED) + 3
            for name, *cells in zip(self.columns, *self.rows, strict=True)
        ]
        blocks = [[0]]
        for column in range(1, len(widths)):
            if len(blocks[-1]) > 1 and sum(widths[i] for i in (*blocks[-1], column)) + 1 > width:
                blocks.append([0])
            blocks[-1].append(column)
        return blocks

    def _table(self, columns: list[int], title: str | None) -> Table:
        table = Table(title=title)
        for column in columns:
            table.add_column(self.columns[column], overflow="fold")
        for row in self.rows:
            table.add_row(*(row[column] for column in columns))
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
