"""MOT15, MOT16, MOT17 and MOT20 as downloaded: sequences, ground truth and public detections.

The boxes and the choice of rows agree with MMTracking 0.14's mot2coco, which takes left and top as
they are written: the 1 of 1-based pixels is not subtracted.
"""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from halftrack.data.images import load_image
from halftrack.data.index import MIN_BOX_SIDE, Booleans, Integers
from halftrack.data.problems import DataError

__all__ = [
    "Benchmark",
    "Detectors",
    "LeftOutRows",
    "MotRows",
    "MotSequence",
    "MotSplit",
    "learned_rows",
    "read_mot",
]

Benchmark = Literal["MOT15", "MOT16", "MOT17", "MOT20"]
"""A MOTChallenge data set, by the folder it unpacks to."""
MotSplit = Literal["train", "test", "half-train", "half-val"]
"""``half-train``: the first n // 2 + 1 frames of each training sequence; ``half-val``: the rest."""
Detectors = Literal["all", "DPM", "FRCNN", "SDP"]
"""MOT17 holds each video three times, once for each public detector; ``all`` keeps the copies."""

Doubles = npt.NDArray[np.float64]

_PEDESTRIAN = 1
# People that are hard to judge, not trained on: person on vehicle, static person, distractor,
# reflection, crowd. TrackEval removes results on them, but for crowds.
_IGNORED_CLASSES = (2, 7, 8, 12, 13)
_DETECTOR = re.compile(r"-(DPM|FRCNN|SDP)$")
_DEFAULT_FRAME_RATE = 30.0
_TRUTH_COLUMNS = 9


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
    """Where it lies."""
    frame_numbers: range
    """Frames of the split, 1-based and counted in the whole sequence."""
    size: tuple[int, int]
    """Height and width of its images."""
    frame_rate: float = _DEFAULT_FRAME_RATE
    """Frames a second; 30 where the sequence does not say."""
    image_folder: str = "img1"
    """Folder of the images below ``folder``."""
    image_ending: str = ".jpg"
    """Ending of the images' names."""
    truth: MotRows | None = None
    """Ground truth of these frames; None where none is published."""
    detections: MotRows | None = None
    """Public detections in these frames; None if they were not asked for or are not there."""

    def __len__(self) -> int:
        return len(self.frame_numbers)

    def path(self, frame_number: int) -> str:
        """Where a frame's image lies."""
        return f"{self.folder}/{self.image_folder}/{frame_number:06d}{self.image_ending}"

    def sample_id(self, frame_number: int) -> str:
        """A frame's name in logs and errors, e.g. ``MOT17-02-FRCNN/img1/000008``."""
        return f"{self.name}/{self.image_folder}/{frame_number:06d}"


@dataclass(frozen=True, kw_only=True)
class LeftOutRows:
    """How many rows of the ground truth are not learned from, and why."""

    flagged: int = 0
    """Pedestrians with flag 0: regions to ignore."""
    ignored_classes: int = 0
    """People that are hard to judge: on vehicles, static, distractors, reflections, crowds."""
    other_classes: int = 0
    """Vehicles and occluders."""
    outside: int = 0
    """Boxes that share no area with their image."""
    degenerate: int = 0
    """Boxes narrower or lower than one pixel."""

    def __str__(self) -> str:
        return (
            f"{self.flagged} pedestrians with flag 0, {self.ignored_classes} people hard to judge, "
            f"{self.other_classes} other objects, {self.outside} boxes outside their image, "
            f"{self.degenerate} under one pixel"
        )

    def __add__(self, other: LeftOutRows) -> LeftOutRows:
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in _COUNTS}
        return LeftOutRows(**sums)


_COUNTS = fields(LeftOutRows)


def read_mot(
    data_root: str | Path,
    split: MotSplit,
    *,
    benchmark: Benchmark = "MOT17",
    detectors: Detectors = "all",
    detections: bool = False,
) -> tuple[MotSequence, ...]:
    """The sequences of a split, sorted by name.

    Args:
        data_root: the folder that contains the benchmark's folder, or that folder itself.
        split: which frames.
        benchmark: which data set.
        detectors: which of MOT17's three copies of each video; sequences whose name does not end
            in a detector's are always kept.
        detections: read ``det/det.txt`` too.

    Raises:
        DataError: if the tree is missing, or a file is missing or malformed.
        ValueError: if an argument is not one of those allowed.
    """
    for name, value, allowed in (
        ("benchmark", benchmark, get_args(Benchmark)),
        ("split", split, get_args(MotSplit)),
        ("detectors", detectors, get_args(Detectors)),
    ):
        if value not in allowed:
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed))}")
    part = "test" if split == "test" else "train"
    parent = _find_mot(data_root, benchmark, part) / part
    folders = sorted(folder for folder in parent.iterdir() if folder.is_dir())
    kept = [folder for folder in folders if _wanted(folder.name, detectors)]
    if not kept:
        found = ", ".join(folder.name for folder in folders) or "no folder"
        raise DataError(str(parent), f"no sequence with detectors={detectors!r}, only {found}")
    return tuple(_read_sequence(folder, split, detections=detections) for folder in kept)


