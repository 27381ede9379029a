"""The tables of a COCO or CocoVID file, with identifiers that are there once and lead somewhere.

Files that were merged or cut by scripts count identifiers anew, keep annotations of images that
are gone, or write numbers as text. Such records are problems; what refers to them is left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from halftrack.data.files import leads_below, read_content, shortened
from halftrack.data.problems import DataError, Problem

__all__ = [
    "Id",
    "Notes",
    "Record",
    "bbox_numbers",
    "by_id",
    "identifier",
    "is_set",
    "load_tables",
    "named",
    "path_text",
    "references",
    "track_of",
    "whole_number",
]

Record = Mapping[str, Any]
Id = int | str

_TABLES = ("categories", "videos", "images", "annotations")
# COCO's and Objects365's have 0.5 and 5 GB.
_LONGEST_FILE = 16 << 30


@dataclass
class Notes:
    """Problems and oddities of one file."""

    source: str
    """The file."""
    problems: list[Problem] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)

    def problem(self, reason: str) -> None:
        """Note something that cannot be used."""
        self.problems.append(Problem(self.source, reason))


def load_tables(file: Path, notes: Notes) -> dict[str, list[Record]]:
    """The tables ``categories``, ``videos``, ``images`` and ``annotations``, lists of objects.

    Raises:
        DataError: if the file is missing, no JSON, or lacks categories or images.
    """
    content = read_content(file, what="annotation file", limit=_LONGEST_FILE)
    try:
        tables = json.loads(content, object_pairs_hook=_unrepeated)
    except json.JSONDecodeError as error:
        raise DataError(str(file), f"not JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise DataError(str(file), f"not JSON: it is not UTF-8 text ({error.reason})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(str(file), f"not JSON that can be read: {error}") from None
    if not isinstance(tables, dict):
        raise DataError(str(file), f"not CocoVID: an object with {', '.join(_TABLES)} was expected")
    return {name: _table(tables, name, notes) for name in _TABLES}


def by_id(records: Iterable[Record], table: str, notes: Notes) -> tuple[dict[Id, Record], set[Id]]:
    """The records by their ``id``, and the ids that records had which cannot be used.

    An id that comes twice names nothing: all records that have it are left out.

    Args:
        records: of the table.
        table: its name.
        notes: told what is wrong.
    """
    found: dict[Id, Record] = {}
    bad: set[Id] = set()
    kind: type | None = None
    for record in records:
        number = identifier(record.get("id"))
        if number is None:
            given = shortened(record.get("id"))
            notes.problem(f"{table}: id {given} of {named(record)} is neither number nor text")
        elif number in found or number in bad:
            bad.add(number)
            other = found.get(number)
            told = f"{named(other)} and {named(record)}" if other else f"also {named(record)}"
            notes.problem(
                f"{table}: id {shortened(number)} comes twice ({told}): what refers to it cannot "
                "be told apart; were two files joined without counting on?"
            )
        elif isinstance(number, kind := kind or type(number)):
            found[number] = record
        else:
            bad.add(number)
            notes.problem(
                f"{table}: id {shortened(number)} of {named(record)} is {_kind(number)}, "
                f"those before are not: write all ids of a table alike"
            )
    for number in bad:
        found.pop(number, None)
    return found, bad


def references(
    records: Iterable[Record],
    key: str,
    known: Mapping[Id, object],
    bad: set[Id],
    *,
    table: str,
    target: str,
    notes: Notes,
) -> dict[Id, list[Record]]:
    """The records by what they refer to; those that lead nowhere are problems, one an id.

    Args:
        records: of ``table``.
        key: the field that refers.
        known: what there is to refer to.
        bad: ids that are in the file and were told to be unusable: no second problem.
        table: the records' table.
        target: the table that is referred to.
        notes: told what is wrong.
    """
    grouped: dict[Id, list[Record]] = {number: [] for number in known}
    lost: dict[str, tuple[int, Record, Id | None]] = {}
    for record in records:
        number = identifier(record.get(key))
        if number is not None and number in grouped:
            grouped[number].append(record)
        elif number is None or number not in bad:
            told = shortened(record.get(key))
            count, first, _ = lost.get(told, (0, record, None))
            lost[told] = count + 1, first, number
    for told, (count, first, number) in lost.items():
        others = f" and {count - 1} more" if count > 1 else ""
        notes.problem(
            f"{table}: {key} {told} of {named(first)}{others} is not in {target}"
            f"{_other_kind(number, known)}"
        )
    return grouped


def whole_number(record: Record, key: str) -> int:
    """A field that must be a whole number.

    Raises:
        ValueError: if it is missing or something else; the message has no file.
    """
    value = record.get(key)
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise ValueError(f"{key} is {shortened(value)}, expected a whole number")
    return value


def is_set(record: Record, key: str) -> bool:
    """A flag, 0 or 1; False where it is missing.

    Raises:
        ValueError: if it is something else, such as text; the message has no file.
    """
    value = record.get(key)
    if value is None:
        return False
    if not isinstance(value, int | float) or value not in (0, 1):
        raise ValueError(f"{key} is {shortened(value)}, expected 0 or 1")
    return value == 1


def path_text(record: Record, key: str) -> str:
    """A field that must be the path of a file or folder below another.

    Raises:
        ValueError: if it is missing or something else; the message has no file.
    """
    value = record.get(key)
    if not isinstance(value, str) or not leads_below(value):
        raise ValueError(
            f"{key} is {shortened(value)}, expected a path below the data set's folder"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{key} is {shortened(value)}, which is no text") from None
    return value


def named(record: Record | None) -> str:
    """A record for messages: by its file or name, else by its id."""
    record = record or {}
    for key in ("file_name", "name"):
        if key in record:
            return shortened(record[key])
    return f"id {shortened(record.get('id'))}"


def identifier(value: object) -> Id | None:
    """A value as an identifier: a whole number or text; None for anything else."""
    if type(value) is float and value.is_integer():
        return int(value)
    # True would be found under 1.
    return value if type(value) in (int, str) else None  # type: ignore[return-value]


def bbox_numbers(annotation: Record) -> tuple[float, float, float, float]:
    """The field ``bbox`` as it is written: x, y, width, height.

    Raises:
        ValueError: if it is something else; the message has no file.
    """
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or {*map(type, bbox)} - {int, float}:
        raise ValueError(f"bbox is {shortened(bbox)}, expected [x, y, width, height] in numbers")
    try:
        x, y, width, height = map(float, bbox)
    except OverflowError:
        raise ValueError(f"bbox is {shortened(bbox)}, beyond any image") from None
    return x, y, width, height


def track_of(annotation: Record) -> Id | None:
    """The field ``instance_id``; None without one.

    Raises:
        ValueError: if it cannot be one; the message has no file.
    """
    track = annotation.get("instance_id")
    number = identifier(track)
    if track is not None and number is None:
        raise ValueError(f"instance_id is {shortened(track)}, expected a number")
    return number


def _table(tables: Mapping[str, Any], name: str, notes: Notes) -> list[Record]:
    table = tables.get(name)
    if table is None and name in ("videos", "annotations"):
        return []
    if not isinstance(table, list):
        told = "is missing" if table is None else f"is {shortened(table)}, not a list"
        raise DataError(notes.source, f"not CocoVID: {name} {told}")
    records: list[Record] = []
    for place, record in enumerate(table):
        if isinstance(record, dict):
            records.append(record)
        else:
            notes.problem(f"{name}: entry {place} is {shortened(record)}, not an object")
    return records


def _unrepeated(pairs: list[tuple[str, Any]]) -> Record:
    """An object, each name in it once: json would keep the last and drop the others."""
    record = dict(pairs)
    if len(record) < len(pairs):
        ((name, count),) = Counter(name for name, _ in pairs).most_common(1)
        owner = f"the object with id {shortened(record['id'])}" if "id" in record else "it"
        raise ValueError(f"{owner} has {shortened(name)} {count} times")
    return record


def _kind(number: Id) -> str:
    return "text" if isinstance(number, str) else "a number"


def _other_kind(number: Id | None, known: Mapping[Id, object]) -> str:
    """A hint where the id is there, written as text here and as a number there."""
    if number is None:
        return ""
    if isinstance(number, str):
        digits = number.strip()
        if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
            return ""
        other: Id = int(digits)
    else:
        other = str(number)
    if other not in known:
        return ""
    return f", but {shortened(other)} is: write ids alike, all as numbers"
