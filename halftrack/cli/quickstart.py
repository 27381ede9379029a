"""``halftrack quickstart``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halftrack.cli.checks import check_name, check_output
from halftrack.cli.console import console
from halftrack.cli.options import Seed

__all__ = ["quickstart"]


def quickstart(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Write data, runs and tables to this folder.")
    ] = Path("runs/quickstart"),
    task: Annotated[
        str, typer.Option(metavar="NAME", help="Run one task (vid, mot or sot), or all.")
    ] = "all",
    seed: Seed = 0,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Train longer and in bf16 too, in about 20 minutes on two cores."
        ),
    ] = False,
) -> None:
    """Try everything on synthetic video, in about 5 minutes.

    Trains tiny recipes in fp32 and fp16 on this computer, scores them on videos that they have not
    seen, and shows it all in a page, index.html. Needs no data and no GPU.
    """
    check_name("--task", task, ("vid", "mot", "sot", "all"))
    check_output(out)
    from halftrack.studies.quickstart.plan import full_plan, quick_plan
    from halftrack.studies.quickstart.run import run_quickstart

    plan = full_plan() if full else quick_plan()
    run_quickstart(plan, out, task=task, seed=seed, console=console)
