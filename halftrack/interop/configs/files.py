"""MMTracking's configs as files: what they inherit, merged as mmcv 1.7's loader does.

A file is read as text and never imported or executed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from halftrack.bounds import shown
from halftrack.errors import MissingFileError, reason_of
from halftrack.interop.configs.literals import Budget, Evaluator
from halftrack.interop.configs.options import with_options
from halftrack.interop.configs.sections import ConfigError, Place, Section, merged

__all__ = ["Config", "read_config", "read_text"]

_LARGEST = 256 * 1024  # bytes of a file, fifty times the longest published one
_MOST_FILES = 50  # that one config inherits from
_BASES, _DEPRECATED = "_base_", "_deprecation_"
_RESERVED = ("filename", "text", "pretty_text")
_BASE_NAME = re.compile(r"\{\{\s*_base_\.([\w.]+)\s*\}\}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A config with all that it inherits."""

    path: Path
    """The file."""
    values: Section
    """Names and their values, those of the base files among them."""
    text: str
    """The text of all files that it is made of, each below its path."""
    used: Mapping[str, frozenset[str]]
    """For each file, the names that its expressions refer to."""


def read_config(path: str | os.PathLike[str], options: Sequence[str] = ()) -> Config:
    """Read a config and what it inherits; nothing of it is executed.

    Args:
        path: a Python file in the language of MMTracking's configs.
        options: ``key=value`` texts as ``--cfg-options`` takes them, e.g. ``data.train.0.type=X``.

    Raises:
        ConfigError: names the file and the line of what cannot be read.
        MissingFileError: if the file is not there.
    """
    path = Path(path)
    reading = _Reading(folders=_folders(path))
    values = with_options(reading.file(path, ()), options)
    return Config(path=path, values=values, text="\n".join(reading.texts), used=dict(reading.used))


def read_text(path: Path, place: Place | None = None) -> str:
    """The text of a Python file of a config's size.

    Args:
        path: the file.
        place: location where it is named; None for the user's own request.

    Raises:
        ConfigError: if it is no such file.
        MissingFileError: if there is none.
    """
    at = place or Place(str(path))
    named = "" if place is None else f"{path}: "
    try:
        if not path.is_file():
            what = "expected a file" if path.exists() else "there is no such file"
            raise MissingFileError(f"{at}: {named}{what}")
        if path.stat().st_size > _LARGEST:
            raise ConfigError(at, f"{named}more than {_LARGEST // 1024} KiB: no config is so large")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(at, f"{named}no text in UTF-8 from byte {error.start} on") from error
    except (OSError, ValueError) as error:
        if isinstance(error, MissingFileError | ConfigError):
            raise
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise ConfigError(at, f"{named}{reason}") from error


def _folders(path: Path) -> tuple[Path, ...]:
    """Folders that base files may come from: the config's, one named configs, the working one."""
    own = Path(os.path.realpath(path)).parent
    named = [each for each in (own, *own.parents) if each.name == "configs"]
    working = Path(os.path.realpath(Path.cwd()))
    return (own, *named[-1:], *[working] * own.is_relative_to(working))


@dataclass
class _Reading:
    """State of reading one config: what it may read, what it read, what it may still ask for."""

    folders: tuple[Path, ...]
    budget: Budget = field(default_factory=Budget)
    texts: list[str] = field(default_factory=list)
    used: dict[str, frozenset[str]] = field(default_factory=dict)
    files: int = 0

    def file(self, path: Path, above: tuple[Path, ...], place: Place | None = None) -> Section:
        """The merged values of a file.

        Args:
            path: the file.
            above: the files that inherit from it, real paths.
            place: location where it is named.
        """
        self.files += 1
        if place is not None and self.files > _MOST_FILES:
            raise ConfigError(place, f"more than {_MOST_FILES} base files")
        text = read_text(path, place)
        evaluator = Evaluator(_filled(text, path), str(path), self.budget)
        own = evaluator.run()
        values = Section(own.place)
        for name, value in own.items():
            if not name.startswith("__"):
                values.put(name, value, own.places[name])
            if name in _RESERVED:
                raise ConfigError(own.places[name], f"{name}: mmcv keeps this name for itself")
        values.pop(_DEPRECATED, None)
        base = self._bases(values, path, (*above, Path(os.path.realpath(path))))
        names = set(_BASE_NAME.findall(text))
        self.used[str(path)] = frozenset(evaluator.used | {name.split(".")[0] for name in names})
        self.texts.append(f"{path}\n{text}")
        if base is None:
            return values
        return merged(_with_names(values, base, values.place), base)

    def _bases(self, values: Section, path: Path, chain: tuple[Path, ...]) -> Section | None:
        """The values of all base files together; None without ``_base_``."""
        if _BASES not in values:
            return None
        place, given = values.places[_BASES], values.pop(_BASES)
        base = Section(place)
        for name in given if isinstance(given, list) else [given]:
            file = self._base_file(name, path, place)
            if Path(os.path.realpath(file)) in chain:
                raise ConfigError(place, f"_base_ {shown(name)}: this file inherits from itself")
            inherited = self.file(file, chain, place)
            if twice := sorted(base.keys() & inherited.keys()):
                raise ConfigError(
                    place,
                    f"_base_: {twice[0]} is in two base files, {base.places[twice[0]]} and "
                    f"{inherited.places[twice[0]]}; expected it in one of them",
                )
            for key, value in inherited.items():
                base.put(key, value, inherited.places[key])
        return base

    def _base_file(self, name: Any, path: Path, place: Place) -> Path:
        if not isinstance(name, str) or not name.endswith(".py"):
            raise ConfigError(place, f"_base_ {shown(name)}: expected a path ending in .py")
        if "\0" in name or Path(name).is_absolute():
            raise ConfigError(
                place, f"_base_ {shown(name)}: expected a path relative to the config's folder"
            )
        file = Path(os.path.normpath(path.parent / name))
        real = Path(os.path.realpath(file))
        if not any(real.is_relative_to(folder) for folder in self.folders):
            inside = ", ".join(dict.fromkeys(map(str, self.folders)))
            raise ConfigError(
                place,
                f"_base_ {shown(name)} leads out of {inside}: copy the file there, or run from a "
                "folder that holds both",
            )
        return file


def _filled(text: str, path: Path) -> str:
    """The text with mmcv's placeholders filled in; names of a base become texts of their own."""
    absolute = Path(os.path.abspath(path))
    for name, value in {
        "fileDirname": absolute.parent.as_posix(),
        "fileBasename": absolute.name,
        "fileBasenameNoExtension": absolute.stem,
        "fileExtname": absolute.suffix,
    }.items():
        pattern = rf"\{{\{{\s*{name}\s*\}}\}}"
        text = re.sub(pattern, lambda _, value=value: value, text)  # type: ignore[misc]
    return _BASE_NAME.sub(lambda found: f'"{{{{_base_.{found[1]}}}}}"', text)


def _with_names(value: Any, base: Section, place: Place) -> Any:
    """The value with the names of a base file, each a text of its own, looked up there."""
    if isinstance(value, str) and (found := _BASE_NAME.fullmatch(value)):
        inside: Any = base
        for part in found[1].split("."):
            if not isinstance(inside, Section) or part not in inside:
                raise ConfigError(place, f"{value}: the base files have no {shown(part)}")
            inside = inside[part]
        return inside
    if isinstance(value, list | tuple):
        return type(value)(_with_names(item, base, place) for item in value)
    if isinstance(value, Section):
        for key, item in value.items():
            value[key] = _with_names(item, base, value.places[key])
    return value
