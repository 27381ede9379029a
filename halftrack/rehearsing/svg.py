"""Small charts as SVG text, for a page that loads no other files; the page's CSS colours them.

Series have the classes ``c0``, ``c1``, ...; everything is drawn in a box that scales.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from halftrack.precision.loss_scale import scale_words

if TYPE_CHECKING:
    from halftrack.precision import Histogram  # torch is imported with it

__all__ = ["curves", "legend", "octaves", "stacked_bars"]

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 440, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 12, 38
_LAST = 16  # fp16 ends at 65504, the last octave below 2^16
_FIRST = -24  # its smallest number
_IRRELEVANT = -27  # gradients below 2^-27 change nothing (arXiv 1710.03740, section 3.2)
_FLOOR = -7  # shares are drawn down to 10^-7
_ROW = 26


@dataclass(frozen=True)
class _Plot:
    """A rectangle of the picture and the values at its edges."""

    x: tuple[float, float]
    y: tuple[float, float]
    top: int = _TOP

    def across(self, x: float) -> float:
        """Pixels from the left."""
        low, high = self.x
        return _LEFT + (x - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def down(self, y: float) -> float:
        """Pixels from the top."""
        low, high = self.y
        bottom = _HEIGHT - _BOTTOM
        return bottom - (y - low) / (high - low) * (bottom - self.top)

    def frame(
        self, xs: Iterable[tuple[float, str]], ys: Iterable[tuple[float, str]], label: str
    ) -> Iterator[str]:
        """Grid, axes, their numbers, and the name of the horizontal axis."""
        left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        for y, text in ys:
            yield _line(left, self.down(y), right, self.down(y), "grid")
            yield _text(left - 6, self.down(y) + 4, text, anchor="end")
        for x, text in xs:
            yield _line(self.across(x), bottom, self.across(x), bottom + 4, "axis")
            yield _text(self.across(x), bottom + 17, text, anchor="middle")
        yield _line(left, bottom, right, bottom, "axis")
        yield _text((left + right) / 2, _HEIGHT - 4, label, anchor="middle", kind="label")


def curves(
    lines: Mapping[str, Points],
    *,
    title: str,
    x: str,
    marks: Points = (),
    log2: tuple[bool, bool] = (False, False),
    percent: bool = False,
    band: tuple[float, float] | None = None,
) -> str:
    """Draw lines over a common axis; values that are not finite are left out.

    Args:
        lines: points by name, in the order of the colours.
        title: the text for screen readers.
        x: the name of the horizontal axis.
        marks: points drawn as a cross.
        log2: draw x and y, in this order, as powers of two.
        percent: label y as a share, in percent.
        band: a range of x that is shaded.
    """
    drawn = {
        name: [(_scaled(a, log2[0]), _scaled(b, log2[1])) for a, b in points if math.isfinite(b)]
        for name, points in lines.items()
    }
    crosses = [(_scaled(a, log2[0]), _scaled(b, log2[1])) for a, b in marks]
    everything = [point for points in (*drawn.values(), crosses) for point in points]
    if not everything:
        return _nothing(title)
    plot = _around(everything, octaves_up=log2[1])
    parts = []
    if band is not None:
        start, end = (min(max(_scaled(b, log2[0]), plot.x[0]), plot.x[1]) for b in band)
        parts.append(_band(plot, start, end, "fits"))
    parts += plot.frame(
        _ticks(plot.x, log2=log2[0], whole=True),
        _ticks(plot.y, log2=log2[1], percent=percent, whole=log2[1]),
        x,
    )
    for number, (name, points) in enumerate(drawn.items()):
        parts += _polyline(plot, points, name, f"c{number}")
    for a, b in crosses:
        parts.append(
            f'<path class="cross" d="M{plot.across(a) - 4:.1f} {plot.down(b) - 4:.1f}'
            'l8 8m-8 0l8 -8"><title>skipped step</title></path>'
        )
    return _svg(parts, title)


def octaves(
    histogram: Histogram, *, title: str, scale: float | None = None, gradient: bool = False
) -> str:
    """Draw the share of the values in each power of two, over the range that fp16 holds.

    Args:
        histogram: unscaled values; zeros are left out.
        title: the text for screen readers.
        scale: the loss scale for which fp16's range is shaded; 1 if None.
        gradient: mark values below 2^-27 as irrelevant.
    """
    if not histogram.counts:
        return _nothing(title)
    shift = -int(math.log2(scale or 1.0))
    low = max(min(*histogram.counts, _IRRELEVANT + shift) - 1, -72)
    high = max(*histogram.counts, _LAST) + 2
    brackets = [(0, "fp16 at scale 1" if gradient else "fp16")]
    if scale is not None and shift:
        brackets.append((shift, f"fp16 at scale {scale_words(scale)}"))
    plot = _Plot((low, high), (_FLOOR, 0.3), top=_TOP + 20 * len(brackets))
    parts = [_band(plot, max(_FIRST + shift, low), min(_LAST + shift, high), "fits")]
    if gradient and low < _IRRELEVANT:
        parts.append(_band(plot, low, _IRRELEVANT, "irrelevant"))
    parts += plot.frame(
        [(e, f"2^{e}") for e in range(math.ceil(low / 8) * 8, high, 8)],
        [(-k, f"{100 / 10**k:g}%") for k in range(0, -_FLOOR, 2)],
        "magnitude",
    )
    for row, (place, name) in enumerate(brackets):
        parts += _bracket(plot, place, name, 12 + 20 * row)
    total = histogram.nonzero
    heights: dict[int, int] = {}
    for exponent, count in histogram.counts.items():  # the smallest of all stand in one bar
        heights[max(exponent, low)] = heights.get(max(exponent, low), 0) + count
    for exponent, count in sorted(heights.items()):
        level = max(math.log10(count / total), _FLOOR + 0.05)
        left, right = plot.across(exponent), plot.across(exponent + 1)
        parts.append(
            f'<rect class="bar c0" x="{left + 0.5:.1f}" y="{plot.down(level):.1f}" '
            f'width="{right - left - 1:.1f}" height="{plot.down(_FLOOR) - plot.down(level):.1f}">'
            f"<title>2^{exponent}: {100 * count / total:.3g}%</title></rect>"
        )
    return _svg(parts, title)


def stacked_bars(
    rows: Mapping[str, Mapping[str, float]], *, title: str, unit: str, names: int = 60
) -> str:
    """Draw a bar for each row, made of its parts, with the sum behind it.

    Args:
        rows: by the name of the row, its parts by name; all rows have the same parts.
        title: the text for screen readers.
        unit: the unit of the sums.
        names: pixels for the names of the rows.
    """
    sums = {name: sum(parts.values()) for name, parts in rows.items()}
    most = max(sums.values(), default=0)
    if not most:
        return _nothing(title)
    room = _WIDTH - names - 84
    parts = []
    for row, (name, pieces) in enumerate(rows.items()):
        y, x = row * _ROW + 4, float(names)
        parts.append(_text(names - 6, y + 13, _tail(name, names - 6), anchor="end"))
        for number, (kind, size) in enumerate(pieces.items()):
            width = size / most * room
            if width > 0:
                parts.append(
                    f'<rect class="bar c{number}" x="{x:.1f}" y="{y}" width="{width:.1f}" '
                    f'height="18"><title>{escape(kind)}: {size:,.4g} {escape(unit)}</title></rect>'
                )
            x += width
        parts.append(_text(x + 6, y + 13, f"{sums[name]:,.4g} {unit}"))
    return _svg(parts, title, height=len(rows) * _ROW + 4)


def _tail(name: str, room: int) -> str:
    """The end of a name, as much as fits into a number of pixels."""
    letters = room // 7
    return name if len(name) <= letters else f"\u2026{name[1 - letters :]}"


def legend(names: Iterable[str]) -> str:
    """Draw the names of the series beside their colours."""
    keys = "".join(
        f'<li><span class="key c{number}"></span>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{keys}</ul>'


def _scaled(value: float, log2: bool) -> float:
    return math.log2(value) if log2 else value


def _around(points: Points, *, octaves_up: bool) -> _Plot:
    """A plot with room for all points, from 0 up; octaves have a spare one on each side."""
    xs, ys = ([point[i] for point in points] for i in (0, 1))
    x = min(xs), max(*xs, min(xs) + 1)
    if octaves_up:
        return _Plot(x, (math.floor(min(ys)) - 1, math.ceil(max(ys)) + 1))
    low = min(0.0, *ys)
    # Of nothing but zeros there is a plot too.
    return _Plot(x, (low, low + 1.05 * ((max(ys) - low) or 1.0)))


def _polyline(plot: _Plot, points: Points, name: str, kind: str) -> Iterator[str]:
    """A line, or a dot for a single point."""
    places = [(f"{plot.across(a):.1f}", f"{plot.down(b):.1f}") for a, b in points]
    told = f"<title>{escape(name)}</title>"
    if len(places) == 1:
        ((x, y),) = places
        yield f'<circle class="dot {kind}" cx="{x}" cy="{y}" r="3">{told}</circle>'
    elif places:
        path = " ".join(f"{x},{y}" for x, y in places)
        yield f'<polyline class="line {kind}" points="{path}">{told}</polyline>'


def _ticks(
    edges: tuple[float, float], *, log2: bool = False, percent: bool = False, whole: bool = False
) -> Iterator[tuple[float, str]]:
    """About five round values between the edges."""
    low, high = edges
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    if log2 or whole:
        step = max(round(step), 1)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        value = number * step
        shown = f"{100 * value:.3g}%" if percent else f"{value:.4g}"
        yield value, f"{2.0**value:g}" if log2 and value < 17 else f"2^{value}" if log2 else shown


def _bracket(plot: _Plot, shift: int, name: str, y: int) -> Iterator[str]:
    """A line over the octaves that fp16 holds, with its name."""
    left, right = (min(max(e + shift, plot.x[0]), plot.x[1]) for e in (_FIRST, _LAST))
    yield _line(plot.across(left), y + 4, plot.across(right), y + 4, "bracket")
    yield _text((plot.across(left) + plot.across(right)) / 2, y, name, anchor="middle")


def _band(plot: _Plot, start: float, end: float, kind: str) -> str:
    left, right = plot.across(start), plot.across(max(end, start))
    bottom = _HEIGHT - _BOTTOM
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{plot.top}" width="{right - left:.1f}" '
        f'height="{bottom - plot.top}"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "tick") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _nothing(title: str) -> str:
    middle = _text(_WIDTH / 2, 30, "nothing was seen", anchor="middle", kind="label")
    return _svg([middle], title, height=50)


def _svg(parts: Iterable[str], title: str, *, height: int = _HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
