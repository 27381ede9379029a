"""Mistakes a user can mend, apart from defects of ours: what the command line tells in one line.

``halftrack.precision`` and ``halftrack.synthetic`` import nothing of ours, so each has a
``ValueError`` of its own for the same purpose (``PrecisionError``, ``SyntheticVideoError``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MissingFileError", "NonFiniteOutputError", "UserError", "naming_file", "reason_of"]


class UserError(ValueError):
    """A request, a recipe or a file that cannot be used, and what to do next.

    Any other ``ValueError`` is a defect: the command line shows its traceback.
    """


class MissingFileError(UserError, FileNotFoundError):
    """A file that a run needs and that is not there."""


class NonFiniteOutputError(ValueError):
    """Scores, boxes or embeddings of a model that are not finite: the run failed numerically."""


@contextmanager
def naming_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Gives an ``OSError`` that names no file, as a full disk's does, the file being written."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def reason_of(error: OSError) -> str:
    """Plain words for why a file cannot be written, e.g. ``no space left on device``."""
    words = error.strerror or str(error) or type(error).__name__
    return words[:1].lower() + words[1:]
