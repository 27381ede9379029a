"""A run on a terminal: one screen that is drawn again, or a line for each of the log's."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from halftrack.interop.logs.read import Line
from halftrack.precision.loss_scale import scale_words
from halftrack.report.log_page import POWERS
from halftrack.report.text_curves import text_curve
from halftrack.studies.following.run import FollowedRun

__all__ = ["Screen", "culprit_words", "line_words", "plain_number", "state_words"]

_CHART = 38  # characters that a chart needs at least
_HEIGHTS = (2, 6)  # lines of a chart, at least and at most
_BESIDES = 11  # lines of a screen that are no charts
_LAST = 2  # skipped steps, and evaluations
_FORMS = {
    "loss": "loss {:.4f}",
    "lr": "lr {:.5g}",
    "grad_norm": "grad norm {:.3g}",
    "loss_scale": "loss scale {}",
    "skipped": "{:g} skipped",
    "time": "{:.3f} s/step",
    "samples_per_second": "{:.1f} samples/s",
    "data_share": "data {:.0%}",
    "memory": "{:g} MB",
}
_OLD = 120  # seconds without a line from which on it is told


class Screen:
    """All of a run that fits on a terminal: state, speed, curves, skipped steps, evaluations.

    Args:
        run: the run.
    """

    def __init__(self, run: FollowedRun) -> None:
        self._run = run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        run = self._run
        yield Text(state_words(run), style="bold", overflow="fold")
        if run.total:
            bar = ProgressBar(total=run.total, completed=run.step, width=options.max_width)
            yield Padding(bar, 0)  # by itself it ends no line
        if run.trained:
            yield Text("  ".join(_numbers(run.trained[-1].values)))
        yield _charts(run, options.max_width, console.height)
        for row in run.skipped[-_LAST:]:
            yield Text(culprit_words(row), style="red", overflow="fold")
        for line in run.evaluated[-_LAST:]:
            yield Text(line_words(run, line), style="green", overflow="fold")


def state_words(run: FollowedRun) -> str:
    """Name, state, place and what is left, in a line."""
    place = f"step {run.step}" + ("" if run.total is None else f" of {run.total}")
    if run.log.lines:
        place = f"epoch {run.log.lines[-1].epoch}, {place}"
    words = f"{run.name}: {run.state}, {place}"
    left = run.seconds_left()
    if run.state == "ended" and run.total is not None:
        return f"{words}; it was interrupted, the same command goes on"
    if not run.running or left is None:
        return words
    silent = time.time() - run.log.file.stat().st_mtime
    told = f"; no line for {_duration(silent)}" if silent > _OLD else ""
    return f"{words}, about {_duration(left)} left without evaluations{told}"


def line_words(run: FollowedRun, line: Line) -> str:
    """A line of the log in words."""
    if not line.training:
        scores = "  ".join(f"{name} {value:.4g}" for name, value in line.values.items())
        return f"evaluation after epoch {line.epoch}: {scores}"
    if line.skipped:
        return culprit_words(next(row for row in run.skipped if row.get("step") == line.step))
    total = "" if run.total is None else f"/{run.total}"
    place = f"epoch {line.epoch}  step {line.step:g}{total}"
    return "  ".join([place, *_numbers(line.values)])


def culprit_words(row: Mapping[str, Any]) -> str:
    """A skipped step, or the one that a run stopped at, with its culprit."""
    verb = "stopped the run" if row.get("mode") == "stop" else "skipped"
    told = f"step {row.get('step')}: {verb} at loss scale {plain_number(row.get('loss_scale'))}"
    culprit = row.get("culprit")
    if not isinstance(culprit, Mapping):
        return f"{told}, no culprit found"
    told += f": {culprit.get('direction') or ''} {culprit.get('operation')}".replace(":  ", ": ")
    told += f" in {culprit.get('where')}, {culprit.get('kind')}"
    if culprit.get("fits_at") is not None:
        told += f", fits at loss scale {plain_number(culprit['fits_at'])}"
    return told


def plain_number(value: object) -> str:
    """A loss scale of a log, whole ones without fraction and exponent; other values as they are."""
    return scale_words(value) if isinstance(value, int | float) else str(value)


def _numbers(values: Mapping[str, float]) -> list[str]:
    """Those of a line's numbers that people look at, in words."""
    shown = dict[str, object](values)
    if "loss_scale" in values:
        shown["loss_scale"] = scale_words(values["loss_scale"])
    return [form.format(shown[name]) for name, form in _FORMS.items() if name in shown]


def _charts(run: FollowedRun, width: int, height: int) -> RenderableType:
    """The usual curves, as many beside each other as the terminal is wide.

    Of a value that never changed the lines above and below tell all; a loss that became NaN did.
    """
    panels = [
        (field, points)
        for field, logs in run.panels().items()
        for points in logs.values()
        if len({str(value) for _, value in points}) > 1  # NaN is not equal to NaN
    ]
    across = max(1, min(len(panels), width // _CHART))
    down = max(1, math.ceil(len(panels) / across))
    across = math.ceil(len(panels) / down) or 1  # rows equally full
    least, most = _HEIGHTS
    lines = min(max((height - _BESIDES) // down - 1, least), most)
    charts = [_chart(field, points, width // across - 1, lines) for field, points in panels]
    grid = Table.grid(padding=(0, 1, 0, 0))
    for first in range(0, len(charts), across):
        grid.add_row(*charts[first : first + across])
    return grid


def _chart(
    field: str, points: Sequence[tuple[float, float]], width: int, height: int
) -> RenderableType:
    lines = text_curve(points, width=width, height=height, log2=field in POWERS)
    return Group(Text(f"{'':9}{field}", style="bold"), Text("\n".join(lines), no_wrap=True))


def _duration(seconds: float) -> str:
    """A time in its two largest units."""
    rest = round(max(seconds, 0.0))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
