"""Rules by which a config's keys become fields of a recipe.

A table of rules names every key that a kind of config may have. A key that no rule names, or whose
value has no counterpart here, is an error that gives its file, its line and the nearest field.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from halftrack.bounds import shown
from halftrack.errors import UserError
from halftrack.interop.configs.sections import ConfigError, Place, Section

__all__ = [
    "KEEP",
    "REQUIRED",
    "Derived",
    "Field",
    "Fields",
    "Fixed",
    "Key",
    "Rule",
    "Rules",
    "Skip",
    "apply",
    "prefixed",
]


_LONGEST = 200  # characters of a path that an error tells as it is


class _Word:
    """A word that stands in the place of a default."""


KEEP = _Word()
"""Default of a key that may be left out: the field stays as the recipe has it."""
REQUIRED = _Word()
"""Default of a key that must be there."""


@dataclass(frozen=True)
class Key:
    """A key of a config with its value."""

    path: str
    """Dotted path, e.g. ``model.detector.backbone.depth``."""
    value: Any
    """The value; of a section that one rule reads as a whole, the section."""
    place: Place
    """File and line."""

    def __str__(self) -> str:
        given = "dict(...)" if isinstance(self.value, Section) else shown(self.value)
        named = self.path.isprintable() and len(self.path) <= _LONGEST
        return f"{self.path if named else shown(self.path)}={given}"

    def refused(self, reason: str) -> ConfigError:
        """An error about this key."""
        return ConfigError(self.place, f"{self}: {reason}")


@dataclass
class Fields:
    """Fields of a recipe as the keys of a config set them, and the keys that set none."""

    values: dict[str, Any] = field(default_factory=dict)
    """Values of recipe fields, by dotted path."""
    keys: dict[str, Key] = field(default_factory=dict)
    """The key that set each of them; fields of keys that were left out have none."""
    derived: list[tuple[Key, Derived]] = field(default_factory=list)
    """Keys whose value follows from other fields."""
    skipped: list[Key] = field(default_factory=list)
    """Keys that need no counterpart here."""
    notes: list[str] = field(default_factory=list)
    """Lines on what the user must know."""
    init: str | None = None
    """File that the training starts from, if the config names one."""

    def put(self, ours: str, value: Any, key: Key | None) -> None:
        """Set a recipe field.

        Raises:
            ConfigError: if another key has set it to another value.
        """
        value = _tuples(value)
        if ours in self.keys and key is not None and self.values[ours] != value:
            raise key.refused(
                f"differs from {self.keys[ours]} ({self.keys[ours].place}); here both are one "
                f"field, {ours}"
            )
        self.values[ours] = value
        if key is not None:
            self.keys[ours] = key


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Field:
    """A key that sets one field, or several by a function of its own."""

    ours: str
    """Dotted path of the recipe field."""
    convert: Callable[[Any], Any] | None = None
    """Turns the key's value into the field's; raises ``UserError`` for what it does not take."""
    default: Any = REQUIRED
    """Value of a key that is left out, before it is converted; or KEEP or REQUIRED."""
    published: tuple[Any, ...] = ()
    """Values with which the recipe's field stays as it is."""
    several: Callable[[Key, Fields], None] | None = None
    """Sets fields itself, in the place of ``convert``."""

    def read(self, key: Key | None, path: str, fields: Fields, file: Place) -> None:
        """Set the field from its key; None for a key that is left out."""
        if key is None and self.default is REQUIRED:
            raise ConfigError(file, f"there is no key {path}, which sets {self.ours} here")
        if key is None and self.default is KEEP:
            return
        value = self.default if key is None else key.value
        if value in self.published:
            return
        told = key or Key(path, value, file)
        try:
            if self.several is not None:
                self.several(told, fields)
            else:
                fields.put(self.ours, self.convert(value) if self.convert else value, key)
        except ConfigError:
            raise
        except UserError as error:
            raise told.refused(str(error)) from error


