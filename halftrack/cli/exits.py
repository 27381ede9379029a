"""Exit codes, and errors told by family: the user's in one line, ours with their traceback."""

from __future__ import annotations

import errno
import gc
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

from halftrack.cli.processes import own_rank
from halftrack.errors import NonFiniteOutputError, UserError

__all__ = ["BAD_VERDICT", "FAILED", "UNSAVED", "UNUSABLE", "end_interrupted", "telling_errors"]

FAILED = 1
"""The run failed: a defect, numbers that are not finite, or too little memory on the GPU."""
UNUSABLE = 2
"""The arguments, files or data cannot be used."""
BAD_VERDICT = 3
"""All was done, and the answer is bad: something must change, differs, or does not fit."""
UNSAVED = 4
"""The last or best weights of a run could not be written; what was written before is there."""

# Rooms that import nothing of ours; one that is not loaded raised nothing.
_USERS_ELSEWHERE = {
    "halftrack.precision.errors": ("PrecisionError",),
    "halftrack.synthetic": ("SyntheticVideoError",),
}
_FAILURES = {
    "halftrack.precision.step": ("NonFiniteGradientError",),
    "halftrack.data.workers": ("DataWorkerError",),
    "halftrack.training.ranks": ("LostProcessError",),
    "torch": ("OutOfMemoryError",),
}
_UNSAVED = {"halftrack.training.files.run_files": ("UnsavedWeightsError",)}
_TOLD_BY_FIRST = {"halftrack.training.ranks": ("FirstProcessError",)}
_UNTIL_TOLD = 3.0  # seconds; torchrun ends all processes when one has ended, the first must tell
_USERS_OS_ERRORS = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_USERS_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.EFBIG}
_DEFECT = "This is a defect of halftrack: please report it with the lines above."


@contextmanager
def telling_errors() -> Iterator[None]:
    """Ends the program with a line on an error of the user's; marks a defect as one."""
    try:
        yield
    except Exception as error:
        if _is_users(error):
            _tell("error", error)
            gc.freeze()  # or the end of Python looks through all of torch again, for 0.3 s
            raise SystemExit(UNUSABLE) from error
        if isinstance(error, (NonFiniteOutputError, *_loaded(_FAILURES))):
            _tell("failed", error)
            raise SystemExit(FAILED) from error
        if isinstance(error, tuple(_loaded(_UNSAVED))):
            _tell("failed", error)
            raise SystemExit(UNSAVED) from error
        error.add_note(_DEFECT)
        raise


def end_interrupted(signal: int | None) -> None:
    """End with 128 + the signal that stopped a run; None if none did."""
    if signal is not None:
        raise typer.Exit(128 + signal)


def _is_users(error: Exception) -> bool:
    if isinstance(error, (UserError, *_USERS_OS_ERRORS, *_loaded(_USERS_ELSEWHERE))):
        return True
    return isinstance(error, OSError) and error.errno in _USERS_ERRNOS


def _loaded(families: Mapping[str, Iterable[str]]) -> Iterator[type[Exception]]:
    """The classes of modules that are loaded already: to tell an error needs no torch."""
    for module, names in families.items():
        if module in sys.modules:
            for name in names:
                yield getattr(sys.modules[module], name)


def _words(error: Exception) -> str:
    """The message, and beneath it what became of files that were being written."""
    words = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        words = f"{error.filename}: {error.strerror}"
    return "\n".join([words, *getattr(error, "__notes__", [])])


def _tell(kind: str, error: Exception) -> None:
    """Print an error; one that the first of several processes met is printed by that one alone."""
    if isinstance(error.__cause__, tuple(_loaded(_TOLD_BY_FIRST))):
        time.sleep(_UNTIL_TOLD)
        return
    errors, rank = Console(stderr=True), own_rank()
    who = "" if rank is None else f"rank {rank}: "
    errors.print(f"{who}[red]{kind}:[/] {escape(_words(error))}", highlight=False, soft_wrap=True)
