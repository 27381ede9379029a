"""Reads training logs and draws their curves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["plot_curves", "read_log"]


def read_log(path: Path) -> list[dict[str, Any]]:
    """All records of a ``log.jsonl``.

    Raises:
        ValueError: naming file and line if a line is not a JSON object.
    """
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON: {error.msg}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: expected an object, got {line[:40]!r}")
        records.append(record)
    return records


def plot_curves(path: Path, runs: Mapping[str, Path]) -> None:
    """Draw loss, gradient norm and loss scale of several runs into one PNG; skipped steps as marks.

    Args:
        path: the picture to write.
        runs: label of each run and its ``log.jsonl``.
    """
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    for panel, (field, label) in zip(
        panels,
        (("loss", "loss"), ("grad_norm", "gradient norm"), ("loss_scale", "loss scale")),
        strict=True,
    ):
        for log in runs.values():
            # The log writes "inf" and "nan" as text: JSON has no such numbers.
            points = [
                (r["step"], float(r[field]))
                for r in read_log(log)
                if r.get("mode") == "train" and field in r
            ]
            panel.plot(*zip(*((x, y) for x, y in points if math.isfinite(y)), strict=True))
        panel.set_xlabel("step")
        panel.set_title(label)
        panel.grid(alpha=0.3)
    for number, log in enumerate(runs.values()):
        skips = [r for r in read_log(log) if r.get("skipped") is True]
        places = [r["step"] for r in skips], [r["loss_scale"] for r in skips]
        panels[2].scatter(*places, marker="x", color=f"C{number}", zorder=3)
    panels[2].set_title("loss scale (x: skipped step)")
    panels[2].set_yscale("log", base=2)
    panels[0].legend(list(runs))
    figure.savefig(path, dpi=110)
