"""Checkpoints that a run leaves in its folder while it goes on: the newest steps, and the best.

What a file is to hold is copied to memory, which takes a moment, and written by a thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from halftrack.errors import reason_of
from halftrack.training.config import TrainingConfig
from halftrack.training.files.checkpoint import clear_partial, prune, write_checkpoint
from halftrack.training.files.run_folder import keep_folder
from halftrack.training.ranks import ALONE, Ranks

__all__ = ["RunFiles", "UnsavedWeightsError"]

State = Callable[[], Mapping[str, Any]]


class UnsavedWeightsError(RuntimeError):
    """The end of a run whose last or best weights could not be written."""


class RunFiles:
    """Writes a run's checkpoints, one at a time, while the run goes on.

    Where a file cannot be written (the disk is full, the folder read-only or gone), the run is told
    and goes on with the file before; the next checkpoint is the next attempt. In a folder that was
    deleted and is another process's by now, nothing is written: that ends the run.

    Args:
        folder: of the run.
        config: says after how many minutes a checkpoint is due, and how many stay.
        say: told once what cannot be written, and when it can be again; called by the thread.
        sync: brings to the disk what a file relies on; called by the thread before each.
        ranks: the processes that share the run; the first one alone writes.
        clock: seconds.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        *,
        say: Callable[[str], None],
        sync: Callable[[], None] = lambda: None,
        ranks: Ranks = ALONE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._config, self._ranks = folder, config, ranks
        self._best_path = folder / "best.pth"
        self._say, self._sync = say, sync
        self.clock = clock
        self.due_at = self._due_at()
        """The clock's time at which a checkpoint is due; another process's run has none."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._failing: dict[str, str] = {}  # what cannot be written of late, and why
        self._refused: tuple[float, Mapping[str, Any]] | None = None  # the best, not yet written
        self.newest: Path | None = None
        """The newest step checkpoint that is whole on the disk; others are told the last."""
        self.best: float | None = None
        """The score of ``best.pth`` on the disk; None without one."""

    def clear_partial(self) -> None:
        """Delete what a killed process has left half written."""
        if self._ranks.is_first:
            clear_partial(self._folder)

    def save(self, step: int, state: State) -> None:
        """Begin to write ``step_N.pth``; the oldest beyond those to keep are deleted after that.

        Waits for the file before it, so that a kill costs no more than the last two intervals.

        Args:
            step: N.
            state: gives what the file holds.
        """
        path = self._folder / f"step_{step}.pth"
        self._make_ready()
        if self._refused is not None:  # before the state, which says how good the best file is
            self._writing = self._thread.submit(self._write_best, *self._refused)
            self.wait()
        held = state()  # of processes that share a run, each tells the first what it has
        self.due_at = self._due_at()
        if self._ranks.is_first:
            self._writing = self._thread.submit(self._write_step, path, _snapshot(held))

    def save_last(self, step: int, state: State) -> None:
        """Write the checkpoint that a run ends with, and wait until it is on the disk.

        Raises:
            UnsavedWeightsError: if it, or the best one so far, cannot be written; says what there
                is in its place.
        """
        self.save(step, state)
        self.newest, self.best = self._ranks.first_does(lambda: self._saved(step))

    def _saved(self, step: int) -> tuple[Path, float | None]:
        """The last checkpoint, and how good the best one is, when both are on the disk."""
        self.wait()
        path = self._folder / f"step_{step}.pth"
        if self.newest != path:
            raise UnsavedWeightsError(
                f"the weights of the last step, {step}, could not be saved in {path}: "
                f"{self._failing['step']}; {self._left()}"
            )
        if self._refused is not None:
            raise UnsavedWeightsError(
                f"the best weights, of score {self._refused[0]:g}, could not be saved in "
                f"{self._best_path}: {self._failing['best']}; {path} has those of the last step"
            )
        return path, self.best

    def save_best(self, score: float, held: Mapping[str, Any]) -> None:
        """Begin to write ``best.pth``, which has this score and holds this.

        What the disk refuses is tried again before the next step's file, unless there is better.
        """
        self._make_ready()
        if self._ranks.is_first and (self._refused is None or score > self._refused[0]):
            self._writing = self._thread.submit(self._write_best, score, _snapshot(held))

    def wait(self) -> None:
        """Wait until what is being written is on the disk, or has failed."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """Wait for the file being written, and end the thread."""
        self._thread.shutdown()
        self.wait()

    def _make_ready(self) -> None:
        """Wait for the file before, and make sure that the folder is not another run's by now."""
        self._ranks.first_does(self._keep_folder)

    def _keep_folder(self) -> None:
        self.wait()
        with suppress(OSError):  # what is to be written there meets it too, and tells
            keep_folder(self._folder)

    @property
    def has_best(self) -> bool:
        """True while ``best.pth`` is there."""
        return self._best_path.exists()

    @property
    def _kept(self) -> Path | None:
        """The newest step checkpoint that is still there."""
        return self.newest if self.newest is not None and self.newest.exists() else None

    def _left(self) -> str:
        """Words for what there is in the place of the last weights."""
        if self._kept is not None:
            return f"{self._kept} is kept: once that is mended, the same command goes on"
        if self.best is not None and self.has_best:
            return f"{self._best_path} is kept, with the weights of score {self.best:g}"
        if not self._folder.exists():
            return f"{self._folder} is gone: if it was moved, go on in its new place (--out)"
        return "there is no other checkpoint: they are lost"

    def _due_at(self) -> float:
        minutes = self._config.checkpoint_minutes
        return (
            self.clock() + 60 * minutes
            if self._ranks.is_first and minutes is not None
            else math.inf
        )

    def _write_step(self, path: Path, held: Mapping[str, Any]) -> None:
        if self._written(path, held, kind="step"):
            self.newest = path
            with suppress(OSError):  # tried again after the next one
                prune(self._folder, keep=self._config.keep_checkpoints)

    def _write_best(self, score: float, held: Mapping[str, Any]) -> None:
        self._refused = None
        if self._written(self._best_path, held, kind="best"):
            self.best = score
        else:
            self._refused = score, held

    def _written(self, path: Path, held: Mapping[str, Any], *, kind: str) -> bool:
        self._sync()
        try:
            write_checkpoint(path, held)
        except OSError as error:
            reason = reason_of(error)
            # A best that fails as the steps do is no news; a step always is.
            if reason not in (self._failing.get(kind), self._failing.get("step")):
                kept = "there is no file before it"
                if self._kept is not None:
                    kept = f"{self._kept.name} is kept"
                self._say(
                    f"{reason} while writing {path}; {kept}, the run goes on and tries again at "
                    "each checkpoint"
                )
            self._failing[kind] = reason
            return False
        if (before := self._failing.pop(kind, "")) and not self._failing:
            self._say(f"{path} is written, after: {before}")
        return True


def _snapshot(value: Any) -> Any:
    """A copy of a state on the CPU, which no later step changes."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_snapshot(item) for item in value)
    return value
