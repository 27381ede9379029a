"""One sequence of single-object tracking: where its images are and where its one target is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from halftrack.data.files import require_utf8
from halftrack.data.image_header import header_of
from halftrack.data.index import Booleans
from halftrack.data.problems import DataError
from halftrack.data.tables.box_columns import looks_like_corners, odd_boxes
from halftrack.data.tables.seqinfo import MOST_FRAMES
from halftrack.data.tables.target_text import Doubles

__all__ = ["FIRST_IMAGE", "SotSequence", "odd_counts", "trackable_sequence"]

# Pixels within which two boxes are one, rounded by a tracker or counted from 1.
_SAME = 1.5

FIRST_IMAGE = "its sequence's first image"
"""The source of the size that all images of a sequence have, in messages."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SotSequence:
    """One sequence: where its images are and where its target is."""

    name: str
    """The benchmark's, which is also that of a results file."""
    folder: Path
    """Folder of the sequence's images."""
    annotation: Path
    """File of its boxes."""
    image_name: str
    """Name of an image below ``folder``, to be formatted with its number."""
    numbers: range
    """Numbers of the images, as the files have them: they need not start at 1."""
    first_box_xyxy: Doubles
    """``(4,)`` what a tracker starts from, in original pixels."""
    boxes_xyxy: Doubles | None
    """``(n, 4)``, one a frame, NaN where UAV123 has none; None if only the first is published."""
    absent: Booleans
    """``(n,)`` where the data set says that the target cannot be seen; False where it is silent."""
    attributes: frozenset[str] = frozenset()
    """Attributes of the sequence, as the benchmark abbreviates them; empty where none are given."""
    odd: Mapping[str, int] = field(default_factory=dict)
    """Counts of what looks odd in its file beside the boxes, by kind."""

    def __len__(self) -> int:
        return len(self.numbers)

    def path(self, frame_index: int) -> str:
        """Path of a frame's image; frames count from 0, whatever the files' numbers are."""
        return str(self.folder / self.image_name.format(self.numbers[frame_index]))

    @cached_property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the first image, which all have; None if its header does not tell."""
        try:
            header = header_of(self.path(0))
        except DataError:
            return None
        return header.height, header.width

    def refuse_corners(self, file: str | os.PathLike[str], boxes_xyxy: Doubles) -> None:
        """Make sure that a tracker's file for this sequence does not hold x1, y1, x2, y2.

        Args:
            file: the file, for the error.
            boxes_xyxy: ``(n, 4)`` as read from left, top, width, height.

        Raises:
            DataError: if the values show that they are corners.
        """
        _refuse_corners(file, self, boxes_xyxy, first_xyxy=self.first_box_xyxy)

    def truth(self) -> Doubles:
        """The box ``(n, 4)`` of every frame, to score with.

        Raises:
            DataError: if only the first is published: there a server scores the results.
        """
        if self.boxes_xyxy is None:
            raise DataError(
                str(self.folder),
                f"only the first of {len(self)} boxes is published: results can be written for "
                "the benchmark's server, not scored here",
            )
        return self.boxes_xyxy


def trackable_sequence(
    name: str,
    folder: Path,
    image_name: str,
    boxes_xyxy: Doubles,
    *,
    annotation: Path,
    start: int = 1,
    frames: int | None = None,
    cut: bool = False,
    absent: Booleans | None = None,
    attributes: frozenset[str] = frozenset(),
) -> SotSequence:
    """A sequence that can be tracked: its first and last image are there, its first box is one.

    Args:
        name: its name.
        folder: where its images lie.
        image_name: to be formatted with a number.
        boxes_xyxy: one a frame, or only the first.
        annotation: file that holds them.
        start: number of its first image.
        frames: how many images there are; None: as many as boxes.
        cut: its video may go on.
        absent: by frame.
        attributes: what is hard in it.
    """
    require_utf8(str(folder / name))
    told = len(boxes_xyxy)
    numbers = range(start, start + (told if frames is None else frames))
    if len(numbers) > MOST_FRAMES:
        told_frames = f"{len(numbers)} frames, allowed are {MOST_FRAMES}"
        raise DataError(str(folder), told_frames)
    last, after = (folder / image_name.format(number) for number in (numbers[-1], numbers.stop))
    # Two or three looks at the disk: listing the millions of images takes minutes.
    for image in (folder / image_name.format(start), last):
        if not image.is_file():
            raise DataError(str(image), f"image is missing; {name} has {len(numbers)} frames")
    if told not in (1, len(numbers)) or (frames is None and not cut and after.is_file()):
        images = len(numbers) if frames is not None else f"more than {told}"
        raise DataError(str(folder), f"{told} boxes for {images} images; expected one an image")
    first = boxes_xyxy[0]
    sequence = SotSequence(
        name=name,
        folder=folder,
        annotation=annotation,
        image_name=image_name,
        numbers=numbers,
        first_box_xyxy=first,
        boxes_xyxy=boxes_xyxy if told == len(numbers) else None,
        absent=np.zeros(len(numbers), dtype=np.bool_) if absent is None else absent,
        attributes=attributes,
    )
    _refuse_corners(folder, sequence, boxes_xyxy)
    if not (first[2:] > first[:2]).all():
        raise DataError(str(folder), f"no tracker can start from the first box, {first.tolist()}")
    return sequence


def odd_counts(sequences: Iterable[SotSequence]) -> dict[str, int]:
    """Counts of what looks odd in the files of sequences and is used all the same, by kind.

    Boxes of frames that the data set calls absent do not count.
    """
    total: Counter[str] = Counter()
    for sequence in sequences:
        total.update(sequence.odd)
        boxes = sequence.boxes_xyxy
        if boxes is None:
            boxes = sequence.first_box_xyxy[None]
        else:
            boxes = boxes[~sequence.absent & ~np.isnan(boxes).any(axis=1)]
        if sequence.size is not None:
            total.update(odd_boxes(_columns(boxes), sequence.size))
    return {kind: count for kind, count in total.items() if count}


def _refuse_corners(
    file: str | os.PathLike[str],
    sequence: SotSequence,
    boxes_xyxy: Doubles,
    *,
    first_xyxy: Doubles | None = None,
) -> None:
    """Raise if the file held x1, y1, x2, y2; only where that is possible an image is looked at.

    The box of the first frame tells at once where it is known: a tracker is given it.
    """
    columns = _columns(boxes_xyxy)
    columns = columns[(columns[:, 2:] > 0).all(axis=1)]
    if not (columns[:, 2:] > columns[:, :2]).all() or len(columns) == 0:
        return
    size = sequence.size
    if size is None:  # Told when the image is read: an annotation is not at fault for it.
        return
    row = looks_like_corners(columns, size)
    if first_xyxy is not None and np.abs(columns[0] - first_xyxy).max() < _SAME:
        row = 0 if np.abs(boxes_xyxy[0] - first_xyxy).max() >= _SAME else row
    if row is not None:
        told = ", ".join(f"{value:g}" for value in columns[row].tolist())
        raise DataError(
            os.fspath(file),
            f"its boxes, as {told}, look like x1, y1, x2, y2 in an image of {size[1]}x"
            f"{size[0]}; expected left, top, width, height",
        )


def _columns(boxes_xyxy: Doubles) -> Doubles:
    """Left, top, width and height ``(n, 4)``, as they stand in a file."""
    corners = boxes_xyxy[:, :2]
    return np.concatenate([corners, boxes_xyxy[:, 2:] - corners], axis=1)