def _find_mot(data_root: str | Path, benchmark: Benchmark, part: str) -> Path:
    """The benchmark's folder in ``data_root``, or ``data_root`` itself if it is one.

    Raises:
        DataError: if neither holds the folder ``part``.
    """
    root = Path(data_root).expanduser().resolve()
    for candidate in (root / benchmark, root):
        # A folder of another benchmark has the same parts.
        foreign = candidate.name in get_args(Benchmark) and candidate.name != benchmark
        if (candidate / part).is_dir() and not foreign:
            return candidate
    looked = " or ".join(f"{root}{below}/{part}" for below in (f"/{benchmark}", ""))
    raise DataError(str(root), f"no {benchmark} here: looked for {looked}")


def learned_rows(sequence: MotSequence, *, flag_zero: bool = False) -> tuple[MotRows, LeftOutRows]:
    """The ground truth that training learns from: pedestrians whose box touches the image.

    MMTracking's rules, but for flags: it trains on pedestrians whatever their flag. In the official
    MOT17 and MOT20 files pedestrians have flag 1, so only foreign files show a difference.

    Args:
        sequence: with ground truth.
        flag_zero: learn from pedestrians with flag 0 too.

    Raises:
        DataError: if the sequence has no ground truth.
    """
    rows = sequence.truth
    if rows is None:
        raise DataError(str(sequence.folder / "gt" / "gt.txt"), "ground truth is missing")
    height, width = sequence.size
    x1, y1, x2, y2 = rows.boxes_xyxy.T
    pedestrian = rows.classes == _PEDESTRIAN
    hard_to_judge = np.isin(rows.classes, _IGNORED_CLASSES)
    flagged = pedestrian & ~rows.flags & (not flag_zero)
    seen = pedestrian & ~flagged
    inside = np.minimum(x2, width) > np.maximum(x1, 0)
    inside &= np.minimum(y2, height) > np.maximum(y1, 0)
    large = (rows.boxes_ltwh[:, 2:] >= MIN_BOX_SIDE).all(axis=1)
    left_out = LeftOutRows(
        flagged=int(flagged.sum()),
        ignored_classes=int(hard_to_judge.sum()),
        other_classes=int((~pedestrian & ~hard_to_judge).sum()),
        outside=int((seen & ~inside).sum()),
        degenerate=int((seen & inside & ~large).sum()),
    )
    return rows.select(seen & inside & large), left_out


def _wanted(name: str, detectors: Detectors) -> bool:
    detector = _DETECTOR.search(name)
    return detectors == "all" or detector is None or detector[1] == detectors


def _read_sequence(folder: Path, split: MotSplit, *, detections: bool) -> MotSequence:
    file = folder / "seqinfo.ini"
    section = _read_section(file)
    num_frames = int(_positive(section, "seqLength", file))
    half = num_frames // 2 + 1
    frame_numbers = range(1, num_frames + 1)
    if split == "half-train":
        frame_numbers = range(1, half + 1)
    elif split == "half-val":
        frame_numbers = range(half + 1, num_frames + 1)
    truth, found = folder / "gt" / "gt.txt", folder / "det" / "det.txt"
    images, ending = section.get("imDir", "img1"), section.get("imExt", ".jpg")
    if "imHeight" in section and "imWidth" in section:
        height = int(_positive(section, "imHeight", file))
        width = int(_positive(section, "imWidth", file))
    else:
        height, width = load_image(folder / images / f"{1:06d}{ending}").shape[-2:]
    return MotSequence(
        name=folder.name,
        folder=folder,
        frame_numbers=frame_numbers,
        size=(height, width),
        frame_rate=_positive(section, "frameRate", file, default=_DEFAULT_FRAME_RATE),
        image_folder=images,
        image_ending=ending,
        truth=_read_rows(truth, num_frames, frame_numbers, truth=True),
        detections=_read_rows(found, num_frames, frame_numbers) if detections else None,
    )


