"""What is wrong with a user's data: the file and the reason, never silence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["DataError", "OnBadSample", "Problem", "SkipLedger"]

OnBadSample = Literal["error", "skip"]
"""At a bad file ``error`` raises a ``DataError``; ``skip`` leaves it out and lists it."""


class DataError(ValueError):
    """A file of a data set that cannot be used, and why."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        """The file or folder at fault."""
        self.reason = reason
        """What is wrong with it, in one sentence."""

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str]]:
        return type(self), (self.file, self.reason)


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with one file."""

    file: str
    """The file at fault."""
    reason: str
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


@dataclass
class SkipLedger:
    """Everything that was left out because the user chose ``on_bad_sample="skip"``."""

    times: Counter[Problem] = field(default_factory=Counter)
    """How often each problem made a sample be left out."""

    def add(self, problem: Problem) -> None:
        """Record that ``problem`` cost one sample."""
        self.times[problem] += 1

    def __len__(self) -> int:
        return len(self.times)

    def lines(self, limit: int = 20) -> list[str]:
        """Text for people: the total, then the ``limit`` most frequent problems, one a line."""
        if not self.times:
            return ["nothing was skipped"]
        total = sum(self.times.values())
        lines = [f"skipped {total} times because of {len(self)} problems:"]
        lines += [f"  {problem} (x{n})" for problem, n in self.times.most_common(limit)]
        if len(self) > limit:
            lines.append(f"  ... and {len(self) - limit} more")
        return lines
