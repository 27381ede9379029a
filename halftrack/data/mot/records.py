"""Sequences of MOTChallenge as they are read, and the rows of them that are learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from halftrack.data.index import MIN_BOX_SIDE, Booleans, Integers
from halftrack.data.mot.classes import CLASS_NAMES
from halftrack.data.problems import DataError
from halftrack.data.tables.seqinfo import MOST_FRAMES

__all__ = [
    "DEFAULT_FRAME_RATE",
    "LeftOutRows",
    "MotRows",
    "MotSequence",
    "learned_rows",
    "odd_counts",
]

Doubles = npt.NDArray[np.float64]

DEFAULT_FRAME_RATE = 30.0
"""Frames a second of a sequence that does not say."""

# People that are hard to judge, not trained on: person on vehicle, static person, distractor,
# reflection, crowd. TrackEval removes results on them, but for crowds.
_IGNORED_CLASSES = (2, 7, 8, 12, 13)


@dataclass(frozen=True, kw_only=True, eq=False)
class MotRows:
    """Rows of a ``gt.txt`` or ``det.txt``, in the file's order."""

    frame_numbers: Integers
    """``(n,)`` 1-based."""
    ids: Integers
    """``(n,)`` identity within the sequence; -1 in detections."""
    boxes_ltwh: Doubles
    """``(n, 4)`` left, top, width and height as written."""
    flags: Booleans
    """``(n,)`` False where the box is not to be scored; True in detections."""
    classes: Integers
    """``(n,)`` 1 to 13, 1 being pedestrians; 1 in detections and in MOT15."""
    visibility: Doubles
    """``(n,)`` share of the person that can be seen; 1 in detections and in MOT15."""
    scores: Doubles
    """``(n,)`` the detector's confidence; 1 in ground truth."""

    def __len__(self) -> int:
        return len(self.frame_numbers)

    @cached_property
    def boxes_xyxy(self) -> Doubles:
        """``(n, 4)`` in original pixels; boxes may leave the image."""
        corner, side = self.boxes_ltwh[:, :2], self.boxes_ltwh[:, 2:]
        return np.concatenate([corner, corner + side], axis=1)

    def select(self, rows: Booleans | Integers | slice) -> MotRows:
        """Some of the rows, by mask or by position."""
        chosen = {each.name: getattr(self, each.name)[rows] for each in fields(self)}
        return MotRows(**chosen)

    def in_frame(self, frame_number: int) -> MotRows:
        """The rows of one frame, in the file's order."""
        order, sorted_numbers = self._by_frame
        first, last = np.searchsorted(sorted_numbers, [frame_number, frame_number + 1])
        return self.select(order[first:last])

    @cached_property
    def _by_frame(self) -> tuple[Integers, Integers]:
        # Rows may be sorted by identity: a stable sort keeps their order within a frame.
        order = np.argsort(self.frame_numbers, kind="stable")
        return order, self.frame_numbers[order]


@dataclass(frozen=True, kw_only=True, eq=False)
class MotSequence:
    """One sequence, or the part of it that belongs to a split."""

    name: str
    """Name of its folder, which is also that of a results file."""
    folder: Path
    """Folder of the sequence."""
    frame_numbers: range
    """Frames of the split, 1-based and counted in the whole sequence."""
    size: tuple[int, int]
    """Height and width of its images."""
    num_frames: int = MOST_FRAMES
    """Frames of the whole sequence, where that is known."""
    frame_rate: float = DEFAULT_FRAME_RATE
    """Frames a second; 30 where the sequence does not say."""
    image_folder: str = "img1"
    """Folder of the images below ``folder``."""
    image_ending: str = ".jpg"
    """Ending of the images' names."""
    image_paths: Mapping[int, str] = field(default_factory=dict)
    """Paths of the images by frame number, where a file names them."""
    json_file: Path | None = None
    """CocoVID file that the sequence is read from; None for ``seqinfo.ini`` and ``gt.txt``."""
    truth: MotRows | None = None
    """Ground truth of these frames; None where none is published."""
    detections: MotRows | None = None
    """Public detections in these frames; None if they were not asked for or are not there."""
    classes: tuple[str, ...] = ("pedestrian",)
    """Classes that are learned, tracked and scored, in the order of their labels."""
    numbers: tuple[int, ...] = (1,)
    """Their numbers in the table; 0 for one that the sequence has not."""
    class_names: tuple[str, ...] = CLASS_NAMES
    """Names of the classes 1, 2, ... of the table."""
    odd: Mapping[str, int] = field(default_factory=dict)
    """Counts of what looks odd in the whole sequence's files and is used all the same, by kind."""

    def __len__(self) -> int:
        return len(self.frame_numbers)

    def path(self, frame_number: int) -> str:
        """Path of a frame's image."""
        if self.image_paths:
            return self.image_paths[frame_number]
        return f"{self.folder}/{self.image_folder}/{frame_number:06d}{self.image_ending}"

    @property
    def truth_file(self) -> Path:
        """File that holds the ground truth, if there is any."""
        return self.json_file or self.folder / "gt" / "gt.txt"

    @property
    def size_source(self) -> str:
        """The source of ``size``, in messages."""
        return "seqinfo.ini" if self.json_file is None else "its annotation"

    def image_name(self, frame_number: int) -> str:
        """Path of a frame's image below the folder of the sequences."""
        if self.image_paths:
            return Path(self.path(frame_number)).relative_to(self.folder.parent).as_posix()
        return f"{self.sample_id(frame_number)}{self.image_ending}"

    def sample_id(self, frame_number: int) -> str:
        """A frame's name in logs and errors, e.g. ``MOT17-02-FRCNN/img1/000008``."""
        if self.image_paths:
            return str(PurePosixPath(self.image_name(frame_number)).with_suffix(""))
        return f"{self.name}/{self.image_folder}/{frame_number:06d}"

    def wanted(self, rows: MotRows) -> Booleans:
        """True for rows of the classes that are learned, tracked and scored."""
        return np.isin(rows.classes, self.numbers)

    def labels(self, rows: MotRows) -> Integers:
        """``(n,)`` 0-based labels of rows, all of these classes."""
        labels: Integers = np.argmax(rows.classes[:, None] == np.array(self.numbers), axis=1)
        return labels

    def facts(self) -> tuple[object, ...]:
        """Name, size, frames and, where a file names them, images: a resumed run compares them."""
        images = [tuple(map(self.image_name, self.image_paths))] if self.image_paths else []
        own = [] if self.classes == ("pedestrian",) else [self.classes, self.numbers]
        return (self.name, self.size, self.frame_numbers, *images, *own)


