"""Display of a quickstart's jobs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from halftrack.studies.quickstart.jobs import Job
from halftrack.training.files.log_file import first_and_last

__all__ = ["Display", "progress"]

_QUIET = 15.0  # seconds between two lines about what is running, where there is no terminal
_BAR = 12  # columns
_SCORING = 0.15  # share of a job's time after its last step


@dataclass
class _State:
    """How far a job is."""

    begun: float | None = None
    ended: bool = False
    words: str = "waiting"
    share: float = 0.0
    scores: tuple[str, ...] = ()


class Display:
    """Progress of the jobs, as their logs tell it, and the time that the rest takes.

    Args:
        jobs: all jobs, in their order.
        processes: number of jobs at once.
        console: where it is shown.
    """

    def __init__(self, jobs: Sequence[Job], *, processes: int, console: Console) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._states = {job.name: _State() for job in jobs}
        self._processes, self._console = processes, console
        self._start = self._told = time.monotonic()
        self._live = Live(
            console=console, get_renderable=self.table, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begun(self, name: str) -> None:
        """A job begins."""
        self._states[name] = _State(begun=time.monotonic(), words="starting")
        if not self._console.is_terminal:
            self._say(f"{name} begins")

    def ended(self, name: str, headline: str) -> None:
        """A job is done; the headline is its score."""
        self._states[name] = _State(ended=True, words=headline, share=1.0)
        self._say(f"{name}: {headline}")

    def look(self) -> None:
        """Read from the logs how far the running jobs are."""
        for name, state in self._states.items():
            if state.begun is not None and not state.ended:
                scores, state.words, state.share = progress(self._jobs[name].logs)
                for score in scores[len(state.scores) :]:
                    self._say(f"{name}: {score}")
                state.scores = scores
        now = time.monotonic()
        if not self._console.is_terminal and now - self._told > _QUIET:
            running = [f"{n} {s.words}" for n, s in self._states.items() if s.begun and not s.ended]
            self._say("; ".join([*running, self._left()]))

    def _say(self, line: str) -> None:
        """A line with the time since the start, above the table where there is one."""
        self._told = time.monotonic()
        stamp = _clock(self._told - self._start)
        self._console.print(f"{stamp}  {line}", highlight=False, markup=False, soft_wrap=True)

    def _left(self) -> str:
        """The time that the rest will take, as the jobs so far went."""
        done = sum(self._jobs[name].typical * s.share for name, s in self._states.items())
        left = sum(job.typical for job in self._jobs.values()) - done
        gone = time.monotonic() - self._start
        # Before much is done, as fast as on the machine where the typical times were measured.
        pace = (gone + 20.0) / (done / self._processes + 20.0)
        return f"about {_clock(left / self._processes * pace)} left"

    def table(self) -> RenderableType:
        """A row for each job with its bar, and the time that is left."""
        table = Table.grid(padding=(0, 2), expand=False)
        for name, state in self._states.items():
            style = "bold" if state.ended else "" if state.begun else "dim"
            bar = ProgressBar(total=1.0, completed=state.share, width=_BAR)
            words = state.words if state.ended else "; ".join([*state.scores, state.words])
            table.add_row(Text(name, style=style), bar, Text(words, style=style))
        gone = _clock(time.monotonic() - self._start)
        return Group(table, Text(f"{gone} gone, {self._left()}"))


def progress(logs: Mapping[str, Path]) -> tuple[tuple[str, ...], str, float]:
    """The scores of a job's parts so far, what it does now, and the share that is done.

    A job of one training has no parts: its score is the job's own.

    Args:
        logs: the ``log.jsonl`` of each training by its name, in their order.
    """
    scores: list[str] = []
    words, share = "starting" if logs else "at work", 0.0
    for part, log in logs.items():
        first, last = first_and_last(log)
        if not first:
            break
        step, steps = last.get("step", 0), first["steps"]
        words = f"{part} {step}/{steps}"
        if last["mode"] == "val":
            best = first["recipe"]["training"]["best_metric"]
            scores += [f"{part} {best} {float(last[best]):.3f}"] * (len(logs) > 1)
            words = "scoring"
        elif step == steps:
            words = f"{part} trained, scoring"
        elif "loss" in last:
            words += f", loss {float(last['loss']):.3f}"
        share += step / steps / len(logs)
    return tuple(scores), words, share * (1 - _SCORING)


def _clock(seconds: float) -> str:
    """Minutes and seconds, like 3:07."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
