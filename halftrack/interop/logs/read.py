"""Training logs of MMTracking (``.log.json``, ``.log``) and of halftrack (``log.jsonl``).

All three name their fields alike, as mmcv's text logger does; the text of ``.log`` rounds more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halftrack.errors import MissingFileError, UserError
from halftrack.training.files.log_file import json_rows

__all__ = ["Line", "TrainingLog", "read_log_so_far", "read_training_log"]

_NUMBERS = ("train", "val", "test")
_PLACE = ("mode", "epoch", "iter", "step")
# "Epoch [2][50/1000]", "Epoch(val) [2][317]", "Iter [50/1000]", each with its fields behind a tab.
_TEXT = re.compile(
    r"(?:Epoch|Iter)(?:\((?P<mode>\w{1,9})\))? (?:\[(?P<epoch>\d{1,9})\])?"
    r"\[(?P<iter>\d{1,9})(?:/(?P<length>\d{1,9}))?\]\s(?P<fields>.*)"
)
_FIELD = re.compile(r"([\w.-]+): (\S+?)(?:,|$)")
_ETA = re.compile(r"eta: (?:\d+ days?, )?[\d:]+, ")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a log with numbers."""

    training: bool
    """True for a line of training, false for one of an evaluation."""
    epoch: int
    """1-based; 1 where the run counts none."""
    iteration: int
    """1-based, within the epoch; of an evaluation it may count something else."""
    step: float
    """Steps from the beginning of the run to this line."""
    values: Mapping[str, float]
    """Numbers by name; they may be NaN or infinite."""
    skipped: bool = False
    """True for our line of a step that was skipped."""


@dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """A training log."""

    file: Path
    """The file."""
    lines: tuple[Line, ...]
    """Lines with numbers, in their order."""
    records: tuple[Mapping[str, Any], ...] = ()
    """All lines as they were written; of MMTracking's text, those with numbers."""

    def points(self, key: str) -> list[tuple[float, float]]:
        """Step and value of every line that has a field of this name."""
        return [(line.step, line.values[key]) for line in self.lines if key in line.values]

    def record(self, mode: str) -> Mapping[str, Any]:
        """The last line of a mode, e.g. ours of ``meta``, with what was run; empty without one."""
        return next((row for row in reversed(self.records) if row.get("mode") == mode), {})

    def fields(self) -> list[str]:
        """Names of all fields, in the order they first occur."""
        return list(dict.fromkeys(key for line in self.lines for key in line.values))


def read_training_log(path: Path) -> TrainingLog:
    """Read a log, or that of a run's folder: the newest, if it holds several.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it holds no line of a training or evaluation; names file and line.
    """
    log = read_log_so_far(path)
    if not log.lines:
        raise UserError(
            f"{log.file} holds no line of a training: expected .log.json or .log of MMTracking, or "
            "log.jsonl of halftrack"
        )
    return log


def read_log_so_far(path: Path) -> TrainingLog:
    """Read a log that may not hold a line with numbers yet, as that of a run just begun.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a line is malformed; names file and line.
    """
    file = _log_in(path) if path.is_dir() else path
    if not file.is_file():
        raise MissingFileError(f"there is no log {file}")
    text = file.read_text(encoding="utf-8", errors="replace")
    rows = tuple(json_rows(file, text) if text.lstrip()[:1] == "{" else _text_rows(text))
    numbers = [row for row in rows if row.get("mode") in _NUMBERS]
    return TrainingLog(file=file, lines=tuple(_with_steps(numbers)), records=rows)


def _log_in(folder: Path) -> Path:
    ours = folder / "log.jsonl"
    if ours.is_file():
        return ours
    # They are named by the time at which they began.
    theirs = sorted(folder.glob("*.log.json")) or sorted(folder.glob("*.log"))
    if not theirs:
        raise MissingFileError(f"there is no log.jsonl, *.log.json or *.log in {folder}")
    return theirs[-1]


def _text_rows(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        found = _TEXT.search(line)
        if found is not None:
            fields = dict(_FIELD.findall(_ETA.sub("", found["fields"], count=1)))
            mode = found["mode"] or "train"
            place = {"mode": mode, "epoch": found["epoch"] or 1, "iter": found["iter"]}
            yield fields | place | ({"length": found["length"]} if found["length"] else {})


def _with_steps(rows: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Lines with their steps, which mmcv does not log: an epoch's length tells them."""
    lengths = [int(row["length"]) for row in rows if "length" in row]
    iterations = [_count(row, "iter") for row in rows if row["mode"] == "train"]
    # Without it, the last iteration that was logged comes near.
    length = max(lengths or iterations, default=1)
    for row in rows:
        training, epoch = row["mode"] == "train", max(_count(row, "epoch"), 1)
        iteration = _count(row, "iter")
        step = float(_count(row, "step"))
        if "step" not in row:
            step = float((epoch - 1) * length + min(iteration if training else length, length))
        yield Line(
            training=training,
            epoch=epoch,
            iteration=iteration,
            step=step,
            values={
                name: value
                for name, given in row.items()
                if name not in (*_PLACE, "length") and (value := _number(given)) is not None
            },
            skipped=row.get("skipped") is True,
        )


def _count(row: Mapping[str, Any], name: str) -> int:
    value = _number(row.get(name, 0))
    return int(value) if value is not None and math.isfinite(value) else 0


def _number(value: Any) -> float | None:
    """A number, also as text ("nan", "1.000e-02"); of several parameter groups the first's."""
    if isinstance(value, Mapping):
        value = next(iter(value.values()), None)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