def _read_section(file: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(file, encoding="utf-8-sig") as stream:
            parser.read_file(stream)
        return parser["Sequence"]
    except FileNotFoundError:
        raise DataError(str(file), "file is missing") from None
    except KeyError:
        found = ", ".join(parser.sections()) or "none"
        raise DataError(str(file), f"expected a section [Sequence], found {found}") from None
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(str(file), f"cannot be read: {reason}") from None


def _positive(
    section: configparser.SectionProxy, key: str, file: Path, *, default: float | None = None
) -> float:
    text = section.get(key)
    if text is None:
        if default is None:
            raise DataError(str(file), f"{key} is missing; it holds {', '.join(section)}")
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < np.inf:
        raise DataError(str(file), f"{key}={text}: expected a positive number")
    return number


def _read_rows(
    file: Path, num_frames: int, frame_numbers: range, *, truth: bool = False
) -> MotRows | None:
    """The rows of some frames; None if there is no such file."""
    if not file.exists():
        return None
    table = _read_table(file)
    _check_table(table, file, num_frames, truth=truth)
    ones = np.ones(len(table))
    flags, classes, visibility, scores = ones, ones, ones, ones
    if truth:
        flags = table[:, 6]
        # MOT15 has three world coordinates in the place of class and visibility.
        if table.shape[1] == _TRUTH_COLUMNS:
            classes, visibility = table[:, 7], table[:, 8]
    else:
        scores = table[:, 6]
    rows = MotRows(
        frame_numbers=table[:, 0].astype(np.int64),
        ids=table[:, 1].astype(np.int64),
        boxes_ltwh=table[:, 2:6],
        flags=flags != 0,
        classes=classes.astype(np.int64),
        visibility=visibility,
        scores=scores,
    )
    if len(frame_numbers) == num_frames:
        return rows
    first, stop = frame_numbers.start, frame_numbers.stop
    return rows.select((rows.frame_numbers >= first) & (rows.frame_numbers < stop))


def _read_table(file: Path) -> Doubles:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(file), f"cannot be read: {error}") from None
    numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbers:
        return np.empty((0, _TRUTH_COLUMNS))
    if len(numbers) < len(lines):
        # Line numbers in errors count lines as an editor does: blank ones may only end a file.
        if numbers[-1] > len(numbers):
            blank = next(n for n, line in enumerate(lines, start=1) if not line.strip())
            raise DataError(str(file), f"line {blank} is empty")
        lines = lines[: len(numbers)]
    try:
        return np.loadtxt(lines, delimiter=",", ndmin=2, comments=None)
    except ValueError:
        raise DataError(str(file), _what_is_wrong(lines)) from None


def _what_is_wrong(lines: list[str]) -> str:
    """The first line that is no row of numbers like the one before it."""
    width = lines[0].count(",")
    for number, line in enumerate(lines, start=1):
        values = line.split(",")
        if len(values) != width + 1:
            told = f"{len(values)} columns, the lines before it have {width + 1}"
            return f"line {number}, {line!r}: {told}"
        for value in values:
            try:
                float(value)
            except ValueError:
                return f"line {number}, {line!r}: {value.strip()!r} is not a number"
    return "is not a table of numbers separated by commas"


def _check_table(table: Doubles, file: Path, num_frames: int, *, truth: bool) -> None:
    columns = table.shape[1]
    # Detections have a confidence and perhaps three fillers; so has MOT15's ground truth.
    allowed = (_TRUTH_COLUMNS, 7, 10) if truth else range(7, 11)
    if columns not in allowed:
        layout = "frame, id, left, top, width, height, "
        layout += "flag, class, visibility" if truth else "confidence"
        raise DataError(str(file), f"{columns} columns; expected {layout}")
    frames = table[:, 0]
    wrong = [
        (~np.isfinite(table).all(axis=1), "a value is not finite"),
        ((table[:, :2] % 1 != 0).any(axis=1), "frame and id must be whole numbers"),
        ((frames < 1) | (frames > num_frames), f"expected a frame of 1 to {num_frames}"),
    ]
    for rows, reason in wrong:
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            text = file.read_text(encoding="utf-8-sig").splitlines()[row]
            raise DataError(str(file), f"line {row + 1}, {text!r}: {reason}")
