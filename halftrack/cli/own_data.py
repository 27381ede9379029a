"""A user's own folder or file, whose layout the ``data`` commands recognise."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halftrack.bounds import shown
from halftrack.cli.console import progress_bar, tell
from halftrack.cli.exits import BAD_VERDICT
from halftrack.errors import MissingFileError, UserError
from halftrack.recipes.names import find_entry

if TYPE_CHECKING:
    from halftrack.data.check import DataReport
    from halftrack.data.own.layouts import OwnData

__all__ = ["OwnPath", "check_own", "is_path", "own_data"]

OwnPath = Annotated[
    str, typer.Argument(metavar="PATH", help="A folder or file of your own, in any known layout.")
]


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


def own_data(path: str) -> tuple[OwnData, ...]:
    """The layouts that a folder or file holds, at least one.

    Raises:
        UserError: if there is no such path, or nothing in it that is known.
    """
    if not os.path.lexists(path):
        raise MissingFileError(f"PATH {shown(path)}: there is no such file or folder")
    from halftrack.data.own.layouts import recognise

    return recognise(path)


def _no_use(data: OwnData, report: DataReport) -> Iterator[str]:
    """A command for each data set that a split takes, and why it does not take others."""
    from halftrack.data.own.divisible import split_refusal
    from halftrack.data.own.json_images import json_files

    commands, refused = [], []
    for place in json_files(data) if data.kind == "coco" else (data.place,):
        named = (each for each in report.sets if each.name == place.name)
        found = next(named) if data.kind == "coco" else report.sets[0]
        if (reason := split_refusal(data, found)) is not None:
            refused.append(f"  {place.name}: {reason}")
            continue
        parts = f"{place.name.removesuffix('.json')}_parts"
        words = ("halftrack", "data", "split", str(place), "--out", parts)
        commands.append(f"  {shlex.join(words)}")
    if commands:
        yield "no recipe reads it as it is; make parts to train and to validate on:"
        yield from commands
    if refused:
        yield "no recipe reads it as it is, and parts cannot be made of it:"
        yield from refused


def check_own(path: str, *, decode: bool) -> None:
    """Recognise the layout of a folder or file, tell its contents, its faults and its uses."""
    found = own_data(path)
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
        uses = list(lines_on_uses(data, report))
        heading = "use it with" if report.ok else "without these problems, use it with"
        for line in (heading, *uses) if uses else _no_use(data, report):
            tell(line)
    if problems:
        raise typer.Exit(BAD_VERDICT)
