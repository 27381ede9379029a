"""The lists of ImageNet VID and DET: which snippets, frames and stills are read.

A line that cannot be meant, or that names again what another line names, is a problem with the
list's file and the line's number; the others are read.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from halftrack.data.files import is_clutter, read_lines, shortened
from halftrack.data.problems import DataError, Problem, noting

__all__ = [
    "Listed",
    "Snippet",
    "find_list",
    "listed_stills",
    "training_snippets",
    "validation_snippets",
]

MAX_FRAMES = 100_000
"""Most frames of a snippet; ImageNet VID's longest has 5,492."""

Snippet = tuple[tuple[str, ...], frozenset[str]]
"""The stems of a snippet's frames, in order, and those of its key frames."""


@dataclass
class Listed:
    """Frames that lists name, and what is wrong or odd in the lists."""

    snippets: dict[str, Snippet] = field(default_factory=dict)
    """By path below ``Annotations/VID``."""
    stills: list[str] = field(default_factory=list)
    """Paths below ``Annotations/DET`` without their ending."""
    problems: list[Problem] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)


def training_snippets(ilsvrc: Path, annotations: Path, *, listed: bool) -> Listed:
    """The training snippets of ImageNet VID in the order of their list.

    Args:
        ilsvrc: the folder that holds the lists.
        annotations: ``Annotations/VID``.
        listed: key frames are those of ``VID_train_15frames.txt``; else every frame is one, and
            without any list all of ``train`` is read, as data of one's own have it.

    Raises:
        DataError: if there is no list.
    """
    image_sets = sorted((ilsvrc / "ImageSets" / "VID").glob("train*.txt"))
    found = Listed()
    names: list[str] = []
    if listed or not image_sets:
        try:
            file = find_list(ilsvrc, "VID_train_15frames.txt")
        except DataError:
            names = [] if listed else _annotated_folders(annotations, "train")
            if not names:
                raise
        else:
            return _fifteen_frames(file, annotations, listed)
    for file in image_sets:
        # A snippet with objects of several classes is in the lists of all of them.
        names += _names(file, found, below="train")
    for name in dict.fromkeys(names):
        _add_whole(found, annotations, name, keys=True)
    return found


def validation_snippets(ilsvrc: Path, annotations: Path) -> Listed:
    """The validation snippets: of ``val.txt``, else of ``VID_val_videos.txt``, else all there are.

    Raises:
        DataError: if there is neither a list nor a folder.
    """
    frames_listed = ilsvrc / "ImageSets" / "VID" / "val.txt"
    if os.path.lexists(frames_listed):
        return _listed_frames(frames_listed)
    found = Listed()
    try:
        file = find_list(ilsvrc, "VID_val_videos.txt")
    except DataError:
        folder = annotations / "val"
        if not folder.is_dir():
            reason = f"missing, and neither {frames_listed} nor VID_val_videos.txt is there"
            raise DataError(str(folder), reason) from None
        entries = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        names = [f"val/{entry.name}" for entry in entries if not is_clutter(entry.name)]
    else:
        names = _names(file, found)
    for name in names:
        _add_whole(found, annotations, name, keys=False)
    return found


def listed_stills(ilsvrc: Path) -> Listed:
    """The stills of ``DET_train_30classes.txt``; one that is listed twice is there twice.

    The published list names 378 stills twice, and the reference learns from both.

    Raises:
        DataError: if there is no such list.
    """
    found = Listed()
    file = find_list(ilsvrc, "DET_train_30classes.txt")
    for number, line in read_lines(file):
        with noting(found.problems):
            found.stills.append(_path(file, number, line.split()[0]))
    again = len(found.stills) - len(set(found.stills))
    if again:
        found.odd["stills listed again"] = again
    return found


def _fifteen_frames(file: Path, annotations: Path, listed: bool) -> Listed:
    """Lines ``<snippet> 1 <key frame> <frames>``; copies of the list without the 1 exist too."""
    found = Listed()
    lengths: dict[str, tuple[int, int]] = {}
    keys: dict[str, dict[int, int]] = {}
    for number, line in read_lines(file):
        with noting(found.problems):
            name, key, length = _fifteen_frames_line(file, number, line)
            known, first = lengths.setdefault(name, (length, number))
            if known != length:
                told = f"{shortened(name)} has {length} frames, but {known} in line {first}"
                raise DataError(str(file), f"line {number}: {told}")
            first = keys.setdefault(name, {}).setdefault(key, number)
            if first != number:
                raise DataError(str(file), f"line {number} says again what line {first} says")
    for name, (length, number) in lengths.items():
        with noting(found.problems):
            length = _present(annotations / name, length, file, number)
            stems = tuple(f"{frame:06d}" for frame in range(length))
            chosen = frozenset(f"{key - 1:06d}" for key in keys[name])
            found.snippets[name] = (stems, chosen if listed else frozenset(stems))
    return found


