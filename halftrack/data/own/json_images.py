"""CocoVID and COCO files wherever they lie: which folder their images are below."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from halftrack.data.files import leads_below, shortened
from halftrack.data.index import VideoIndex
from halftrack.data.own.layouts import OwnData, first_folders
from halftrack.data.problems import DataError
from halftrack.data.tables.coco_records import Notes, Record, load_tables
from halftrack.data.vid.coco_vid import index_tables

__all__ = ["image_root", "json_files", "read_json"]

# Levels of folders below a data set's own in which images are looked for.
_DEEPEST = 3


def json_files(data: OwnData) -> tuple[Path, ...]:
    """The annotation files of data of the kind ``coco``."""
    folder = data.place.parent if data.place.is_file() else data.place
    return tuple(folder / name for name in data.parts)


def read_json(file: Path) -> VideoIndex:
    """The records of a file with all its classes, wherever its images lie.

    Raises:
        DataError: if the file is malformed or names no image, or the first is nowhere near.
            Problems of single records are kept in the index.
    """
    notes = Notes(str(file))
    tables = load_tables(file, notes)
    return index_tables(tables, notes, image_root=image_root(file, tables), classes=None)


def image_root(file: Path, tables: Mapping[str, Sequence[Record]]) -> Path:
    """The folder that the ``file_name`` of a file's images is relative to, by the first image.

    Args:
        file: where it lies.
        tables: its content.

    Raises:
        DataError: if the file names no image, or the image is nowhere near.
    """
    images = tables["images"]
    if not images:
        raise DataError(str(file), "images is empty")
    names = [image.get("file_name") for image in images]
    name = next((each for each in names if isinstance(each, str) and leads_below(each)), None)
    if name is None:
        told = f"images: file_name is {shortened(names[0])}, expected a path below a folder"
        raise DataError(str(file), told)
    for folder in _near(file):
        if os.path.isfile(folder / name):  # False, too, for a name too long for any file
            return folder
    raise DataError(
        str(file),
        f"its first image, {shortened(name)}, is neither below {file.parent} nor below "
        f"{file.parent.parent}: file_name is relative to a folder there",
    )


def _near(file: Path) -> Iterator[Path]:
    """Folders near a file, the likelier ones first; those of images themselves are passed over."""
    level = [file.parent, file.parent.parent]
    for _ in range(_DEEPEST):
        yield from level
        level = [below for folder in level for below in first_folders(folder)]
