"""The text files of single-object data sets: lines, boxes, polygons and flags, errors by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from halftrack.data.files import read_text, shortened
from halftrack.data.index import Booleans
from halftrack.data.problems import DataError
from halftrack.data.tables.box_columns import first_wrong_box, read_number
from halftrack.errors import UserError

__all__ = ["Doubles", "read_boxes", "read_flags", "read_lines", "read_names"]

Doubles = npt.NDArray[np.float64]
_LARGEST = 1 << 28


def read_lines(file: Path) -> list[str]:
    """The lines of a file that must be there, without blank ones at its end."""
    text = read_text(file, what="file", limit=_LARGEST)
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if not lines:
        raise DataError(str(file), "is empty")
    # Blank lines would be skipped, and each box after one would move to another frame.
    if "" in lines:
        raise DataError(str(file), f"line {lines.index('') + 1} is empty")
    return lines


def read_names(file: Path) -> list[str]:
    """The names of sequences in a list, each there once.

    Raises:
        DataError: if a name is there twice or is no name of a folder; names the line.
    """
    lines: dict[str, int] = {}
    for number, name in enumerate(read_lines(file), start=1):
        if name in (".", "..") or set(name) & set("/\\\0") or len(name) > 255:
            reason = "expected the name of a sequence, which is that of its folder"
            raise DataError(str(file), f"line {number}, {shortened(name)}: {reason}")
        first = lines.setdefault(name, number)
        if first != number:
            reason = f"is in line {first} already; list each sequence once"
            raise DataError(str(file), f"line {number}, {shortened(name)}: {reason}")
    return list(lines)


def read_boxes(file: Path, *, nan: bool = False, polygons: bool = False) -> Doubles:
    """Boxes ``(n, 4)`` x1, y1, x2, y2 of lines ``x,y,w,h``, or of corners ``x1,y1,...,x4,y4``."""
    lines = read_lines(file)
    columns = (4, 8) if polygons else (4,)
    delimiter = "," if "," in lines[0] else None  # else tabs or spaces
    try:
        table = np.loadtxt(lines, delimiter=delimiter, ndmin=2, comments=None)
    except ValueError:
        table = None
    if table is None or table.shape[1] not in columns:
        raise DataError(str(file), _what_is_wrong(lines, delimiter, columns))
    if table.shape[1] == 8:
        wrong = first_wrong_box(np.abs(table).max(axis=1, keepdims=True).repeat(4, axis=1))
    else:
        wrong = first_wrong_box(table, nan=nan)
        torn = np.isnan(table).any(axis=1) & ~np.isnan(table).all(axis=1)
        if wrong is None and torn.any():
            wrong = int(np.argmax(torn)), "some of its values are no numbers, others are"
    if wrong is not None:
        row, reason = wrong
        raise DataError(str(file), f"line {row + 1}, {shortened(lines[row])}: {reason}")
    if table.shape[1] == 8:
        return _around(table)
    return np.concatenate([table[:, :2], table[:, :2] + table[:, 2:]], axis=1)


def _what_is_wrong(lines: list[str], delimiter: str | None, columns: tuple[int, ...]) -> str:
    """The first line that is no row of numbers."""
    width = len(lines[0].split(delimiter))
    for number, line in enumerate(lines, start=1):
        values = line.split(delimiter)
        if len(values) not in columns or len(values) != width:
            allowed = " or ".join(map(str, columns))
            told = f"{len(values)} columns, expected {allowed}, the same in each line"
            return f"line {number}, {shortened(line)}: {told}"
        try:
            for value in values:
                read_number(value)
        except UserError as error:
            return f"line {number}, {shortened(line)}: {error}"
    return "is not a table of numbers"


def _around(corners: Doubles) -> Doubles:
    """Upright boxes ``(n, 4)`` for polygons ``(n, 8)``, as MMTracking's quad2bbox.

    The centre is the corners' mean and the ratio of the sides that of the upright hull, which is
    shrunk to the area of the rectangle that the first three corners span.
    """
    points = corners.reshape(-1, 4, 2)
    hull = points.max(axis=1) - points.min(axis=1)
    edges = np.linalg.norm(points[:, :2] - points[:, 1:3], axis=2)
    area = hull.prod(axis=1)
    shrink = np.sqrt(np.divide(edges.prod(axis=1), area, out=np.zeros_like(area), where=area > 0))
    centre, half = points.mean(axis=1), 0.5 * shrink[:, None] * hull
    return np.concatenate([centre - half, centre + half], axis=1)


def read_flags(file: Path, expected: int) -> Booleans:
    """Flags 0 or 1, separated by commas, spaces or lines."""
    words = " ".join(read_lines(file)).replace(",", " ").split()
    odd = next((word for word in words if word not in ("0", "1")), None)
    if odd is not None:
        told = f"{shortened(odd)} is flag {words.index(odd) + 1}, allowed are 0 and 1"
        raise DataError(str(file), told)
    if len(words) != expected:
        raise DataError(str(file), f"{len(words)} flags, expected {expected}")
    flags: Booleans = np.asarray(words) == "1"
    return flags
