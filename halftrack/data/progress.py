"""Progress of long work: who is told of it, and a line every few seconds for a log."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PrintedProgress", "Progress"]

Progress = Callable[[int, int], None]
"""Called with (done, in all) while videos, images or frames are worked on."""


class PrintedProgress:
    """Prints a line every few seconds on the progress of reading; a ``Progress``.

    Args:
        subject: the thing that is read, e.g. ``training annotations``.
        every: seconds between two lines.
    """

    def __init__(self, subject: str, *, every: float = 5.0) -> None:
        self._subject, self._every = subject, every
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Print how many of the videos are read, unless a line was printed just before."""
        if time.monotonic() - self._last > self._every:
            self._last = time.monotonic()
            print(f"reading {self._subject}: {done} of {total} videos", flush=True)
