"""``halftrack watch``, ``halftrack report`` and ``halftrack compare``."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from halftrack.bounds import shown
from halftrack.cli.checks import check_new_file
from halftrack.cli.console import console, tell
from halftrack.cli.plot import check_logs, check_picture, chosen_keys, log_names
from halftrack.errors import MissingFileError, UserError

__all__ = ["compare", "report", "watch"]

_EVERY = 2.0  # seconds between two looks at a log
_REFRESH = 10  # seconds after which a page is written and loaded again

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's folder, e.g. runs/X, or its log.jsonl.")
]


def watch(
    run: Run,
    once: Annotated[bool, typer.Option("--once", help="Print one screen and end.")] = False,
) -> None:
    """Follow a run on the terminal until it ends.

    Shows curves, time left, skipped steps with their culprits, loss scale, memory and the share
    of the time that waits for data. Into a pipe it prints a line for each line of the log.
    """
    _check_run(run)
    from rich.live import Live

    from halftrack.studies.following.exporters import new_lines
    from halftrack.studies.following.run import follow, read_run
    from halftrack.studies.following.screen import Screen, line_words, state_words

    if once:
        console.print(Screen(read_run(run)))
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for each in follow(run, every=_EVERY):
                live.update(Screen(each), refresh=True)
    else:
        new = new_lines()
        for each in follow(run, every=_EVERY):
            for line in new(each):
                tell(line_words(each, line))
        tell(state_words(each))


def report(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write this page. Default: report.html in the run."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Write the page once, though the run goes on.")
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the log's numbers for TensorBoard too."),
    ] = None,
    wandb: Annotated[
        str | None,
        typer.Option(metavar="PROJECT", help="Send the log's numbers to Weights & Biases too."),
    ] = None,
) -> None:
    """Write a run's page: settings, curves, skipped steps, scores.

    While the run goes on the page is written again every 10 seconds, and browsers that show it
    load it again.
    """
    _check_run(run)
    if out is not None and out.suffix != ".html":
        raise UserError(f"--out {shown(str(out))}: expected a name that ends in .html")
    page = out or (run if run.is_dir() else run.parent) / "report.html"
    check_new_file("--out", page)
    from halftrack.report.log_page import write_page
    from halftrack.studies.following import exporters
    from halftrack.studies.following.page import run_page
    from halftrack.studies.following.run import follow, read_run

    if tensorboard is not None:
        exporters.check_package("--tensorboard", "tensorboard")
    if wandb is not None:
        exporters.check_package("--wandb", "wandb")
    first, new = read_run(run), exporters.new_lines()
    with ExitStack() as stack:
        tools: list[exporters.Exporter] = []
        if tensorboard is not None:
            events = exporters.TensorBoard(tensorboard, first)
            tools.append(stack.enter_context(closing(events)))
        if wandb is not None:
            project = exporters.WeightsAndBiases(wandb, first)
            tools.append(stack.enter_context(closing(project)))
        if first.running and not once:
            tell(f"{page} is written again every {_REFRESH} s until the run ends")
        for each in [first] if once else follow(run, every=_REFRESH):
            write_page(
                page, run_page(each, refresh=_REFRESH if each.running and not once else None)
            )
            for line in new(each):
                for tool in tools:
                    tool.send(line)
    tell(f"{each.name}: {each.state}, written to {page}")


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Runs' folders or logs, MMTracking's too."),
    ],
    keys: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Compare these fields, e.g. loss,coco_ap50."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the curves too: a picture (.png) or a page (.html)."
        ),
    ] = None,
) -> None:
    """Compare runs: settings that differ, curves, final values."""
    if len(runs) < 2:
        raise UserError(f"RUN {runs[0]}: expected two runs or more to compare")
    check_logs(runs, "RUN")
    if out is not None:
        check_picture(out)
    from halftrack.report.tables import render_table
    from halftrack.studies.following import comparison
    from halftrack.studies.following.run import read_run

    read = dict(zip(log_names(runs), map(read_run, runs), strict=True))
    logs = {name: each.log for name, each in read.items()}
    chosen = chosen_keys(keys, list(logs.values()))
    differing = comparison.differences({name: each.settings() for name, each in read.items()})
    rows = [
        {"run": name, "state": each.state, **comparison.last_row(each.log, chosen)}
        for name, each in read.items()
    ]
    if out is not None:
        notes = comparison.notes_of(logs)
        comparison.draw_logs(out, logs, chosen, rows=rows, notes=notes, settings=differing)
    if differing:
        console.print(render_table(differing, title="Settings that differ"))
    else:
        tell("no setting differs")
    console.print(render_table(rows, title="Final values"))
    if out is not None:
        tell(f"drawn to {out}")


def _check_run(run: Path) -> None:
    if not run.exists():
        raise MissingFileError(f"RUN {run}: there is no such folder or file")
