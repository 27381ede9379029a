"""Picture of a search's trials: the score by trial, and by the value of each field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from halftrack.errors import naming_file

__all__ = ["draw_trials"]

_ACROSS = 3


def draw_trials(
    path: Path, settings: Sequence[Mapping[str, Any]], scores: Sequence[float], *, metric: str
) -> None:
    """Draw the score by trial with the best so far, and a panel for each field, into one PNG.

    Args:
        path: the picture to write.
        settings: the values by field, a mapping for each trial, the recipe's own first.
        scores: the score of each trial.
        metric: name of the score.
    """
    fields = list(settings[0])
    down = math.ceil((len(fields) + 1) / _ACROSS)
    across = min(len(fields) + 1, _ACROSS)
    figure = Figure(figsize=(4 * across, 3.2 * down), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    first, best = panels[0], max(range(len(scores)), key=scores.__getitem__)
    first.plot(list(accumulate(scores, max)), color="C1", drawstyle="steps-post", label="best")
    _dots(first, list(range(len(scores))), scores, best)
    first.set_xlabel("trial")
    first.legend()
    for panel, field in zip(panels[1:], fields, strict=False):
        values = [each[field] for each in settings]
        if any(isinstance(each, bool | str | None) for each in values):
            values = [str(each) for each in values]
        _dots(panel, values, scores, best)
        panel.set_xlabel(field)
    for panel in panels[: len(fields) + 1]:
        panel.set_ylabel(metric)
        panel.grid(alpha=0.3)
    for panel in panels[len(fields) + 1 :]:
        panel.set_axis_off()
    with naming_file(path):
        figure.savefig(path, dpi=110)


def _dots(panel: Axes, xs: Sequence[Any], ys: Sequence[float], best: int) -> None:
    """A dot a trial; the recipe's own settings and the best stand out."""
    panel.scatter(xs, ys, s=12, color="C0", alpha=0.6)
    for place, name, marker in ((0, "recipe's own", "s"), (best, "best trial", "*")):
        panel.scatter([xs[place]], [ys[place]], s=70, marker=marker, label=name, zorder=3)
