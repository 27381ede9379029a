"""Curves of training logs in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from halftrack.training.files.log_file import read_log

__all__ = ["plot_curves"]


def plot_curves(path: str | Path, runs: Mapping[str, str | Path | Sequence[str | Path]]) -> None:
    """Draw loss, gradient norm and loss scale of runs into one PNG, with skipped steps marked.

    Args:
        path: the picture to write.
        runs: by label, the ``log.jsonl`` or folder of a run, or those of several in one colour.
    """
    logs = {
        label: [read_log(log) for log in ([given] if isinstance(given, str | Path) else given)]
        for label, given in runs.items()
    }
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    for number, (label, group) in enumerate(logs.items()):
        for place, records in enumerate(group):
            for panel, field in zip(panels, ("loss", "grad_norm", "loss_scale"), strict=True):
                panel.plot(
                    *_points(records, field),
                    color=f"C{number}",
                    alpha=1.0 if len(group) == 1 else 0.6,
                    label=None if place else label,
                )
            skips = [r for r in records if r.get("skipped") is True]
            places = [r["step"] for r in skips], [r["loss_scale"] for r in skips]
            panels[2].scatter(*places, marker="x", color=f"C{number}", zorder=3)
    titles = ("loss", "gradient norm", "loss scale (x: skipped step)")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_xlabel("step")
        panel.set_title(title)
        panel.grid(alpha=0.3)
    panels[2].set_yscale("log", base=2)
    panels[0].legend()
    figure.savefig(path, dpi=110)


def _points(records: Sequence[Mapping[str, Any]], field: str) -> tuple[list[int], list[float]]:
    """Steps and finite values of a field of the train lines."""
    # The log writes "inf" and "nan" as text: JSON has no such numbers.
    values = [
        (r["step"], float(r[field])) for r in records if r.get("mode") == "train" and field in r
    ]
    finite = [(step, value) for step, value in values if math.isfinite(value)]
    return [step for step, _ in finite], [value for _, value in finite]
