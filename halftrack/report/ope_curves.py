"""Curves of one-pass evaluation as papers show them: success, precision, normalised precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from halftrack.evaluation import OpeScores

__all__ = ["OPE_PICTURES", "plot_ope_curves"]

# The title of each number, and the thresholds of its curve.
_PLOTS = {
    "success": ("Success", "overlap threshold"),
    "precision": ("Precision", "location error threshold (px)"),
    "norm_precision": ("Normalised precision", "normalised location error threshold"),
}
OPE_PICTURES = tuple(f"{name}.png" for name in _PLOTS)
"""Names of the pictures."""


def plot_ope_curves(folder: Path, trackers: Mapping[str, OpeScores], *, title: str) -> None:
    """Draw ``success.png``, ``precision.png`` and ``norm_precision.png``, with a line a tracker.

    The legend ranks the trackers by the plot's number: success AUC, precision at 20 px, normalised
    precision at 0.2, each in percent.

    Args:
        folder: the folder of the pictures.
        trackers: mean scores over the sequences, by the label of the tracker.
        title: benchmark and rule, for the titles.
    """
    for (name, (what, axis)), picture in zip(_PLOTS.items(), OPE_PICTURES, strict=True):
        figure = Figure(figsize=(6, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        panel = figure.subplots()
        ranked = sorted(trackers.items(), key=lambda each: each[1].flat()[name], reverse=True)
        for label, scores in ranked:
            curve = scores.curves()[f"{name}_curve"]
            legend = f"{label} [{scores.flat()[name]:.1f}]"
            panel.plot(curve["thresholds"], curve["percent"], label=legend)
        panel.set_title(f"{what}, {title}")
        panel.set_xlabel(axis)
        panel.set_ylabel("frames (%)")
        panel.set_xlim(0, curve["thresholds"][-1])
        panel.set_ylim(0, 100)
        panel.grid(alpha=0.3)
        panel.legend()
        figure.savefig(folder / picture, dpi=110)
