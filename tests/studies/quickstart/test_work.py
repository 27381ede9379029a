"""Jobs in processes: in order, after what they need, and none goes on after an error."""

from __future__ import annotations

import multiprocessing
import operator
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from halftrack.studies.quickstart.work import run_jobs


@dataclass(frozen=True)
class Task:
    name: str
    work: Callable[[], object]
    needs: tuple[str, ...] = ()


def run(jobs: list[Task], output: Path) -> tuple[dict[str, object], list[str]]:
    told: list[str] = []
    done = run_jobs(
        jobs,
        processes=1,
        output=output,
        begun=lambda name: told.append(f"{name} begins"),
        ended=lambda name, result: told.append(f"{name}: {result}"),
        look=lambda: None,
    )
    return done, told


def test_a_job_waits_for_what_it_needs_and_lets_others_pass(tmp_path: Path) -> None:
    jobs = [
        Task("late", partial(operator.add, 1, 2), needs=("early",)),
        Task("early", partial(operator.mul, 3, 4)),
        Task("last", partial(os.write, 1, b"printed\n")),
    ]
    done, told = run(jobs, tmp_path / "output.txt")
    assert done == {"early": 12, "late": 3, "last": 8}
    assert told[:4] == ["early begins", "early: 12", "late begins", "late: 3"]
    assert (tmp_path / "output.txt").read_text() == "printed\n"


def test_an_error_reaches_the_caller_and_ends_the_processes(tmp_path: Path) -> None:
    jobs = [Task("fails", partial(operator.truediv, 1, 0)), Task("never", partial(time.sleep, 600))]
    with pytest.raises(ZeroDivisionError):
        run(jobs, tmp_path / "output.txt")
    assert not multiprocessing.active_children()
