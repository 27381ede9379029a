"""Checkpoints that a run leaves in its folder: the newest steps, and the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from halftrack.errors import UserError, reason_of
from halftrack.training.checkpoint import prune, write_checkpoint

__all__ = ["RunFiles"]

State = Callable[[], Mapping[str, Any]]


class RunFiles:
    """Writes a run's checkpoints; a full disk stops no run, which goes on with the file before.

    Args:
        folder: of the run.
        keep: step checkpoints that stay.
        say: told what could not be written.
        writes: False of a process that shares a run with the one that writes.
    """

    def __init__(
        self, folder: Path, *, keep: int, say: Callable[[str], None], writes: bool = True
    ) -> None:
        self._folder, self._keep, self._say, self._writes = folder, keep, say, writes
        self.newest: Path | None = None
        """The newest step checkpoint."""

    def save(self, step: int, state: State, *, last: bool = False) -> None:
        """Write ``step_N.pth`` and delete the oldest beyond those to keep.

        Args:
            step: N.
            state: gives what the file holds.
            last: the run ends with it.

        Raises:
            ValueError: if ``last`` cannot be written and there is no other file of the run.
        """
        path = self._folder / f"step_{step}.pth"
        if not self._written(path, state):
            if last and not any(self._folder.glob("*.pth")):
                raise UserError(f"{path} could not be written, and no other: the weights are lost")
            return
        self.newest = path
        if self._writes:
            prune(self._folder, keep=self._keep, written=path)

    def save_best(self, state: State) -> bool:
        """Write ``best.pth``; returns whether that could be done."""
        return self._written(self._folder / "best.pth", state)

    def _written(self, path: Path, state: State) -> bool:
        try:
            held = state()  # of processes that share a run, each tells the first what it has
            if self._writes:
                write_checkpoint(path, held)
        except OSError as error:
            kept = "there is no file before it"
            if self.newest is not None:
                kept = f"{self.newest.name} is kept"
            self._say(
                f"{reason_of(error)} while writing {path}; {kept}, the run goes on and tries again "
                "at its next checkpoint"
            )
            return False
        return True
