"""Folders of single-object data sets: lists, images that are counted, names that stand once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from halftrack.data.files import is_clutter, shortened
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.sot.sequences import SotSequence
from halftrack.data.sot.text import read_lines, read_names

__all__ = [
    "by_number",
    "count_images",
    "folders_of",
    "lasot_test_names",
    "listed_folders",
    "named_once",
    "text_files",
]


_HEADING = "The format"  # the first line of MMTracking's lists explains the others


def named_once(
    sequences: Iterable[SotSequence], problems: list[Problem] | None
) -> tuple[SotSequence, ...]:
    """The sequences, of two of one name only the first: result files go by name."""
    kept: dict[str, SotSequence] = {}
    for sequence in sequences:
        other = kept.setdefault(sequence.name, sequence)
        with noting(problems):
            if other is not sequence:
                told = f"{sequence.name} is the name of {other.folder} too"
                raise DataError(str(sequence.folder), f"{told}; rename one of the two")
    return tuple(kept.values())


def count_images(folder: Path, start: int) -> int:
    """Number of images from ``start`` on to the last, none of which may be missing."""
    stems = [path.stem for path in folder.glob("*.jpg")]
    numbers = {int(stem) for stem in stems if stem.isascii() and stem.isdecimal()}
    if not numbers:
        raise DataError(str(folder), "no image here, expected <number>.jpg")
    expected = max(numbers) - start + 1
    if min(numbers) < start or len(numbers) != expected:
        told = f"{len(numbers)} images, {min(numbers)} to {max(numbers)}"
        raise DataError(str(folder), f"{told}; expected one for each number from {start} on")
    return expected


def by_number(part: Path) -> int:
    """The number at the end of a folder's name, as of TRAIN_3; -1 without one."""
    number = part.name.rpartition("_")[2]
    return int(number) if number.isdecimal() else -1


def listed_folders(base: Path) -> list[Path]:
    """The folders that ``list.txt`` names; without one, all that hold ground truth."""
    file = base / "list.txt"
    if file.exists():
        return [base / name for name in read_names(file)]
    return folders_of(base, "*/groundtruth.txt")


def lasot_test_names(base: Path) -> tuple[Path, list[str]]:
    """LaSOT's list of test sequences, and their names.

    The benchmark's is ``testing_set.txt``; without it the one that MMTracking's converter writes,
    ``lasot_test_infos.txt`` in ``annotations``, is read.

    Raises:
        DataError: if there is none, or a line of MMTracking's is malformed.
    """
    file = base / "testing_set.txt"
    places = (base, base / "annotations", base.parent / "annotations")
    infos = [place / "lasot_test_infos.txt" for place in places]
    found = next((each for each in infos if each.is_file()), None)
    if file.exists() or found is None:
        return file, read_names(file)
    lines = [line for line in read_lines(found) if not line.startswith(_HEADING)]
    return found, [_of_info(found, line) for line in lines]


def _of_info(file: Path, line: str) -> str:
    """The sequence of a line ``<images>,<annotation>,<first frame>,<last frame>``."""
    words = line.split(",")
    name = Path(words[0]).parent.name
    if len(words) != 4 or not name:
        told = "expected <video path>,<annotation path>,<first frame>,<last frame>"
        raise DataError(str(file), f"{shortened(line)}: {told}")
    return name


def folders_of(base: Path, pattern: str) -> list[Path]:
    """The folders of the files of a pattern, sorted, without what systems leave beside data."""
    return sorted(
        {
            path.parent
            for path in base.glob(pattern)
            if not any(is_clutter(part) for part in path.relative_to(base).parts)
        }
    )


def text_files(folder: Path) -> list[Path]:
    """The text files of a folder, sorted."""
    return sorted(path for path in folder.glob("*.txt") if not is_clutter(path.name))
