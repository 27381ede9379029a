"""YOLO's text files: a folder ``labels`` beside ``images``, a line a box in shares of the image."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from halftrack.data.files import is_clutter, read_lines, require_distinct, shortened
from halftrack.data.image_header import header_of
from halftrack.data.index import VideoIndex
from halftrack.data.own.layouts import IMAGE_ENDINGS
from halftrack.data.own.yaml_names import MOST_CLASSES, yaml_names
from halftrack.data.parsed_video import ParsedVideo, assemble_index
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.progress import Progress
from halftrack.data.tables.box_columns import read_number
from halftrack.errors import UserError

__all__ = ["read_yolo"]

_NAME_FILES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")
_EXPECTED = "expected class, x and y of the centre, width, height in shares of the image"
# A share beyond the image by so much is a rounded one.
_ROUNDED = 0.01


def read_yolo(root: Path, *, progress: Progress | None = None) -> VideoIndex:
    """The images below ``images`` and their boxes, each image a still.

    Classes are named by ``names`` of a ``.yaml`` file, or by ``classes.txt``, a line each; without
    one they are called by their number. A polygon counts as the box around it, and of keypoints
    (``kpt_shape`` in the ``.yaml`` file) the box before them. An image without a text file shows
    nothing.

    Args:
        root: the folder that holds ``images`` and ``labels``, or folders that do.
        progress: told (images read, images in all).

    Raises:
        DataError: if there is no image. Problems of single files and lines are kept in the index.
    """
    problems: list[Problem] = []
    names: list[str] = []
    lists = _lists(root, problems)
    with noting(problems):
        names = _class_names(lists)
    posed = any(each.posed for each in lists)
    odd: Counter[str] = Counter()
    files = list(_images(root))
    if not files:
        raise DataError(str(root), f"no image ({', '.join(IMAGE_ENDINGS)}) in its folders images")
    videos = []
    highest = -1
    for done, (image, labels) in enumerate(files, start=1):
        name = image.relative_to(root).as_posix()
        video = ParsedVideo(name=name.rpartition(".")[0], still=True)
        with noting(problems):
            header = header_of(image)
            video.add_frame(
                name, height=header.height, width=header.width, is_key=True, source=str(image)
            )
            there = os.path.lexists(labels)
            odd["images without a text file, which show nothing"] += not there
            if there:
                size = header.height, header.width
                highest = max(highest, _add_boxes(video, labels, size, len(names), posed))
        videos.append(video)
        if progress is not None:
            progress(done, len(files))
    problems += _shared(files)
    problems += _without_image(root, {labels for _, labels in files})
    names = names or [str(number) for number in range(highest + 1)]
    return assemble_index(
        videos,
        image_root=root,
        classes=tuple((name, "") for name in names),
        problems=problems,
        odd=+odd,
    )


def _images(root: Path) -> Iterator[tuple[Path, Path]]:
    """Each image below a folder ``images``, and the text file of its boxes."""
    for folder in _below(root, "images"):
        labels = folder.parent / "labels"
        for image in _files(folder, IMAGE_ENDINGS):
            yield image, (labels / image.relative_to(folder)).with_suffix(".txt")


def _shared(files: Iterable[tuple[Path, Path]]) -> Iterator[Problem]:
    """Text files of boxes that two images have, which differ in their ending alone."""
    first: dict[Path, Path] = {}
    for image, labels in files:
        other = first.setdefault(labels, image)
        if other != image and os.path.lexists(labels):
            told = f"is the text file of {shortened(other.name)} and of {shortened(image.name)}"
            yield Problem(str(labels), f"{told}: rename one image, and give it a file of its own")


def _without_image(root: Path, known: set[Path]) -> Iterator[Problem]:
    for folder in _below(root, "labels"):
        for file in _files(folder, (".txt",)):
            if file not in known and file.name not in _NAME_FILES:
                yield Problem(str(file), "there is no image of this name in images")


def _below(root: Path, name: str) -> list[Path]:
    """The folders of this name, in ``root`` and one folder below it."""
    return sorted(each for each in (*root.glob(name), *root.glob(f"*/{name}")) if each.is_dir())


def _files(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not is_clutter(name))
        for name in sorted(names):
            if name.lower().endswith(endings) and not is_clutter(name):
                yield Path(place, name)


def _add_boxes(
    video: ParsedVideo, file: Path, size: tuple[int, int], num_classes: int, posed: bool
) -> int:
    """Add the boxes of a file to its image, problems to the video's; returns the highest class."""
    highest = -1
    for number, line in read_lines(file, what="text file of boxes"):
        with noting(video.problems):
            try:
                label, box = _box(line, size, num_classes, posed)
            except UserError as error:
                told = f"line {number}, {shortened(line)}: {error}"
                raise DataError(str(file), told) from None
            highest = max(highest, label)
            video.add_box(
                box,
                label=label,
                track=None,
                source=str(file),
                about=lambda number=number: f"line {number}: ",  # type: ignore[misc]
            )
    return highest


