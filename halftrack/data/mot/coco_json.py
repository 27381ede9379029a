"""CocoVID files of MOTChallenge and of sets like it, in the place of seqinfo.ini and gt.txt.

MMTracking's mot2coco writes them. It leaves other classes than pedestrians out, so on its files no
result is removed for being on a distractor, as the official evaluation does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from halftrack.data.files import shortened, user_path
from halftrack.data.mot.records import DEFAULT_FRAME_RATE, MotRows, MotSequence
from halftrack.data.parsed_video import MAX_IMAGE_SIDE
from halftrack.data.problems import DataError, Problem
from halftrack.data.tables.box_columns import first_wrong_box, looks_like_corners, odd_boxes
from halftrack.data.tables.coco_records import (
    Id,
    Notes,
    Record,
    bbox_numbers,
    by_id,
    identifier,
    is_set,
    load_tables,
    named,
    path_text,
    track_of,
    whole_number,
)
from halftrack.data.tables.coco_videos import CocoVideo, coco_sequences
from halftrack.data.tables.seqinfo import FASTEST, MOST_FRAMES, SLOWEST

__all__ = ["read_json"]

_PEOPLE = ("pedestrian",)
_NAMES = ("pedestrian", "person")
_PEDESTRIAN, _LAST_CLASS = 1, 13


def read_json(
    file: str | Path,
    image_root: Path,
    problems: list[Problem] | None,
    classes: tuple[str, ...] = ("pedestrian",),
) -> tuple[MotSequence, ...]:
    """The sequences of a CocoVID file, sorted by name.

    Frame numbers are ``mot_frame_id``, or ``frame_id`` counted from 1. Objects of the category
    ``pedestrian`` or ``person``, or of the file's only one, are people. A file without an
    annotation is of a test set whose truth is not published.

    Args:
        file: the annotations.
        image_root: folder that ``file_name`` is relative to.
        problems: sequences that cannot be used are left out and noted here; None raises the first.
        classes: names of the categories that are kept, where these are not people.

    Raises:
        DataError: if the file is missing, not JSON, or lacks a table.
    """
    notes = Notes(str(user_path(file)))
    tables = load_tables(user_path(file), notes)
    categories, _ = by_id(tables["categories"], "categories", notes)
    numbers = _numbers(categories, classes)
    published = bool(tables["annotations"])
    reader = _Reader(Path(notes.source), image_root, numbers, classes, published=published)
    sequences = coco_sequences(tables, notes, problems, reader.sequence)
    if not sequences and not problems:
        raise DataError(notes.source, "no video with images")
    return tuple(sorted(sequences, key=lambda sequence: sequence.name))


class _Reader:
    """Turns videos into sequences; whatever is wrong with one is a ``ValueError``."""

    def __init__(
        self,
        file: Path,
        image_root: Path,
        numbers: Mapping[Id, int],
        classes: tuple[str, ...],
        *,
        published: bool,
    ) -> None:
        self._file, self._image_root = file, image_root
        self._numbers, self._classes, self._published = numbers, classes, published
        self._files: set[str] = set()

    def sequence(self, video: CocoVideo, odd: Mapping[str, int]) -> MotSequence:
        """The sequence of a video, with counts of what is odd beside its boxes."""
        size = _size(image for image, _ in video.images)
        numbers = [_number(image) for image, _ in video.images]
        first, count = numbers[0], len(numbers)
        for place, number in enumerate(numbers):
            if number != first + place or not 1 <= number <= MOST_FRAMES:
                expected = first + place if first >= 1 else 1
                raise ValueError(
                    f"{named(video.images[place][0])} is frame {number}, expected {expected} "
                    "(mot_frame_id, or frame_id + 1)"
                )
        paths = [str(self._image_root / self._own(image)) for image, _ in video.images]
        sequence = MotSequence(
            name=video.name,
            folder=self._image_root / video.name,
            frame_numbers=range(first, first + count),
            size=size,
            frame_rate=_frame_rate(video.record),
            image_paths=dict(zip(numbers, paths, strict=True)),
            json_file=self._file,
            classes=self._classes,
            numbers=tuple(range(1, len(self._classes) + 1)),
            odd=odd,
        )
        if not self._published:
            return sequence
        boxes = _Boxes(self._numbers, people=self._classes == _PEOPLE)
        for number, (image, own) in zip(numbers, video.images, strict=True):
            for annotation in own:
                boxes.add(number, image, annotation)
        rows, counts = boxes.rows(size)
        return replace(sequence, truth=rows, odd=+Counter({**odd, **counts}))

    def _own(self, image: Record) -> str:
        """The path of an image, which is that of no other."""
        name = path_text(image, "file_name")
        if name in self._files:
            raise ValueError(f"{name} is the file of another image too")
        self._files.add(name)
        return name


class _Boxes:
    """The boxes of one video while they are read."""

    def __init__(self, numbers: Mapping[Id, int], *, people: bool) -> None:
        self._numbers, self._people = numbers, people
        self._rows: list[tuple[float, ...]] = []
        self._about: list[str] = []
        self._ids: dict[Id | tuple[str, int], int] = {}
        self._odd: Counter[str] = Counter()

    def add(self, number: int, image: Record, annotation: Record) -> None:
        """Add the box of an annotation, unless it is of another category."""
        about = f"annotation {shortened(annotation.get('id'))} of {named(image)}"
        try:
            category = identifier(annotation.get("category_id"))
            if category is None or category not in self._numbers:
                told = shortened(annotation.get("category_id"))
                raise ValueError(f"category_id {told} is not in categories")
            if not self._numbers[category]:
                self._odd["objects of other categories, left out"] += 1
                return
            track = track_of(annotation)
            if track is None:
                self._odd["boxes without a track"] += 1
            box = bbox_numbers(annotation)
            # People are told apart further by mot2coco, as the official kit judges them.
            kind = _class(annotation) if self._people else self._numbers[category]
            flag = _flag(annotation)
            visibility = _share(annotation)
        except ValueError as error:
            raise ValueError(f"{about}: {error}") from None
        # A box without a track is an object of its own.
        key = ("untracked", len(self._rows)) if track is None else track
        identity = self._ids.setdefault(key, len(self._ids) + 1)
        self._about.append(about)
        self._rows.append((number, identity, *box, flag, kind, visibility))

    def rows(self, size: tuple[int, int]) -> tuple[MotRows, Mapping[str, int]]:
        """The boxes as rows of a ``gt.txt``, and counts of what looks odd."""
        values = np.array(self._rows, dtype=np.float64).reshape(-1, 9)
        boxes, ids = values[:, 2:6], values[:, 1].astype(np.int64)
        if (wrong := first_wrong_box(boxes)) is not None:
            raise ValueError(f"{self._about[wrong[0]]}: {wrong[1]}")
        if (row := looks_like_corners(boxes, size, ids)) is not None:
            raise ValueError(
                f"{self._about[row]}: its bbox, as those of others, looks like x1, y1, x2, y2; "
                "expected x, y, width, height"
            )
        order = np.lexsort((ids, values[:, 0]))
        again = (np.diff(values[order, :2], axis=0) == 0).all(axis=1)
        if again.any():
            place = int(np.argmax(again))
            first, second = (self._about[order[each]] for each in (place, place + 1))
            raise ValueError(f"{second}: its object has a box in this frame already ({first})")
        rows = MotRows(
            frame_numbers=values[:, 0].astype(np.int64),
            ids=ids,
            boxes_ltwh=boxes,
            flags=values[:, 6] != 0,
            classes=values[:, 7].astype(np.int64),
            visibility=values[:, 8],
            scores=np.ones(len(values)),
        )
        return rows, {**self._odd, **odd_boxes(boxes, size)}


def _numbers(categories: Mapping[Id, Record], classes: tuple[str, ...]) -> dict[Id, int]:
    """The number, from 1, of the class of each category; 0 for categories that are left out."""
    if classes != _PEOPLE:
        places = {name: place for place, name in enumerate(classes, start=1)}
        return {key: places.get(str(each.get("name")), 0) for key, each in categories.items()}
    named_so = {key: str(each.get("name")).lower() in _NAMES for key, each in categories.items()}
    alone = len(categories) == 1
    return {key: int(alone or named) for key, named in named_so.items()}


def _number(image: Record) -> int:
    if image.get("mot_frame_id") is not None:
        return whole_number(image, "mot_frame_id")
    return whole_number(image, "frame_id") + 1


def _size(images: Iterable[Record]) -> tuple[int, int]:
    """Height and width of all images of a video."""
    sizes: dict[tuple[int, int], str] = {}
    for image in images:
        height, width = (whole_number(image, side) for side in ("height", "width"))
        if not (1 <= height <= MAX_IMAGE_SIDE and 1 <= width <= MAX_IMAGE_SIDE):
            raise ValueError(
                f"{named(image)} is {width}x{height}, expected 1 to {MAX_IMAGE_SIDE} pixels"
            )
        sizes.setdefault((height, width), named(image))
    (size, first), *others = sizes.items()
    for (height, width), other in others:
        raise ValueError(
            f"{other} is annotated as {width}x{height}, but {first} as {size[1]}x{size[0]}: sizes "
            "may not change within a sequence"
        )
    return size


def _frame_rate(video: Record) -> float:
    rate = video.get("fps")
    if rate is None:
        return DEFAULT_FRAME_RATE
    if type(rate) not in (int, float) or not SLOWEST <= rate <= FASTEST:
        raise ValueError(
            f"fps is {shortened(rate)}, expected frames a second, {SLOWEST} to {FASTEST}"
        )
    return float(rate)


def _class(annotation: Record) -> int:
    """The class in MOTChallenge's numbers, where the file has it."""
    if annotation.get("mot_class_id") is None:
        return _PEDESTRIAN
    number = whole_number(annotation, "mot_class_id")
    if not 1 <= number <= _LAST_CLASS:
        raise ValueError(f"mot_class_id is {number}, allowed are 1 to {_LAST_CLASS}")
    return number


def _flag(annotation: Record) -> bool:
    """False where the box is not to be learned from or scored."""
    evaluated = annotation.get("mot_conf") is None or is_set(annotation, "mot_conf")
    return evaluated and not any(is_set(annotation, name) for name in ("iscrowd", "ignore"))


def _share(annotation: Record) -> float:
    """The share of the person that can be seen; 1 where the file does not say."""
    share = annotation.get("visibility", 1.0)
    if type(share) not in (int, float) or not 0 <= share <= 1:
        raise ValueError(f"visibility is {shortened(share)}, allowed are 0 to 1")
    return float(share)
