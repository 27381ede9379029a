"""Problems of a user's data: the file and the reason, never silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from halftrack.errors import UserError

__all__ = [
    "DataError",
    "OnBadSample",
    "Problem",
    "SkipLedger",
    "counted",
    "noting",
    "settle_problems",
]

OnBadSample = Literal["error", "skip"]
"""At a bad file ``error`` raises a ``DataError``; ``skip`` leaves it out and lists it."""


class DataError(UserError):
    """A file of a data set that cannot be used, and why."""

    def __init__(self, file: str, reason: str) -> None:
        # A name that is not UTF-8 is told with escapes: no terminal and no log takes it as it is.
        file = file.encode("utf-8", "backslashreplace").decode()
        super().__init__(f"{file}: {reason}")
        self.file = file
        """The file or folder at fault."""
        self.reason = reason
        """Description of what is wrong with the file, in one sentence."""

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str]]:
        return type(self), (self.file, self.reason)


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with one file."""

    file: str
    """The file at fault."""
    reason: str
    """Description of what is wrong with the file."""

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


@contextmanager
def noting(problems: list[Problem] | None) -> Iterator[None]:
    """Within it a ``DataError`` is appended to ``problems`` and ends the block; None lets it pass.

    Args:
        problems: what was found so far.
    """
    try:
        yield
    except DataError as error:
        if problems is None:
            raise
        problems.append(Problem(error.file, error.reason))


@dataclass
class SkipLedger:
    """Everything that was left out because the user chose ``on_bad_sample="skip"``."""

    times: Counter[Problem] = field(default_factory=Counter)
    """Counts of how often each problem made a sample be left out."""

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


def settle_problems(
    problems: Sequence[Problem], on_bad_sample: OnBadSample, skipped: SkipLedger
) -> None:
    """Raise the first problem found while reading annotations, or list them all as skipped.

    Raises:
        DataError: if there is a problem and ``on_bad_sample`` is ``"error"``.
    """
    if not problems:
        return
    if on_bad_sample == "error":
        first, others = problems[0], len(problems) - 1
        more = f" ({others} more problems: see `halftrack data check`)" if others else ""
        allowed = '; on_bad_sample="skip" leaves such things out and lists them'
        raise DataError(first.file, f"{first.reason}{more}{allowed}")
    for problem in problems:
        skipped.add(problem)


def counted(amounts: Mapping[str, int]) -> str:
    """Text for people: each amount that is not 0 with its name, or ``nothing``."""
    return ", ".join(f"{n} {what}" for what, n in amounts.items() if n) or "nothing"
