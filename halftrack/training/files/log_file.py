"""Reads ``log.jsonl``: a JSON object a line, of which the last may be half written.

Imports no torch, for those who follow a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from halftrack.bounds import shown
from halftrack.errors import UserError

__all__ = ["first_and_last", "json_rows", "read_log"]


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Read all records of a ``log.jsonl``, in order: one of a run, then of steps and evaluations.

    Args:
        path: the file, or the folder of the run.

    Raises:
        OSError: if it cannot be read.
        ValueError: if a line is not a JSON object; names file and line.
    """
    path = Path(path)
    path = path / "log.jsonl" if path.is_dir() else path
    return list(json_rows(path, path.read_text(encoding="utf-8", errors="replace")))


def first_and_last(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """First and last record of a log that a run may be writing; empty while there is none.

    Args:
        path: the log, which may not be there yet.

    Raises:
        ValueError: if a line is not a JSON object; names file and line.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    rows = list(json_rows(path, text)) if "\n" in text else []
    return (rows[0], rows[-1]) if rows else ({}, {})


def json_rows(file: Path, text: str) -> Iterator[dict[str, Any]]:
    """The records of a log, MMTracking's ``.log.json`` too.

    Args:
        file: the log, for errors.
        text: its content.

    Raises:
        ValueError: if a line is not a JSON object; names file and line.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if 1 < number == len(lines) and not text.endswith("\n"):
                return  # a run is writing this line at this moment, or ended within it
            raise UserError(f"{file}, line {number}: not JSON: {shown(line)}") from error
        if not isinstance(row, dict):
            raise UserError(f"{file}, line {number}: expected an object, got {shown(line)}")
        yield row
