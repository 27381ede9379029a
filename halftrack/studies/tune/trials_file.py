"""File of a search's trials, a line each, which a search that was stopped goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from halftrack.bounds import shown
from halftrack.errors import UserError, naming_file
from halftrack.recipes.kinds.settings import first_difference

__all__ = ["Trial", "TrialsFile"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Settings that were tried."""

    number: int
    """Counted from 0, the recipe's own settings."""
    settings: dict[str, Any]
    """The values by field."""
    scores: dict[str, float]
    """All scores by name."""
    seconds: float
    """Time that the trial took, the scores included."""


class TrialsFile:
    """Trials so far, and the question that they belong to.

    Args:
        path: the file; it is read where it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.question: dict[str, Any] = {}
        """Plain values that tell the search from others; empty for a new file."""
        self.trials: list[Trial] = []
        """The trials, in order."""
        self._size = 0
        if path.exists():
            self._read()

    def check(self, asked: Mapping[str, Any]) -> None:
        """Make sure that the file, if it holds a search, holds this one.

        Args:
            asked: parts of the question, in plain values.

        Raises:
            UserError: if it is another; says what differs.
        """
        for name, now in asked.items() if self.question else ():
            plain = json.loads(json.dumps(now))
            difference = first_difference(self.question.get(name), plain, name)
            if difference is not None:
                raise UserError(
                    f"{self.path} holds another search: {difference}; go on with what it began "
                    "with, or take another folder (--out)"
                )

    def begin(self, question: Mapping[str, Any]) -> None:
        """Write the question, where there is none yet."""
        if not self.question:
            self.question = json.loads(json.dumps(question))
            self._append({"search": self.question})

    def add(self, trial: Trial) -> None:
        """Write a trial; it is on disk when this returns."""
        self.trials.append(trial)
        self._append(asdict(trial))

    def _append(self, values: Mapping[str, Any]) -> None:
        line = json.dumps(values, allow_nan=False).encode() + b"\n"
        with naming_file(self.path), self.path.open("ab") as file:
            file.truncate(self._size)  # a last line that was cut off, as by a full disk
            file.write(line)
        self._size += len(line)

    def _read(self) -> None:
        """Read the file but for a last line that was cut off, over which the next one is written.

        Raises:
            UserError: for a line that is none of a search; names it.
        """
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and not content.startswith(b'{"search"'):
            whole = content  # not the first line of a search, cut off or not
        self._size = len(whole)
        for number, line in enumerate(whole.decode("utf-8", "replace").splitlines(), start=1):
            try:
                values = json.loads(line)
                if number == 1:
                    self.question = dict(values["search"])
                else:
                    trial = Trial(**values)
                    if trial.number != number - 2:
                        raise UserError("out of order")
                    self.trials.append(trial)
            except (ValueError, TypeError, KeyError) as error:
                raise UserError(
                    f"{self.path}, line {number}: {shown(line)} is no line of a search; remove the "
                    "lines from here on, or take another folder (--out)"
                ) from error
