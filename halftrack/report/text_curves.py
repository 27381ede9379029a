"""Curves drawn with characters, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["text_curve"]

# Bits of the dots of a braille character, from top to bottom, in its two columns.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK = 0x2800
_LABEL = 8  # characters for a number beside the axis


def text_curve(
    points: Sequence[tuple[float, float]], *, width: int, height: int, log2: bool = False
) -> list[str]:
    """Draw a line through points with braille characters, between its least and largest value.

    Args:
        points: step and value, in the order of the steps; values that are not finite are left out.
        width: characters of a line, those of the numbers at the axis included.
        height: number of lines.
        log2: draw the powers of two; values that are not positive are left out too.

    Returns:
        The lines; of no points blank ones.
    """
    finite = [
        (step, math.log2(value) if log2 else value)
        for step, value in points
        if math.isfinite(value) and (value > 0 or not log2)
    ]
    if not finite:
        return ["-".rjust(_LABEL), *[""] * (height - 1)]
    columns, rows = 2 * max(1, width - _LABEL - 1), 4 * height
    low, high = (pick(value for _, value in finite) for pick in (min, max))
    cells = [[_BLANK] * (columns // 2) for _ in range(height)]
    dots = [
        (column, round((high - value) / ((high - low) or 1.0) * (rows - 1)))
        for column, value in _means(finite, columns)
    ]
    for column, row in _joined(dots):
        cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
    labels = [""] * height
    labels[-1], labels[0] = (f"{2**end if log2 else end:.5g}" for end in (low, high))
    return [
        f"{label.rjust(_LABEL)} {''.join(map(chr, line))}"
        for label, line in zip(labels, cells, strict=True)
    ]


def _means(points: Sequence[tuple[float, float]], columns: int) -> list[tuple[int, float]]:
    """The mean of the values that fall into each column, of those with any."""
    first, last = points[0][0], points[-1][0]
    found: dict[int, list[float]] = {}
    for step, value in points:
        place = (step - first) / ((last - first) or 1.0)
        found.setdefault(round(place * (columns - 1)), []).append(value)
    return [(column, sum(values) / len(values)) for column, values in sorted(found.items())]


def _joined(dots: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The dots and those between them on straight lines."""
    joined = list(dots[:1])
    for (left, above), (right, below) in pairwise(dots):
        count = max(right - left, abs(below - above))
        joined += [
            (
                left + round(part / count * (right - left)),
                above + round(part / count * (below - above)),
            )
            for part in range(1, count + 1)
        ]
    return joined