def _fifteen_frames_line(file: Path, number: int, line: str) -> tuple[str, int, int]:
    """Snippet, key frame (from 1) and number of frames."""
    values = line.split()
    # Digits alone: int() would take signs, underscores and a million digits too.
    if len(values) not in (3, 4) or not all(v.isascii() and v.isdigit() for v in values[-2:]):
        reason = f"line {number} is {shortened(line)}, not '<snippet> 1 <frame> <frames>'"
        raise DataError(str(file), reason)
    name = _path(file, number, values[0])
    key, length = (int(value[:12]) for value in values[-2:])
    if length > MAX_FRAMES:
        reason = f"line {number}: {shortened(values[-1])} frames, at most {MAX_FRAMES} are allowed"
        raise DataError(str(file), reason)
    if not 1 <= key <= length:
        raise DataError(str(file), f"line {number}: frame {key} is not one of 1 to {length}")
    return name, key, length


def _present(folder: Path, length: int, file: Path, number: int) -> int:
    """The listed length, where the folder holds about as many annotations."""
    if (folder / f"{length - 1:06d}.xml").is_file():
        return length
    present = len(_annotated(folder))
    # A few missing ones are told by name when they are read.
    if length > 2 * present + 100:
        reason = f"line {number}: {length} frames, but {folder} holds {present} annotations (*.xml)"
        raise DataError(str(file), reason)
    return length


def _listed_frames(file: Path) -> Listed:
    """Lines ``<snippet>/<frame> <number>``, the frames of a snippet in order."""
    found = Listed()
    snippets: dict[str, dict[str, int]] = {}
    for number, line in read_lines(file):
        with noting(found.problems):
            folder, stem = os.path.split(_path(file, number, line.split()[0]))
            if not folder:
                told = f"line {number} is {shortened(line)}, not '<snippet>/<frame> <number>'"
                raise DataError(str(file), told)
            frames = snippets.setdefault(f"val/{folder}", {})
            if stem in frames:
                told = f"line {number} names {folder}/{stem} again, as line {frames[stem]} does"
                raise DataError(str(file), told)
            if frames and stem < (last := next(reversed(frames))):
                told = f"line {number}: frame {stem} stands behind {last} of the same snippet"
                raise DataError(str(file), f"{told}; list frames in their order")
            frames[stem] = number
    found.snippets = {name: (tuple(frames), frozenset()) for name, frames in snippets.items()}
    return found


def _names(file: Path, found: Listed, below: str = "") -> list[str]:
    """The first word of each line, as paths; one that comes twice in a list is a problem."""
    lines: dict[str, int] = {}
    for number, line in read_lines(file):
        with noting(found.problems):
            name = _path(file, number, line.split()[0])
            first = lines.setdefault(name, number)
            if first != number:
                told = f"line {number} names {shortened(name)} again, as line {first} does"
                raise DataError(str(file), told)
    return [f"{below}/{name}" if below else name for name in lines]


def _path(file: Path, number: int, text: str) -> str:
    """A path below the set's folder, as a list has it."""
    parts = text.split("/")
    # A file's name has at most 255 bytes; a NUL character ends no name, and ".." leads elsewhere.
    bad = "\0" in text or any(part in ("", ".", "..") or len(part) > 200 for part in parts)
    if bad or len(text) > 400:
        reason = f"line {number}: {shortened(text)} is no path below the data set's folder"
        raise DataError(str(file), reason)
    return text


def _add_whole(found: Listed, annotations: Path, name: str, *, keys: bool) -> None:
    """A snippet with every frame that its folder has an annotation of."""
    with noting(found.problems):
        stems = _annotated(annotations / name)
        if not stems:
            raise DataError(str(annotations / name), "no annotation (*.xml) in this folder")
        found.snippets[name] = (stems, frozenset(stems if keys else ()))


def _annotated_folders(annotations: Path, part: str) -> list[str]:
    """The folders below a part that hold annotations, as paths below ``annotations``."""
    names = []
    for place, below, files in os.walk(annotations / part):
        below[:] = sorted(name for name in below if not is_clutter(name))
        if any(name.endswith(".xml") and not is_clutter(name) for name in files):
            names.append(Path(place).relative_to(annotations).as_posix())
    return names


def _annotated(folder: Path) -> tuple[str, ...]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(str(folder), f"cannot be listed: {error.strerror}") from None
    return tuple(sorted(n[:-4] for n in names if n.endswith(".xml") and not is_clutter(n)))


def find_list(ilsvrc: Path, name: str) -> Path:
    """The file of a list, in any of the folders where people keep them.

    Raises:
        DataError: if it is in none.
    """
    folders = [ilsvrc / "Lists", ilsvrc / "ImageSets", ilsvrc / "ImageSets" / "VID", ilsvrc]
    folders.append(ilsvrc.parent)
    for folder in folders:
        if os.path.lexists(folder / name):
            return folder / name
    looked = ", ".join(str(folder) for folder in folders)
    raise DataError(name, f"not found; looked in {looked}")