def odd_counts(sequences: Iterable[MotSequence]) -> dict[str, int]:
    """Counts of what looks odd in the files of some sequences, by kind."""
    total: Counter[str] = Counter()
    for sequence in sequences:
        total.update(sequence.odd)
    return dict(total)


@dataclass(frozen=True, kw_only=True)
class LeftOutRows:
    """Counts of ground-truth rows that are not learned from, by reason."""

    flagged: int = 0
    """Objects with flag 0: regions to ignore."""
    ignored_classes: int = 0
    """People that are hard to judge: on vehicles, static, distractors, reflections, crowds."""
    other_classes: int = 0
    """Objects of other classes: of pedestrians' recipes vehicles and occluders."""
    outside: int = 0
    """Boxes that share no area with their image."""
    degenerate: int = 0
    """Boxes narrower or lower than one pixel."""

    def __str__(self) -> str:
        return (
            f"{self.flagged} objects with flag 0, {self.ignored_classes} people hard to judge, "
            f"{self.other_classes} other objects, {self.outside} boxes outside their image, "
            f"{self.degenerate} under one pixel"
        )

    def __add__(self, other: LeftOutRows) -> LeftOutRows:
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in _COUNTS}
        return LeftOutRows(**sums)


_COUNTS = fields(LeftOutRows)


def learned_rows(sequence: MotSequence, *, flag_zero: bool = False) -> tuple[MotRows, LeftOutRows]:
    """The ground truth that training learns from: objects of its classes that touch the image.

    MMTracking's rules, but for flags: it trains on pedestrians whatever their flag. In the official
    MOT17 and MOT20 files pedestrians have flag 1, so only foreign files show a difference.

    Args:
        sequence: with ground truth.
        flag_zero: learn from objects with flag 0 too.

    Raises:
        DataError: if the sequence has no ground truth.
    """
    rows = sequence.truth
    if rows is None:
        raise DataError(str(sequence.truth_file), "ground truth is missing")
    height, width = sequence.size
    x1, y1, x2, y2 = rows.boxes_xyxy.T
    wanted = sequence.wanted(rows)
    hard_to_judge = np.isin(rows.classes, _IGNORED_CLASSES) & ~wanted
    flagged = wanted & ~rows.flags & (not flag_zero)
    seen = wanted & ~flagged
    inside = np.minimum(x2, width) > np.maximum(x1, 0)
    inside &= np.minimum(y2, height) > np.maximum(y1, 0)
    large = (rows.boxes_ltwh[:, 2:] >= MIN_BOX_SIDE).all(axis=1)
    left_out = LeftOutRows(
        flagged=int(flagged.sum()),
        ignored_classes=int(hard_to_judge.sum()),
        other_classes=int((~wanted & ~hard_to_judge).sum()),
        outside=int((seen & ~inside).sum()),
        degenerate=int((seen & inside & ~large).sum()),
    )
    return rows.select(seen & inside & large), left_out
