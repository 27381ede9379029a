"""Checks of arguments that need no torch, so that a mistake is told within a second."""

from __future__ import annotations

import os
from pathlib import Path

from halftrack.errors import MissingFileError, UserError

__all__ = [
    "check_file",
    "check_folder",
    "check_least",
    "check_name",
    "check_new_file",
    "check_output",
]


def check_name(option: str, value: str | None, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not one of those allowed; None means that it was left out."""
    if value is not None and value not in allowed:
        raise UserError(f"{option} {value!r} is not one of {', '.join(allowed)}")


def check_least(option: str, value: int | None, least: int = 1) -> None:
    """Refuse a number that is too small; None means that it was left out."""
    if value is not None and value < least:
        raise UserError(f"{option} {value}: expected at least {least}")


def check_folder(option: str, folder: Path | None) -> None:
    """Refuse a folder to read from that does not exist; None means that it was left out."""
    if folder is not None and not folder.is_dir():
        what = "a file, expected a folder" if folder.exists() else "there is no such folder"
        raise MissingFileError(f"{option} {folder}: {what}")


def check_file(option: str, file: str | Path | None) -> None:
    """Refuse a file to read that does not exist; None means that it was left out."""
    if file is not None and not Path(file).is_file():
        what = "a folder, expected a file" if Path(file).exists() else "there is no such file"
        raise MissingFileError(f"{option} {file}: {what}")


def check_output(folder: Path | None, option: str = "--out") -> None:
    """Refuse a folder that results cannot be written to; None means that it was left out."""
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{option} {folder}: a file, expected a folder to write to")
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise UserError(f"{option} {folder}: {there} is a file, expected a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{option} {folder}: no permission to write to {there}")


def check_new_file(option: str, file: Path | None) -> None:
    """Refuse a file that cannot be written; None means that it was left out."""
    if file is None:
        return
    if file.is_dir():
        raise UserError(f"{option} {file}: a folder, expected a file to write to")
    if not file.parent.is_dir():
        raise UserError(f"{option} {file}: there is no folder {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UserError(f"{option} {file}: no permission to write to it")