def _box(
    line: str, size: tuple[int, int], num_classes: int, posed: bool
) -> tuple[int, tuple[float, float, float, float]]:
    """Class and box of a line, in pixels; whatever is wrong is told without the file."""
    words = line.split()
    if not re.fullmatch(r"[0-9]{1,6}(\.0*)?", words[0]):
        raise UserError(f"class {shortened(words[0])}; {_EXPECTED}")
    label = int(float(words[0]))
    if label >= (num_classes or MOST_CLASSES):
        allowed = f"0 to {num_classes - 1} have a name" if num_classes else f"most {MOST_CLASSES}"
        raise UserError(f"class {label}, {allowed}")
    try:
        values = [read_number(word) for word in words[1:]]
    except UserError as error:
        raise UserError(f"{error}; {_EXPECTED}") from None
    if len(values) in (4, 5) or (posed and len(values) > 5):
        # A fifth is a detector's score; keypoints follow the box.
        x, y, width, height = values[:4]
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    elif len(values) >= 6 and len(values) % 2 == 0:
        corners = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
    else:
        raise UserError(f"{len(values)} values behind the class; {_EXPECTED}")
    if not all(-_ROUNDED <= corner <= 1 + _ROUNDED for corner in corners):
        raise UserError(f"the box reaches outside its image; {_EXPECTED}, 0 to 1")
    high, wide = size
    x1, y1, x2, y2 = (min(max(corner, 0.0), 1.0) for corner in corners)
    return label, (x1 * wide, y1 * high, x2 * wide, y2 * high)


class _List(NamedTuple):
    """A file that may name the classes."""

    file: Path
    names: list[str]
    posed: bool
    """It tells of keypoints."""


def _lists(root: Path, problems: list[Problem]) -> list[_List]:
    """The lists of classes beside the images or, where these have no names, above them."""
    lists = [*_read_lists((root, *_below(root, "labels")), problems)]
    if not problems and not any(each.names for each in lists):
        # Of the folder above one list only: others may be of other data.
        lists += islice((each for each in _read_lists([root.parent], problems) if each.names), 1)
    return lists


def _class_names(lists: Iterable[_List]) -> list[str]:
    """Names of the classes in the order of their numbers; empty where no list tells them.

    Raises:
        DataError: if two lists contradict each other, or a name is that of two classes.
    """
    told = [each for each in lists if each.names]
    if not told:
        return []
    first, *others = told
    for other in others:
        for number, (mine, yours) in enumerate(zip(first.names, other.names, strict=False)):
            if mine != yours:
                reason = f"class {number} is {shortened(yours)}, but {shortened(mine)} in"
                more = "remove the list that is not of these labels"
                raise DataError(str(other.file), f"{reason} {first.file}: {more}")
    require_distinct(first.file, first.names, first=0)
    return first.names


def _read_lists(folders: Iterable[Path], problems: list[Problem]) -> Iterator[_List]:
    """The lists of classes in some folders; of one with a problem no names are told."""
    for folder in folders:
        plain = [folder / name for name in _NAME_FILES if os.path.lexists(folder / name)]
        for file in (*plain, *sorted((*folder.glob("*.yaml"), *folder.glob("*.yml")))):
            names: list[str] = []
            posed = False
            with noting(problems):
                if file in plain:
                    names = [line for _, line in read_lines(file, what="list of classes")]
                else:
                    lines = read_lines(file, what="data set's YAML file")
                    posed = any(text.startswith("kpt_shape") for _, text in lines)
                    names = yaml_names(file, lines)
            yield _List(file, names, posed)
