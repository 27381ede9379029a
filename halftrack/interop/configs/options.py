"""Options that change a config from the command line, ``key=value``, as ``--cfg-options`` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from halftrack.bounds import shown
from halftrack.interop.configs.sections import ConfigError, Place, Section, merged

__all__ = ["option_value", "with_options"]

_LONGEST = 1000  # characters of an option
_DEEPEST = 20  # brackets within each other
_WORDS: dict[str, Any] = {"true": True, "false": False}
_BRACKETS = {"(": ")", "[": "]"}


def with_options(values: Section, options: Sequence[str]) -> Section:
    """The values with these options set; a number in a key is an index of a list.

    Args:
        values: of a config.
        options: texts such as ``data.samples_per_gpu=4`` or ``data.train.0.img_prefix=mine``.

    Raises:
        ConfigError: for an option that is none or whose key leads nowhere.
    """
    for option in options:
        place = Place(f"--cfg-options {shown(option)}")
        key, separator, text = option.partition("=")
        if not separator or not all(key.split(".")) or len(option) > _LONGEST:
            raise ConfigError(place, "expected KEY=VALUE, e.g. data.samples_per_gpu=4")
        *parents, last = key.split(".", _DEEPEST)
        change = inside = Section(place)
        for parent in parents:
            inside.put(parent, Section(place), place)
            inside = inside[parent]
        inside.put(last, option_value(text, place), place)
        values = merged(change, values, lists=True)
    return values


def option_value(text: str, place: Place, depth: int = 0) -> Any:
    """The value of an option: a number, True, False, None, a text, or a list of these with commas.

    Raises:
        ConfigError: for brackets that do not close.
    """
    text = text.strip("'\"").replace(" ", "")
    if depth > _DEEPEST:
        raise ConfigError(place, f"expected at most {_DEEPEST} brackets within each other")
    bracket = text[:1] if _BRACKETS.get(text[:1]) == text[-1:] else ""
    inner = text[1:-1] if bracket else text
    if not bracket and "," not in text:
        return _scalar(text)
    items = [option_value(part, place, depth + 1) for part in _parts(inner, place)]
    return tuple(items) if bracket == "(" else items


def _parts(text: str, place: Place) -> Iterator[str]:
    """The texts between commas that stand in no bracket; a last comma ends no part."""
    depth = start = 0
    for index, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            yield text[start:index]
            start = index + 1
    if depth:
        raise ConfigError(place, "expected as many brackets that close as open")
    if start < len(text):
        yield text[start:]


def _scalar(text: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return None if text == "None" else _WORDS.get(text.lower(), text)
