"""Run of a quickstart: its jobs, their display, tables, and a page of all of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from halftrack.errors import UserError
from halftrack.report.tables import render_table, write_csv
from halftrack.studies.quickstart.display import Display
from halftrack.studies.quickstart.jobs import Job, jobs_of
from halftrack.studies.quickstart.page import TITLES, rows_of, write_page
from halftrack.studies.quickstart.plan import TASKS, Plan
from halftrack.studies.quickstart.work import run_jobs

__all__ = ["run_quickstart"]


def run_quickstart(plan: Plan, out: Path, *, task: str, seed: int, console: Console) -> None:
    """Everything once; results go to ``out``, a folder a task, and into ``index.html``.

    Args:
        plan: what is done.
        out: a new folder, or that of an earlier quickstart, which is replaced.
        task: one of ``TASKS``, or ``all``.
        seed: the origin of all randomness.
        console: where progress and tables are shown.

    Raises:
        FileExistsError: if ``out/data`` holds something else than synthetic video.
        ValueError: for a task that there is not.
    """
    if task not in (*TASKS, "all"):
        raise UserError(f"no task {task!r}; there are {', '.join(TASKS)} and all")
    start = time.monotonic()
    jobs = jobs_of(plan, task, out, seed=seed)
    _clear(jobs, out)
    with Display(jobs, processes=plan.processes, console=console) as display:
        results = run_jobs(
            jobs,
            processes=plan.processes,
            output=out / "output.txt",
            begun=display.begun,
            ended=lambda name, result: display.ended(name, result.headline),
            look=display.look,
        )
    found = [(job, results[job.name]) for job in jobs]
    for name in TASKS if task == "all" else (task,):
        rows = rows_of([(job, r) for job, r in found if job.task == name and job.precision])
        write_csv(out / name / "table.csv", rows)
        console.print(render_table(rows, title=TITLES[name]))
    path = write_page(found, plan, out, seed=seed, seconds=time.monotonic() - start)
    console.print(f"curves, frames and films: {path}", highlight=False, soft_wrap=True)


def _clear(jobs: Sequence[Job], out: Path) -> None:
    """Remove the runs of an earlier quickstart, whose logs would be taken for those of this one."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "output.txt").unlink(missing_ok=True)
    for log in (log for job in jobs for log in job.logs.values()):
        for leftover in (log, *log.parent.glob("*.pth")):
            leftover.unlink(missing_ok=True)
