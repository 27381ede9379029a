"""Folders of single-object data sets: lists, images that are counted, names that stand once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from halftrack.data.files import is_clutter, leads_below, shortened
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.sot.sequences import SotSequence
from halftrack.data.tables.target_text import read_flags, read_lines, read_names

__all__ = [
    "ATTRIBUTES",
    "UAV_STARTS",
    "Asked",
    "by_number",
    "count_images",
    "folders_of",
    "lasot_test_names",
    "listed_folders",
    "listed_sequences",
    "named_once",
    "read_attributes",
    "read_infos",
    "text_files",
]

UAV_STARTS = {
    "bird1": (1, 775, 1573),
    "car1": (1, 751, 1627),
    "car16": (1, 415),
    "car6": (1, 487, 1807, 2953, 3925),
    "car8": (1, 1357),
    "group1": (1, 1333, 2515, 3925),
    "group2": (1, 907, 1771),
    "group3": (1, 1567, 2827, 4369),
    "person12": (1, 601),
    "person14": (1, 847, 1813),
    "person17": (1, 1501),
    "person19": (1, 1243, 2791),
    "person2": (1, 1189),
    "person4": (1, 1501),
    "person5": (1, 877),
    "person7": (1, 1249),
    "person8": (1, 1075),
    "truck4": (1, 577),
    "uav1": (1, 1555, 2473),
}
"""First image of each sequence of UAV123 that is cut from a longer video, <video>_1, _2, ..."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "LaSOT": (
        *("IV", "POC", "DEF", "MB", "CM", "ROT", "BC"),
        *("VC", "SV", "FOC", "FM", "OV", "LR", "ARC"),
    ),
    "UAV123": ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB"),
}
"""Attributes in the order of their flags, in the files of LaSOT's kit and of UAV123."""

_HEADING = "The format"  # the first line of MMTracking's lists explains the others
_INFO = re.compile(r"[^,]+,((?:[^,/]+/)*[^,/]+),([0-9]{1,9}),([0-9]{1,9})")


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...


SequenceT = TypeVar("SequenceT", bound=_Named)


class Asked(NamedTuple):
    """The sequences that are asked for, and where problems are noted."""

    split: str
    """``train``, ``val``, ``test``, or LaSOT's ``all``."""
    attributes: Path | None
    """Folder of their flags."""
    problems: list[Problem] | None
    named: frozenset[Path] | None = None
    """Files of their boxes; None for all of the split."""

    def wants(self, annotation: Path) -> bool:
        """True for a file of boxes whose sequence is asked for."""
        return self.named is None or annotation in self.named

    def folders(self, base: Path, pattern: str) -> list[Path]:
        """The folders that hold these files, without a look at others."""
        if self.named is None:
            return folders_of(base, pattern)
        return sorted({file.parent for file in self.named if file.is_file()})

    def listed(self, base: Path) -> list[Path]:
        """Those of ``listed_folders`` whose boxes these are."""
        return [each for each in listed_folders(base) if self.wants(each / "groundtruth.txt")]


def named_once(
    sequences: Iterable[SequenceT], problems: list[Problem] | None
) -> tuple[SequenceT, ...]:
    """The sequences, of two of one name only the first: result files go by name."""
    kept: dict[str, SequenceT] = {}
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
    if os.path.lexists(file):
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
    if os.path.lexists(file) or found is None:
        return file, read_names(file)
    return found, [Path(annotation).parent.name for annotation in read_infos(found)]


def listed_sequences(
    file: Path,
    base: Path,
    listed: Mapping[str, range],
    sequences: Iterable[SotSequence],
    problems: list[Problem] | None,
) -> tuple[SotSequence, ...]:
    """The sequences that a list of MMTracking's names, in its order.

    Args:
        file: ``lasot_test_infos.txt`` or one of its sisters.
        base: the benchmark's folder, which the list's paths are below.
        listed: its content, as ``read_infos`` gives it.
        sequences: those to choose from.
        problems: told of lines that lead nowhere; None raises the first.

    Raises:
        DataError: for a line that leads nowhere, where ``problems`` is None.
    """
    found = {each.annotation: each for each in sequences}
    kept = []
    for annotation, numbers in listed.items():
        with noting(problems):
            sequence = found.get(base / annotation)
            if sequence is None:
                raise DataError(str(file), f"{annotation} is of no sequence in {base}")
            if sequence.numbers != numbers:
                there = f"{sequence.numbers.start} to {sequence.numbers.stop - 1}"
                told = f"frames {numbers.start} to {numbers.stop - 1}, there are {there}"
                raise DataError(str(file), f"{annotation}: {told}")
            kept.append(sequence)
    return tuple(kept)


def read_infos(file: Path) -> dict[str, range]:
    """The images' numbers by annotation, of lines ``<images>,<annotation>,<first>,<last>``.

    Raises:
        DataError: if the list is missing or a line is malformed or there twice.
    """
    found: dict[str, range] = {}
    for number, line in enumerate(read_lines(file), start=1):
        if number == 1 and line.startswith(_HEADING):
            continue
        match = _INFO.fullmatch(line)
        if match is None or not leads_below(match[1]):
            told = "expected <video path>,<annotation path>,<first frame>,<last frame>"
            raise DataError(str(file), f"line {number}, {shortened(line)}: {told}")
        annotation, first, last = match[1], int(match[2]), int(match[3])
        if annotation in found:
            raise DataError(
                str(file),
                f"line {number}, {shortened(annotation)}: is there before; list it once",
            )
        found[annotation] = range(first, last + 1)
    return found


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


def read_attributes(file: Path, benchmark: str) -> frozenset[str]:
    """The attributes whose flags a file sets."""
    names = ATTRIBUTES[benchmark]
    flags = read_flags(file, len(names))
    return frozenset(name for name, flag in zip(names, flags, strict=True) if flag)
