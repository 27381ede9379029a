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
) -> None:
    """Try everything on synthetic video, in about 20 minutes.

    Trains tiny recipes in fp32, bf16 and fp16 on this computer and compares their scores. Needs no
    data and no GPU.
    """
    check_name("--task", task, ("vid", "mot", "sot", "all"))
    check_output(out)
    from halftrack.studies.quickstart import run_quickstart

    run_quickstart(out, task=task, seed=seed, console=console)