@dataclass(frozen=True, init=False)
class Fixed:
    """A key that has one value, or few, in all that is built here."""

    allowed: tuple[Any, ...]
    """The values."""
    default: Any
    """Value of a key that is left out; KEEP if that is allowed too."""

    def __init__(self, *allowed: Any, default: Any = KEEP) -> None:
        object.__setattr__(self, "allowed", allowed)
        object.__setattr__(self, "default", default)

    def read(self, key: Key | None, path: str, fields: Fields, file: Place) -> None:
        """Make sure that the key has the value."""
        if key is None and self.default is KEEP:
            return
        key = key or Key(path, self.default, file)
        allowed = [_tuples(each) for each in self.allowed]
        if isinstance(key.value, Section) or _tuples(key.value) not in allowed:
            raise key.refused(f"here it is {' or '.join(map(shown, self.allowed))}")


@dataclass(frozen=True)
class Derived:
    """A key whose value follows from fields of the recipe."""

    value: Callable[[Any], Any]
    """Computes it from the recipe."""
    ours: str
    """The fields that it follows from."""

    def read(self, key: Key | None, path: str, fields: Fields, file: Place) -> None:
        """Keep the key to be compared when the recipe is there."""
        if key is not None:
            fields.derived.append((key, self))


@dataclass(frozen=True)
class Skip:
    """A key, with all inside it, that needs no counterpart here."""

    note: str = ""
    """A line for the user; nothing for keys of their machinery."""

    def read(self, key: Key | None, path: str, fields: Fields, file: Place) -> None:
        """List the key, if it says anything."""
        if key is None:
            return
        fields.skipped.append(key)
        if self.note and key.value not in (None, [], ()):
            fields.notes.append(f"{key} ({key.place}): {self.note}")


Rule = Field | Fixed | Derived | Skip
Rules = Mapping[str, Rule]


def prefixed(prefix: str, rules: Rules) -> dict[str, Rule]:
    """The rules for keys inside a section, or with an empty prefix as they are."""
    return {f"{prefix}.{path}" if prefix else path: rule for path, rule in rules.items()}


def apply(rules: Rules, values: Section, file: str) -> Fields:
    """The recipe fields that a config sets.

    Args:
        rules: of its kind, by dotted path.
        values: of the config, helper names left out.
        file: the config's path, for keys that are missing.

    Raises:
        ConfigError: for a key without a rule, and a value without a counterpart.
    """
    keys = {key.path: key for key in _keys(values, rules)}
    fields = Fields()
    for key in keys.values():
        if key.path not in rules:
            raise key.refused(f"it has no counterpart here; {_nearest(key.path, rules)}")
    for path, rule in rules.items():
        rule.read(keys.get(path), path, fields, Place(file))
    return fields


def _keys(section: Section, rules: Rules, prefix: str = "") -> Iterator[Key]:
    """The keys of a section; inside a section that no rule names as a whole, the keys of that."""
    for name, value in section.items():
        path = prefix + name
        inside = any(other.startswith(f"{path}.") for other in rules)
        if isinstance(value, Section) and path not in rules and (value or inside):
            yield from _keys(value, rules, f"{path}.")
        else:
            yield Key(path, value, section.places[name])


def _nearest(path: str, rules: Rules) -> str:
    """The known keys that are most like an unknown one, and the fields that they set."""

    def likeness(other: str) -> tuple[int, float]:
        shared = 0
        for mine, theirs in zip(path.split("."), other.split("."), strict=False):
            if mine != theirs:
                break
            shared += 1
        names = path.rpartition(".")[2], other.rpartition(".")[2]
        return shared, difflib.SequenceMatcher(None, *names).ratio()

    known = [name for name, rule in rules.items() if isinstance(rule, Field)]
    near = sorted(known, key=likeness, reverse=True)[:2]
    told = [f"{name} ({rules[name].ours})" for name in near]  # type: ignore[union-attr]
    return f"the nearest are {' and '.join(told)}"
