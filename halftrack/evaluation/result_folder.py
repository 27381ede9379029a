"""Folders of result files: one ``<sequence>.txt`` for each sequence, in any format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from halftrack.data.files import is_clutter
from halftrack.errors import UserError

__all__ = ["ResultFolder", "read_folder"]

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True)
class ResultFolder(Generic[ResultT]):
    """Results of a benchmark, as read from a folder."""

    results: dict[str, ResultT]
    """Result of each sequence that was asked for, by its name."""
    extra: tuple[str, ...]
    """Names of the other files in the folder, which were not read."""

    def notes(self) -> tuple[str, ...]:
        """A line on the files that were not read, if there are any."""
        if not self.extra:
            return ()
        return (f"not read, as no sequence has this name: {', '.join(self.extra)}",)


def read_folder(
    folder: Path, sequences: Sequence[str], read: Callable[[Path], ResultT]
) -> ResultFolder[ResultT]:
    """Read ``<sequence>.txt`` of each sequence.

    Args:
        folder: the folder.
        sequences: the names of the sequences.
        read: reads one file.

    Raises:
        ValueError: if the folder or a file is missing (lists the files that are there), or if
            ``read`` cannot read a file.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected one with {_files(sequences)}")
    twice = sorted({name for name in sequences if list(sequences).count(name) > 1})
    if twice:
        raise UserError(f"{', '.join(twice)}: several sequences have this name, and one file it")
    files = [each.name for each in folder.iterdir() if each.is_file()]
    present = sorted(name for name in files if not is_clutter(name))
    wanted = {f"{name}.txt" for name in sequences}
    extra = tuple(name for name in present if name not in wanted)
    missing = [name for name in sequences if f"{name}.txt" not in present]
    if missing:
        known = [name for name in present if name in wanted]
        raise UserError(
            f"{folder} has no {_files(missing)}; there are {', '.join(known) or 'none'} of the "
            f"{len(wanted)} expected and, not asked for, {', '.join(extra) or 'none'}"
        )
    results = {name: read(folder / f"{name}.txt") for name in sequences}
    return ResultFolder(results=results, extra=extra)


def _files(sequences: Sequence[str]) -> str:
    return ", ".join(f"{name}.txt" for name in sequences)
