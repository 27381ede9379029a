"""Several logs beside each other: final values, curves, settings that differ, all of it as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from halftrack.errors import naming_file
from halftrack.interop.logs.read import TrainingLog
from halftrack.interop.logs.summary import (
    default_keys,
    final_values,
    overflows,
    seconds_a_step,
)
from halftrack.report.log_page import Curves, write_log_page

__all__ = ["differences", "draw_logs", "last_row", "notes_of", "write_log_csv"]

_MOST_OVERFLOWS = 10
_PLACE = ("log", "mode", "epoch", "iter", "step")


def last_row(log: TrainingLog, keys: Sequence[str] | None = None) -> dict[str, str]:
    """Final values of a log, its skipped steps and its mean time a step, as text.

    Args:
        log: the log.
        keys: names of the fields; None for the usual ones.
    """
    seconds = seconds_a_step(log)
    told = final_values(log, default_keys([log]) if keys is None else keys)
    ours = bool(log.record("meta"))
    skipped = str(sum(line.skipped for line in log.lines)) if ours else "-"
    return told | {"skipped steps": skipped, "s/step": "-" if seconds is None else f"{seconds:.4g}"}


def notes_of(logs: Mapping[str, TrainingLog]) -> list[str]:
    """Lines of each log whose loss or gradient norm is not finite, in words."""
    notes = []
    for name, log in logs.items():
        found = overflows(log)
        if found:
            notes.append(f"{name}: {len(found)} lines are not finite:")
            notes += [f"  {each}" for each in found[:_MOST_OVERFLOWS]]
    return notes


def differences(settings: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    """Rows of the settings that are not the same everywhere, a column for each run.

    Args:
        settings: by the name of the run its settings; a run without any has a dash in each row.
    """
    names = dict.fromkeys(name for each in settings.values() for name in each)
    rows = [
        {"setting": name} | {run: each.get(name, "-") for run, each in settings.items()}
        for name in names
    ]
    return [row for row in rows if len({row[run] for run in settings}) > 1]


def draw_logs(
    out: Path,
    logs: Mapping[str, TrainingLog],
    keys: Sequence[str],
    *,
    rows: Sequence[Mapping[str, object]],
    notes: Sequence[str],
    settings: Sequence[Mapping[str, object]] = (),
) -> None:
    """Draw fields of logs into one picture, or, where ``out`` ends in ``.html``, onto a page.

    Args:
        out: the file to write.
        logs: the logs by name.
        keys: names of the fields, a panel each.
        rows: of the page's table, one a log.
        notes: the page's paragraphs.
        settings: rows of the page's settings that differ.
    """
    panels: Curves = {key: {name: log.points(key) for name, log in logs.items()} for key in keys}
    if out.suffix == ".html":
        write_log_page(out, panels, rows=rows, notes=notes, settings=settings)
        return
    from halftrack.report.log_curves import draw_log_curves  # matplotlib takes its time

    draw_log_curves(out, panels)


def write_log_csv(path: Path, logs: Mapping[str, TrainingLog]) -> None:
    """Write every line of logs as comma-separated values: its place, and a column for each field.

    A field that a line does not have is empty.
    """
    fields = dict.fromkeys(field for log in logs.values() for field in log.fields())
    with naming_file(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=[*_PLACE, *fields], restval="")
        writer.writeheader()
        writer.writerows(_csv_rows(logs))


def _csv_rows(logs: Mapping[str, TrainingLog]) -> Iterator[dict[str, object]]:
    for name, log in logs.items():
        for line in log.lines:
            mode = "skipped" if line.skipped else "train" if line.training else "val"
            place = (name, mode, line.epoch, line.iteration, f"{line.step:g}")
            yield {**dict(zip(_PLACE, place, strict=True)), **line.values}
