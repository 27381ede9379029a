"""Work of a quickstart's jobs, side by side in processes that keep what they have imported."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Protocol, TypeVar

__all__ = ["run_jobs"]

_LOOK = 0.5  # seconds between two looks at the logs of what is running

Done = TypeVar("Done", covariant=True)


class _Job(Protocol[Done]):
    @property
    def name(self) -> str: ...
    @property
    def work(self) -> Callable[[], Done]: ...
    @property
    def needs(self) -> tuple[str, ...]: ...


def run_jobs(
    jobs: Sequence[_Job[Done]],
    *,
    processes: int,
    output: Path,
    begun: Callable[[str], None],
    ended: Callable[[str, Done], None],
    look: Callable[[], None],
) -> dict[str, Done]:
    """Do jobs in their order, as many at once as there are processes; an error ends all of them.

    Args:
        jobs: each with the names of those it needs done, which come before it.
        processes: number of jobs at once. With more than one, each process has one thread.
        output: file to which all that the jobs print is appended.
        begun: told the name of a job that begins.
        ended: told the name of a job that is done, and its result.
        look: called about twice a second meanwhile.

    Returns:
        The results by name.
    """
    waiting, done = list(jobs), dict[str, Done]()
    running: dict[Future[Done], str] = {}
    with ProcessPoolExecutor(
        processes,
        # A forked process would inherit threads and locks that do not work in it.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(1 if processes > 1 else None, str(output)),
    ) as pool:
        try:
            while waiting or running:
                ready = [job for job in waiting if all(name in done for name in job.needs)]
                for job in ready[: processes - len(running)]:
                    waiting.remove(job)
                    begun(job.name)
                    running[pool.submit(job.work)] = job.name
                for future in wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    done[name] = future.result()
                    ended(name, done[name])
                look()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    return done


def _begin(threads: int | None, output: str) -> None:
    """Prepare a process: its threads, a file for what it prints, an end with its parent's."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
