"""A run as its log tells it, at this moment or at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halftrack.errors import MissingFileError
from halftrack.interop.logs.read import Line, TrainingLog, read_log_so_far
from halftrack.interop.logs.summary import default_keys
from halftrack.report.log_page import Curves
from halftrack.training.files.run_folder import is_in_use
from halftrack.training.same_run import leaves

__all__ = ["FollowedRun", "follow", "read_run"]

_LATELY = 10  # lines whose mean tells the speed
_META = ("seed", "init", "device", "computes", "lr_rule")


@dataclass(frozen=True, kw_only=True)
class FollowedRun:
    """A run as its log tells it."""

    log: TrainingLog
    """All that was logged so far."""
    running: bool
    """True while a process trains."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.log.file.resolve().parent.name

    @property
    def step(self) -> int:
        """Attempted steps."""
        return int(max((line.step for line in self.log.lines), default=0))

    @property
    def total(self) -> int | None:
        """Steps of the whole run; None if the log does not tell, as MMTracking's."""
        lengths = [self.log.record(mode).get("steps") for mode in ("data", "meta")]
        return next((int(steps) for steps in lengths if steps), None)

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``stopped`` by gradients that are not finite, or ``ended``."""
        if self.running:
            return "running"
        if self.log.record("stop"):
            return "stopped"
        return "finished" if self.total is not None and self.step >= self.total else "ended"

    @property
    def skipped(self) -> list[Mapping[str, Any]]:
        """Lines of skipped steps and of the one that stopped the run, as they were written."""
        return [
            row
            for row in self.log.records
            if row.get("skipped") is True or row.get("mode") == "stop"
        ]

    @property
    def trained(self) -> list[Line]:
        """Lines with means over several steps: those of training but for skipped steps."""
        return [line for line in self.log.lines if line.training and not line.skipped]

    @property
    def evaluated(self) -> list[Line]:
        """Lines of evaluations."""
        return [line for line in self.log.lines if not line.training]

    def seconds_left(self) -> float | None:
        """Time until the last step at the latest speed, evaluations not counted; None: unknown."""
        times = [line.values["time"] for line in self.trained[-_LATELY:] if "time" in line.values]
        if self.total is None or not times:
            return None
        return (self.total - self.step) * sum(times) / len(times)

    def panels(self) -> Curves:
        """Points of the usual fields and of the data's share, by field and name."""
        keys = [*default_keys([self.log]), "data_share"]
        points = {key: self.log.points(key) for key in keys}
        return {key: {self.name: each} for key, each in points.items() if each}

    def settings(self) -> dict[str, str]:
        """Values by name, the recipe's by their dotted paths; nothing of MMTracking's log."""
        meta = self.log.record("meta")
        about = {name: meta[name] for name in _META if name in meta}
        about |= dict(leaves(meta.get("versions") or {}, "versions."))
        recipe = dict(leaves(meta.get("recipe") or {}))
        return {name: str(value) for name, value in (recipe | about).items()}


def read_run(path: Path) -> FollowedRun:
    """Read the run of a folder, or of its log.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a line of its log is malformed; names file and line.
    """
    folder = path if path.is_dir() else path.parent
    running = is_in_use(folder)  # asked first: what ended since has written all of its log
    try:
        return FollowedRun(log=read_log_so_far(path), running=running)
    except MissingFileError:
        if not running:
            raise
        # Its process has taken the folder and is loading data.
        return FollowedRun(log=TrainingLog(file=folder / "log.jsonl", lines=()), running=True)


def follow(
    path: Path, *, every: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[FollowedRun]:
    """Read a run again and again until it is over; the last answer is that of its end.

    Args:
        path: its folder or log.
        every: seconds between two looks.
        sleep: waits.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a line of its log is malformed; names file and line.
    """
    while (run := read_run(path)).running:
        yield run
        sleep(every)
    yield run
