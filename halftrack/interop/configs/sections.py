"""Sections of a config: dictionaries that remember in which file and line each key was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from halftrack.bounds import shown
from halftrack.errors import UserError

__all__ = ["ConfigError", "Place", "Section", "merged"]

_DELETE = "_delete_"


@dataclass(frozen=True)
class Place:
    """Location of a key: a file and a line, or the option of a command."""

    file: str
    """The file's path, or the option's text."""
    line: int | None = None
    """The line, counted from 1; None for an option and for a file as a whole."""

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}, line {self.line}"


class ConfigError(UserError):
    """A config that cannot be read, or that has no counterpart here; names file and line."""

    def __init__(self, place: Place, reason: str) -> None:
        # A name that is not UTF-8 is told with escapes: no terminal takes it as it is.
        super().__init__(f"{place}: {reason}".encode("utf-8", "backslashreplace").decode())
        self.place = place
        """Location of the mistake."""
        self.reason = reason
        """Description of the mistake, and what is allowed instead."""

    def __reduce__(self) -> tuple[type[ConfigError], tuple[Place, str]]:
        return type(self), (self.place, self.reason)


class Section(dict[str, Any]):
    """A dictionary of a config, with the place of each of its keys.

    Args:
        place: location of the dictionary itself.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.places: dict[str, Place] = {}

    def put(self, key: str, value: Any, place: Place) -> None:
        """Set a key and remember where it was written."""
        self[key] = value
        self.places[key] = place

    def shallow(self) -> Section:
        """A copy whose keys can be changed; the values are shared."""
        other = Section(self.place)
        other.update(self)
        other.places.update(self.places)
        return other


def merged(child: Section, base: Section, *, lists: bool = False) -> Section:
    """The base with the child's values in the place of its own, section by section.

    As mmcv 1.7 merges: a section whose ``_delete_`` is true replaces the base's.

    Args:
        child: the values that win.
        base: the values inherited; it stays as it is.
        lists: a key of digits is the index of a list.

    Raises:
        ConfigError: for a section where the base has none, and an index beyond a list.
    """
    base = base.shallow()
    for key, value in child.items():
        place = child.places[key]
        if key in base and isinstance(value, Section) and not value.pop(_DELETE, False):
            base.put(key, _merged_into(value, base[key], key, place, lists=lists), place)
        else:
            base.put(key, value, place)
    return base


def _merged_into(child: Section, base: Any, key: str, place: Place, *, lists: bool) -> Any:
    if isinstance(base, Section):
        return merged(child, base, lists=lists)
    if not (lists and isinstance(base, list)):
        raise ConfigError(
            place,
            f"{key} is dict(...) here and {shown(base)} in the base config; set _delete_=True in "
            "it to replace that",
        )
    items = list(base)
    for digits, value in child.items():
        if not digits.isdecimal() or int(digits) >= len(items):
            raise ConfigError(place, f"{key}.{digits}: expected an index below {len(items)}")
        index, inside = int(digits), f"{key}.{digits}"
        replaced = isinstance(value, Section)
        items[index] = (
            _merged_into(value, items[index], inside, place, lists=True) if replaced else value
        )
    return items
