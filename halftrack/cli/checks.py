"""Checks of arguments that need no torch, so that a mistake is told within a second."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import typer

from halftrack.bounds import shown
from halftrack.errors import MissingFileError, UserError, reason_of
from halftrack.training.files.integrity import check_kind
from halftrack.training.files.run_folder import holds_run

__all__ = [
    "check_arguments",
    "check_device",
    "check_file",
    "check_folder",
    "check_name",
    "check_new_file",
    "check_output",
    "check_run_folder",
    "check_weights",
    "number",
    "one_of",
]

NumberT = TypeVar("NumberT", int, float)

_DEVICES = ("cpu", "cuda", "hpu", "mps", "mtia", "npu", "xpu")  # those that torch may have
_LONGEST = 200  # characters of a path that an error quotes


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse an empty argument: mostly a shell variable that is not set, never a path.

    Those after ``--`` are another program's.
    """
    arguments = list(takewhile("--".__ne__, arguments))
    for before, argument in zip(["halftrack", *arguments], arguments, strict=False):
        if not argument.strip() or re.fullmatch(r"--[a-z-]+=\s*", argument):
            place = argument.strip() or f"the one behind {shown(before)}"
            raise UserError(
                f"an argument is empty, {place}: expected a value; is a variable unset?"
            )


def check_name(option: str, value: str | None, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not one of those allowed; None means that it was left out."""
    if value is not None and value not in allowed:
        raise UserError(f"{option} {shown(value)} is not one of {', '.join(allowed)}")


def number(kind: type[NumberT], least: float, most: float) -> Callable[[str | NumberT], NumberT]:
    """Returns the parser of an option that takes a number within bounds; typer names the option."""

    def parsed(given: str | NumberT) -> NumberT:
        try:
            value = kind(given)
            within = least <= value <= most
        except ValueError:
            within = False
        if not within:
            words = "a whole number" if kind is int else "a number"
            raise typer.BadParameter(
                f"{shown(given)}: expected {words} at least {least:g}, at most {most:.12g}"
            )
        return value

    return parsed


def one_of(*allowed: str) -> Callable[[str], str]:
    """Returns the parser of an option that takes one of a few words; typer names the option."""

    def parsed(given: str) -> str:
        if given not in allowed:
            raise typer.BadParameter(f"{shown(given)} is not one of {', '.join(allowed)}")
        return given

    return parsed


def check_device(name: str | None) -> None:
    """Refuse a name that no device has; None means that it was left out."""
    if name is not None and not re.fullmatch(rf"({'|'.join(_DEVICES)})(:[0-9]{{1,3}})?", name):
        raise UserError(f"--device {shown(name)}: expected cpu, cuda, cuda:1, ...")


def check_folder(option: str, folder: Path | None) -> None:
    """Refuse a folder to read from that does not exist; None means that it was left out."""
    with _naming(option, folder):
        if folder is not None and not folder.is_dir():
            what = "a file, expected a folder" if folder.exists() else "there is no such folder"
            raise MissingFileError(f"{option} {_cut(folder)}: {what}")


def check_file(option: str, file: str | Path | None) -> None:
    """Refuse a file to read that does not exist; None means that it was left out."""
    with _naming(option, file):
        if file is not None and not Path(file).is_file():
            what = "a folder" if Path(file).is_dir() else "a device or pipe"
            what = f"{what}, expected a file" if Path(file).exists() else "there is no such file"
            raise MissingFileError(f"{option} {_cut(file)}: {what}")


def check_weights(option: str, file: str | Path | None) -> None:
    """Refuse a file of weights that does not exist or cannot be one; None: it was left out."""
    check_file(option, file)
    if file is not None:
        check_kind(Path(file))


def check_output(folder: Path | None, option: str = "--out") -> None:
    """Refuse a folder that results cannot be written to; None means that it was left out."""
    if folder is None:
        return
    with _naming(option, folder):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{option} {folder}: a file, expected a folder to write to")
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if not there.is_dir():
            raise UserError(f"{option} {folder}: {there} is a file, expected a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UserError(f"{option} {folder}: no permission to write to {there}")


def check_run_folder(folder: Path) -> bool:
    """True of an ``--out`` that holds a run; refuse one without that cannot be written to."""
    with _naming("--out", folder):
        if holds_run(folder):
            return True
    check_output(folder)
    return False


def check_new_file(option: str, file: Path | None) -> None:
    """Refuse a file that cannot be written; None means that it was left out."""
    if file is None:
        return
    with _naming(option, file):
        if file.is_dir():
            raise UserError(f"{option} {file}: a folder, expected a file to write to")
        if not file.parent.is_dir():
            raise UserError(f"{option} {file}: there is no folder {file.parent}")
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise UserError(f"{option} {file}: no permission to write to it")


@contextmanager
def _naming(option: str, path: str | Path | None) -> Iterator[None]:
    """Names the option where the system refuses the path itself, as one that is too long."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{option} {_cut(path)}: {reason_of(error)}") from error


def _cut(path: object) -> str:
    text = str(path)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
