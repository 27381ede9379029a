"""Mistakes a user can mend, apart from defects of ours: what the command line tells in one line.

``halftrack.precision`` and ``halftrack.synthetic`` import nothing of ours, so each has a
``ValueError`` of its own for the same purpose (``PrecisionError``, ``SyntheticVideoError``).
"""

from __future__ import annotations

__all__ = ["MissingFileError", "NonFiniteOutputError", "UserError", "reason_of"]


class UserError(ValueError):
    """A request, a recipe or a file that cannot be used, and what to do next.

    Any other ``ValueError`` is a defect: the command line shows its traceback.
    """


class MissingFileError(UserError, FileNotFoundError):
    """A file that a run needs and that is not there."""


class NonFiniteOutputError(ValueError):
    """Scores, boxes or embeddings of a model that are not finite: the run failed numerically."""


def reason_of(error: OSError) -> str:
    """Plain words for why a file cannot be written, e.g. ``no space left on device``."""
    words = error.strerror or str(error) or type(error).__name__
    return words[:1].lower() + words[1:]
