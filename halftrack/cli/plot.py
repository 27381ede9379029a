"""``halftrack plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halftrack.bounds import shown
from halftrack.cli.checks import check_new_file
from halftrack.cli.console import console, tell
from halftrack.errors import MissingFileError, UserError

__all__ = ["plot"]

_MOST_LOGS = 6  # of which each has a colour of its own
_MOST_OVERFLOWS = 10


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
) -> None:
    """Draw training logs, list final values and overflows."""
    if len(logs) > _MOST_LOGS:
        raise UserError(f"{len(logs)} logs: expected {_MOST_LOGS} at most in one picture")
    if out.suffix not in (".png", ".html"):
        raise UserError(f"--out {shown(str(out))}: expected a name that ends in .png or .html")
    check_new_file("--out", out)
    for given in logs:
        if not given.exists():
            raise MissingFileError(f"LOG {given}: there is no such file or folder")
    from halftrack.interop.logs.read import read_training_log
    from halftrack.interop.logs.summary import default_keys, final_values, overflows, seconds_a_step

    read = [read_training_log(given) for given in logs]
    chosen = _chosen(keys, default_keys(read), [key for log in read for key in log.fields()])
    names = _names(logs)
    # Behind what may be wrong: drawing takes its time to import.
    from halftrack.report.log_curves import draw_log_curves, write_log_page
    from halftrack.report.tables import render_table

    rows, notes = [], []
    for name, log in zip(names, read, strict=True):
        seconds = seconds_a_step(log)
        time = {"s/step": "-" if seconds is None else f"{seconds:.4g}"}
        rows.append({"log": name, **final_values(log, chosen), **time})
        found = overflows(log)
        if found:
            notes.append(f"{name}: {len(found)} lines are not finite:")
            notes += [f"  {each}" for each in found[:_MOST_OVERFLOWS]]
    panels = {
        key: {name: log.points(key) for name, log in zip(names, read, strict=True)}
        for key in chosen
    }
    if out.suffix == ".html":
        write_log_page(out, panels, rows=rows, notes=notes)
    else:
        draw_log_curves(out, panels)
    console.print(render_table(rows, title="Final values"))
    for line in (*notes, f"drawn to {out}"):
        tell(line)


def _chosen(asked: str | None, usual: list[str], there: list[str]) -> list[str]:
    """The fields to draw; those that no log has are an error."""
    if asked is None:
        if not usual:
            raise UserError(f"--keys is missing: the logs have {', '.join(dict.fromkeys(there))}")
        return usual
    chosen = list(dict.fromkeys(key.strip() for key in asked.split(",") if key.strip()))
    for key in chosen or [""]:
        if key not in there:
            raise UserError(
                f"--keys {shown(key)}: no log has it; there are {', '.join(dict.fromkeys(there))}"
            )
    return chosen


def _names(logs: list[Path]) -> list[str]:
    """Short names that tell the logs apart: of a run's folder, else of the file."""
    names = [
        (log.parent if log.name == "log.jsonl" else log).resolve().name.removesuffix(".log.json")
        for log in logs
    ]
    return names if len(set(names)) == len(names) else [str(log) for log in logs]
