"""Mistakes a user can mend in what they ask of this package; other ``ValueError`` are defects."""

from __future__ import annotations

__all__ = ["PrecisionError"]


class PrecisionError(ValueError):
    """A precision, loss scale or list of fp32 islands that cannot be used, and what is allowed."""
