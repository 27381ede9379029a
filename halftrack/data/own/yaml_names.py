"""Names of classes in a YAML file of YOLO's: its entry ``names``, and nothing else of YAML.

Read are ``names: [van, tram]``, ``names: {0: van, 1: tram}``, and an entry a line, ``- van`` or
``0: van``. Anything else there is an error with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from halftrack.data.files import shortened
from halftrack.data.problems import DataError
from halftrack.errors import UserError

__all__ = ["MOST_CLASSES", "yaml_names"]

MOST_CLASSES = 10_000
"""Most classes that a data set may have."""

_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\""""
_NAME = rf"""({_QUOTED}|[^\s'"\[\]{{}}#,](?:(?!:(?:\s|$)|\s#).)*?)"""
_NUMBER = r"""['"]?([0-9]+)['"]?\s*:\s*"""
_START = re.compile(r"""(['"]?)names\1\s*:\s*((?:[^\s#].*)?)(?:#.*)?""")
_COUNT = re.compile(r"nc\s*:\s*([0-9]{1,9})\s*(?:#.*)?")
_LINE = re.compile(rf"(?:-\s+|{_NUMBER}){_NAME}\s*(?:\s#.*)?")
_KEY = re.compile(r"[A-Za-z_][\w-]*\s*:.*|---.*|\.\.\.")
# Between brackets commas divide, unless they stand in quotes or in a comment.
_TOKEN = re.compile(
    rf"""(?P<mark>[][{{}},])|(?P<comment>(?<!\S)#.*)|{_QUOTED}|[^][{{}},\s'"#][^][{{}},\s]*|\s+|."""
)
_LISTED, _NUMBERED = re.compile(f"(){_NAME}"), re.compile(_NUMBER + _NAME)
_EXPECTED = "expected names: [a, b], names: {0: a, 1: b}, or a line each, '- a' or '0: a'"

Lines = list[tuple[int, str]]
Entry = tuple[int, str | None, str]
"""Line, number as it is written, None in a list, and name."""


def yaml_names(file: Path, lines: list[tuple[int, str]]) -> list[str]:
    """The classes that ``names`` of a YAML file tells, by their numbers; empty without ``names``.

    A class whose number is left out is called by it.

    Args:
        file: for the error.
        lines: its lines that are not blank, each with its number.

    Raises:
        DataError: if ``names`` is in none of the forms that are read, has a number twice, or is
            not of ``nc`` classes; says in which line.
    """
    found: dict[int, tuple[str, int]] = {}
    try:
        for line, digits, name in _entries(lines):
            number = int(digits[:9]) if digits else len(found)
            told = f"line {line}: class {number} is {shortened(name)}"
            if number >= MOST_CLASSES:
                raise UserError(f"{told}, allowed are at most {MOST_CLASSES} classes")
            if number in found:
                other, first = found[number]
                raise UserError(f"{told}, but {shortened(other)} in line {first}")
            found[number] = name, line
    except UserError as error:
        raise DataError(str(file), str(error)) from None
    names = [found.get(number, (str(number),))[0] for number in range(max(found, default=-1) + 1)]
    for line, text in lines:
        count = _COUNT.fullmatch(text)
        if names and count is not None and int(count[1]) != len(names):
            told = f"line {line}: nc is {count[1]}, but names tells {len(names)} classes"
            raise DataError(str(file), f"{told}: correct one of them")
    return names


def _entries(lines: Lines) -> Iterator[Entry]:
    """The entries of ``names``; a ``UserError`` tells what is wrong, without the file."""
    starts = ((place, _START.fullmatch(text)) for place, (_, text) in enumerate(lines))
    place, start = next((each for each in starts if each[1] is not None), (0, None))
    if start is None:
        return
    number, rest = lines[place][0], start[2]
    if rest[:1] in ("[", "{"):
        yield from _between_brackets(rest[0] == "{", [(number, rest[1:]), *lines[place + 1 :]])
    elif rest:
        raise UserError(f"line {number}: names is {shortened(rest)}; {_EXPECTED}")
    else:
        yield from _a_line_each(number, lines[place + 1 :])


def _a_line_each(start: int, lines: Lines) -> Iterator[Entry]:
    count = 0
    for number, text in lines:
        if text.startswith("#"):
            continue
        entry = _LINE.fullmatch(text)
        if entry is not None:
            yield number, entry[1], _unquoted(entry[2])
            count += 1
        elif _KEY.fullmatch(text):
            break
        else:
            raise UserError(f"line {number}, {shortened(text)}: {_EXPECTED}")
    if not count:
        raise UserError(f"line {start}: names holds no class; {_EXPECTED}")


def _between_brackets(numbered: bool, lines: Lines) -> Iterator[Entry]:
    """The entries of a list, or of a mapping, from behind its bracket on."""
    form, end = (_NUMBERED, "}") if numbered else (_LISTED, "]")
    told = ""
    for number, text in lines:
        for token in _TOKEN.finditer(text):
            if token["mark"] is None:
                told += "" if token["comment"] else token[0]
                continue
            entry = form.fullmatch(told.strip())
            if token[0] not in (",", end) or (entry is None and (told.strip() or token[0] == ",")):
                raise UserError(f"line {number}, {shortened(text)}: {_EXPECTED}")
            if entry is not None:
                yield number, entry[1], _unquoted(entry[2])
            if token[0] == end:
                return
            told = ""
        told += " "
    raise UserError(f"line {lines[0][0]}: names has no closing {end}; {_EXPECTED}")


def _unquoted(name: str) -> str:
    if name.startswith("'"):
        return name[1:-1].replace("''", "'")
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if name.startswith('"') else name
