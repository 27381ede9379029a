"""One sequence of single-object tracking: where its images are and where its one target is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from halftrack.data.image_header import header_of
from halftrack.data.index import Booleans
from halftrack.data.problems import DataError
from halftrack.data.sot.text import Doubles
from halftrack.data.tables.box_columns import looks_like_corners
from halftrack.data.tables.seqinfo import MOST_FRAMES

__all__ = ["SotSequence", "trackable_sequence"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SotSequence:
    """One sequence: where its images are and where its target is."""

    name: str
    """The benchmark's, which is also that of a results file."""
    folder: Path
    """Folder of the sequence's images."""
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

    def __len__(self) -> int:
        return len(self.numbers)

    def path(self, frame_index: int) -> str:
        """Path of a frame's image; frames count from 0, whatever the files' numbers are."""
        return str(self.folder / self.image_name.format(self.numbers[frame_index]))

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
        start: number of its first image.
        frames: how many images there are; None: as many as boxes.
        cut: its video may go on.
        absent: by frame.
        attributes: what is hard in it.
    """
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
    _refuse_corners(folder, folder / image_name.format(start), boxes_xyxy)
    first = boxes_xyxy[0]
    if not (first[2:] > first[:2]).all():
        raise DataError(str(folder), f"no tracker can start from the first box, {first.tolist()}")
    return SotSequence(
        name=name,
        folder=folder,
        image_name=image_name,
        numbers=numbers,
        first_box_xyxy=first,
        boxes_xyxy=boxes_xyxy if told == len(numbers) else None,
        absent=np.zeros(len(numbers), dtype=np.bool_) if absent is None else absent,
        attributes=attributes,
    )


def _refuse_corners(folder: Path, image: Path, boxes_xyxy: Doubles) -> None:
    """Raise if the file held x1, y1, x2, y2; only where that is possible an image is looked at."""
    corners = boxes_xyxy[:, :2]
    columns = np.concatenate([corners, boxes_xyxy[:, 2:] - corners], axis=1)
    columns = columns[(columns[:, 2:] > 0).all(axis=1)]
    if not (columns[:, 2:] > columns[:, :2]).all() or len(columns) == 0:
        return
    try:
        header = header_of(image)
    except DataError:  # Told when the image is read: an annotation is not at fault for it.
        return
    row = looks_like_corners(columns, (header.height, header.width))
    if row is not None:
        told = ", ".join(f"{value:g}" for value in columns[row].tolist())
        raise DataError(
            str(folder),
            f"its boxes, as {told}, look like x1, y1, x2, y2 in an image of {header.width}x"
            f"{header.height}; expected left, top, width, height",
        )
