"""``halftrack plot``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halftrack.bounds import shown
from halftrack.cli.checks import check_new_file
from halftrack.cli.console import console, tell
from halftrack.errors import MissingFileError, UserError

if TYPE_CHECKING:
    from halftrack.interop.logs.read import TrainingLog

__all__ = ["check_logs", "check_picture", "chosen_keys", "log_names", "plot"]

_MOST_LOGS = 6  # of which each has a colour of its own


def plot(
    logs: Annotated[
        list[Path],
        typer.Argument(
            metavar="LOG...",
            help="Logs, or folders of runs: .log.json or .log of MMTracking, log.jsonl of ours.",
        ),
    ],
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Draw these fields, e.g. loss,lr,bbox_mAP_50. Default: loss, learning rate, "
            "gradient norm, loss scale and scores, of those that are there.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Write a picture (.png) or a page with all tables (.html)."
        ),
    ] = Path("curves.png"),
    table: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write all lines of the logs as CSV too."),
    ] = None,
) -> None:
    """Draw training logs, list final values and overflows."""
    check_logs(logs, "LOG")
    check_picture(out)
    check_new_file("--csv", table)
    from halftrack.interop.logs.read import read_training_log
    from halftrack.report.tables import render_table
    from halftrack.studies.following.comparison import (
        draw_logs,
        last_row,
        notes_of,
        write_log_csv,
    )

    read = dict(zip(log_names(logs), map(read_training_log, logs), strict=True))
    chosen = chosen_keys(keys, list(read.values()))
    rows = [{"log": name, **last_row(log, chosen)} for name, log in read.items()]
    notes = notes_of(read)
    draw_logs(out, read, chosen, rows=rows, notes=notes)
    if table is not None:
        write_log_csv(table, read)
    console.print(render_table(rows, title="Final values"))
    for line in (*notes, f"drawn to {out}", *([] if table is None else [f"lines in {table}"])):
        tell(line)


def check_logs(logs: Sequence[Path], word: str) -> None:
    """Refuse logs that are missing, or more of them than one picture holds."""
    if len(logs) > _MOST_LOGS:
        raise UserError(f"{len(logs)} logs: expected {_MOST_LOGS} at most in one picture")
    for given in logs:
        if not given.exists():
            raise MissingFileError(f"{word} {given}: there is no such file or folder")


def check_picture(out: Path) -> None:
    """Refuse a file that curves cannot be drawn to."""
    if out.suffix not in (".png", ".html"):
        raise UserError(f"--out {shown(str(out))}: expected a name that ends in .png or .html")
    check_new_file("--out", out)


def chosen_keys(asked: str | None, logs: Sequence[TrainingLog]) -> list[str]:
    """The fields that the user asked for, else the usual ones.

    Raises:
        UserError: for a field that no log has.
    """
    from halftrack.interop.logs.summary import default_keys

    there = list(dict.fromkeys(key for log in logs for key in log.fields()))
    if asked is None:
        usual = default_keys(logs)
        if not usual:
            raise UserError(f"--keys is missing: the logs have {', '.join(there) or 'no numbers'}")
        return usual
    chosen = list(dict.fromkeys(key.strip() for key in asked.split(",") if key.strip()))
    for key in chosen or [""]:
        if key not in there:
            raise UserError(f"--keys {shown(key)}: no log has it; there are {', '.join(there)}")
    return chosen


def log_names(logs: Sequence[Path]) -> list[str]:
    """Short names that tell the logs apart: of a run's folder, else of the file."""
    names = [
        (log.parent if log.name == "log.jsonl" else log).resolve().name.removesuffix(".log.json")
        for log in logs
    ]
    return names if len(set(names)) == len(names) else [str(log) for log in logs]
