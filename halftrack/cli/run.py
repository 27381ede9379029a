"""``halftrack run``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halftrack.cli.checks import check_file, check_output
from halftrack.cli.console import tell
from halftrack.cli.exits import BAD_VERDICT
from halftrack.cli.options import RangesEvery, RehearsedSteps
from halftrack.errors import UserError

if TYPE_CHECKING:
    from halftrack.rehearsing.script import ScriptRun

__all__ = ["run"]

_PAUSE = 10.0  # seconds at least between two lines of progress


def run(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SCRIPT [-- ARGUMENTS]",
            help="Training script to run unchanged, and after -- the script's own arguments.",
        ),
    ],
    is_module: Annotated[
        bool,
        typer.Option("--module", "-m", help="SCRIPT is the name of a module, as for python -m."),
    ] = False,
    steps: RehearsedSteps = 50,
    every: RangesEvery = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the HTML page and the numbers to this folder. "
            "Default: runs/SCRIPT_rehearsal.",
        ),
    ] = None,
) -> None:
    """Run any PyTorch training script as if a GPU were there. Needs no GPU.

    Ends the script after N optimizer steps and reports what half precision did to them. The
    script's own autocast and GradScaler decide the precision. Exit code 3 means that something must
    change before you train; a script that fails has its own.
    """
    script, *arguments = words
    if not is_module:
        check_file("SCRIPT", script)
    name = script if is_module else Path(script).stem
    out = (out or Path("runs") / f"{name}_rehearsal").absolute()
    check_output(out)
    from halftrack.rehearsing.script import run_script

    ended = run_script(
        script,
        arguments,
        is_module=is_module,
        steps=steps,
        every=every,
        progress=_line_of_progress() if sys.stderr.isatty() else None,
    )
    _tell(ended, script, out)


def _tell(ended: ScriptRun, script: str, out: Path) -> None:
    """Print and write the report, and end with the exit code that it and the script deserve."""
    report = ended.report
    changes: tuple[str, ...] = ()
    if report is not None:
        from halftrack.rehearsing.page import write_page

        changes = report.must_change
        tell(f"\n{report}")
        tell(f"written to {write_page(report, out)}")
    if ended.refused is not None:
        raise UserError(ended.refused)
    if ended.exit_code:
        raise typer.Exit(ended.exit_code)
    if report is None:
        raise UserError(f"{script} made no optimizer of torch.optim: nothing was rehearsed")
    if changes:
        raise typer.Exit(BAD_VERDICT)


def _line_of_progress() -> Callable[[int, int], None]:
    """Tells of progress now and then, in lines of stderr that do not disturb the script's own."""
    lines: list[tuple[int, float]] = []  # steps done and the time of each line

    def told(done: int, total: int) -> None:
        now = time.monotonic()
        if not lines:  # the script's start is no part of a step's time
            estimate = ""
        elif lines[-1][0] < done and (done == total or now - lines[-1][1] >= _PAUSE):
            first, start = lines[0]
            left = (now - start) / (done - first) * (total - done)
            estimate = f", about {left:.0f} s left"
        else:
            return
        lines.append((done, now))
        print(f"halftrack: step {done} of {total}{estimate}", file=sys.stderr)

    return told
