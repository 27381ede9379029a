"""``halftrack data check PATH``: a user's own folder or file, whose layout is recognised."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from halftrack.bounds import shown
from halftrack.cli.console import progress_bar, tell
from halftrack.cli.exits import BAD_VERDICT
from halftrack.errors import MissingFileError, UserError
from halftrack.recipes.names import find_entry

__all__ = ["check_own", "is_path"]


def is_path(given: str, data_root: Path | None) -> bool:
    """True for a word that is the path of a user's data, False for a recipe's name or file.

    Raises:
        UserError: for a word that may be both, or is neither, or a recipe without data.
    """
    there, named = os.path.lexists(given), given.endswith(".py")
    reason = ""
    if not named:
        try:
            find_entry(given)
            named = True
        except UserError as error:
            reason = str(error)
    if data_root is not None:
        if there and not named:
            raise UserError(
                f"{shown(given)} is a file or folder, no recipe, which --data-root is for: leave "
                "that out"
            )
        return False
    if named and there and not given.endswith(".py"):
        raise UserError(
            f"{given} is a recipe and a file or folder here: write ./{given} for what is here, or "
            f"{given} --data-root FOLDER for the recipe's data"
        )
    if named:
        raise UserError(
            f"--data-root is missing: give the folder with the data of {shown(given)}, or the path "
            "of your own data alone"
        )
    if not there:
        told = "" if "/" in given else f", and {reason}"
        raise MissingFileError(f"PATH {shown(given)}: there is no such file or folder{told}")
    return True


def check_own(path: str, *, decode: bool) -> None:
    """Recognise the layout of a folder or file, tell its contents, its faults and its uses."""
    from halftrack.data.own.layouts import recognise

    found = recognise(path)
    from halftrack.data.own.contents import look_at
    from halftrack.recipes.uses import lines_on_uses

    problems = False
    for data in found:
        tell(str(data))
        with progress_bar("reading") as progress:
            report = look_at(data, decode=decode, progress=progress)
        for line in report.lines():
            tell(line)
        problems |= not report.ok
        uses = list(lines_on_uses(data))
        for line in ("use it with", *uses) if uses else ("no recipe reads it as it is",):
            tell(line)
    if problems:
        raise typer.Exit(BAD_VERDICT)
