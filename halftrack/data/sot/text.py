"""The text files of single-object data sets: lines, boxes, polygons and flags, errors by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from halftrack.data.index import Booleans
from halftrack.data.problems import DataError

__all__ = ["Doubles", "read_boxes", "read_flags", "read_lines"]

Doubles = npt.NDArray[np.float64]


def read_lines(file: Path) -> list[str]:
    """The lines of a file that must be there, without blank ones at its end."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(str(file), "file is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(file), f"cannot be read: {error}") from None
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if not lines:
        raise DataError(str(file), "is empty")
    # Blank lines would be skipped, and each box after one would move to another frame.
    if "" in lines:
        raise DataError(str(file), f"line {lines.index('') + 1} is empty")
    return lines


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
    odd = np.flatnonzero((np.isinf(table) if nan else ~np.isfinite(table)).any(axis=1))
    if len(odd):
        raise DataError(str(file), f"line {odd[0] + 1}, {lines[odd[0]]!r}: a value is not finite")
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
            return f"line {number}, {line!r}: {told}"
        for value in values:
            try:
                float(value)
            except ValueError:
                return f"line {number}, {line!r}: {value.strip()!r} is not a number"
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
        raise DataError(str(file), f"{odd!r} is flag {words.index(odd) + 1}, allowed are 0 and 1")
    if len(words) != expected:
        raise DataError(str(file), f"{len(words)} flags, expected {expected}")
    flags: Booleans = np.asarray(words) == "1"
    return flags
