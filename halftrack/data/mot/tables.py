"""gt.txt and det.txt of MOTChallenge: tables of numbers, each column known or refused by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from halftrack.data.files import read_text, shortened
from halftrack.data.index import Booleans, Integers
from halftrack.data.mot.classes import CLASS_NAMES
from halftrack.data.mot.config import Benchmark
from halftrack.data.mot.records import MotRows
from halftrack.data.problems import DataError
from halftrack.data.tables.box_columns import (
    first_wrong_box,
    looks_like_corners,
    odd_boxes,
    read_number,
)
from halftrack.data.tables.once import kept_once
from halftrack.errors import UserError

__all__ = ["has_area", "read_detections", "read_truth"]

Doubles = npt.NDArray[np.float64]

# MOT20's longest, with detections of 2,405 crowded frames, has 30 MB.
_LARGEST = 1 << 30
_TRUTH = "frame, id, left, top, width, height, flag, class, visibility"
_DETECTIONS = "frame, -1, left, top, width, height, confidence"
_CORNERS = (
    "the columns 3 to 6 look like x1, y1, x2, y2; expected left, top, width, height: write "
    "x2 - x1 and y2 - y1 in the columns 5 and 6"
)
_VISDRONE = "VisDrone's truncation and occlusion are not MOTChallenge's visibility"
_WHOLE = "frame and id must be whole numbers"
# Ids are numbers of people: a whole float64 beyond this is no longer exact.
_LAST_ID = 2**53


class _Table:
    """The rows of a file, which remember where they stand."""

    def __init__(self, file: Path) -> None:
        self.file = file
        text = read_text(file, what=f"table {file.name}", limit=_LARGEST)
        # Line numbers in errors count lines as an editor does: blank ones may only end a file.
        self.lines = text.rstrip().splitlines()
        self.values = self._parsed()

    def _parsed(self) -> Doubles:
        if not self.lines:
            return np.empty((0, 9))
        try:
            values = np.loadtxt(self.lines, delimiter=",", ndmin=2, comments=None)
        except ValueError:
            raise DataError(str(self.file), self._what_is_wrong()) from None
        if len(values) < len(self.lines):  # Blank lines are passed over.
            raise DataError(str(self.file), self._what_is_wrong())
        return values

    def _what_is_wrong(self) -> str:
        """The first line that is no row of numbers like the one before it."""
        width = self.lines[0].count(",")
        for number, line in enumerate(self.lines, start=1):
            if not line.strip():
                return f"line {number} is empty"
            values, told = line.split(","), f"line {number}, {shortened(line)}"
            if width == 0:
                return f"{told}: expected columns separated by commas"
            if len(values) != width + 1:
                return f"{told}: {len(values)} columns, the lines before it have {width + 1}"
            try:
                for value in values:
                    read_number(value)
            except UserError as error:
                return f"{told}: {error}"
        return "is not a table of numbers separated by commas"

    def refuse(self, rows: Booleans, reason: str | Callable[[int], str]) -> None:
        """Raise for the first row of a mask, if there is one."""
        if rows.any():
            row = int(np.argmax(rows))
            self.fail(row, reason if isinstance(reason, str) else reason(row))

    def fail(self, row: int, reason: str) -> None:
        """Raise for a row."""
        raise DataError(str(self.file), f"line {row + 1}, {shortened(self.lines[row])}: {reason}")


@kept_once
def read_truth(
    file: Path,
    num_frames: int,
    size: tuple[int, int],
    benchmark: Benchmark,
    last_class: int = len(CLASS_NAMES),
) -> tuple[MotRows, dict[str, int]]:
    """Ground truth, and counts of what looks odd in it.

    Args:
        file: the table.
        num_frames: frames of the whole sequence.
        size: height and width of its images.
        benchmark: whose rules it follows.
        last_class: highest number of a class.

    Raises:
        DataError: if a column does not hold what it should; names the line and the likely mistake.
    """
    table = _Table(file)
    values = table.values
    if values.shape[1] not in (7, 9, 10):
        reason = f"{values.shape[1]} columns; expected {_TRUTH}"
        raise DataError(str(file), reason)
    _check_places(table, num_frames)
    table.refuse(
        values[:, 1] < 0, "a negative id: ground truth names each object; is this a det.txt?"
    )
    flags = values[:, 6].copy()
    table.refuse(
        (flags != 0) & (flags != 1),
        lambda row: (
            f"flag {flags[row]:g} in column 7, allowed are 0 (not evaluated) and 1; "
            "is this a file of detections or results, with a score there?"
        ),
    )
    _check_boxes(table, size, values[:, 1])
    classes, visibility, unknown = _classes(table, benchmark, last_class)
    rows = MotRows(
        frame_numbers=values[:, 0].astype(np.int64),
        ids=values[:, 1].astype(np.int64),
        boxes_ltwh=values[:, 2:6],
        flags=flags != 0,
        classes=classes,
        visibility=visibility,
        scores=np.ones(len(values)),
    )
    _refuse_twice(table, rows)
    odd = {**odd_boxes(values[:, 2:6], size), "rows without a class, read as pedestrians": unknown}
    if len(rows):
        alone = benchmark != "MOT15" and not unknown and (classes == classes[0]).all()
        odd["sequences of one class only"] = int(alone)
    else:
        odd["sequences without a row"] = 1
    if benchmark == "MOT15":
        odd["rows of other classes, which MOT15 scores as people"] = int((classes != 1).sum())
    return rows, odd


@kept_once
def read_detections(
    file: Path, num_frames: int, size: tuple[int, int]
) -> tuple[MotRows, dict[str, int]]:
    """Public detections with an area inside of their image, and counts of what looks odd.

    Raises:
        DataError: if a column does not hold what it should; names the line and the likely mistake.
    """
    table = _Table(file)
    values = table.values
    if not 7 <= values.shape[1] <= 10:
        raise DataError(str(file), f"{values.shape[1]} columns; expected {_DETECTIONS}")
    _check_places(table, num_frames)
    _check_boxes(table, size, values[:, 0])
    table.refuse(~np.isfinite(values[:, 6]), "the confidence is not finite")
    ones = np.ones(len(values))
    rows = MotRows(
        frame_numbers=values[:, 0].astype(np.int64),
        ids=values[:, 1].astype(np.int64),
        boxes_ltwh=values[:, 2:6],
        flags=np.ones(len(values), dtype=np.bool_),
        classes=ones.astype(np.int64),
        visibility=ones,
        scores=values[:, 6],
    )
    odd = odd_boxes(values[:, 2:6], size)
    # Clipped to its image such a box has no area, and no operation on regions takes it.
    usable = has_area(values[:, 2:6], size)
    odd["public detections without area in their image, left out"] = int((~usable).sum())
    odd.pop("boxes without area")
    return (rows if usable.all() else rows.select(usable)), odd


def _check_places(table: _Table, num_frames: int) -> None:
    values = table.values
    frames, ids = (np.ascontiguousarray(values[:, column]) for column in (0, 1))
    if not np.isfinite(values.sum()):
        table.refuse(~np.isfinite(values.sum(axis=1)), "a value is not finite")
    table.refuse((np.floor(frames) != frames) | (np.floor(ids) != ids), _WHOLE)
    table.refuse(
        (frames < 1) | (frames > num_frames),
        f"expected a frame of 1 to {num_frames}, seqLength in seqinfo.ini",
    )
    table.refuse(np.abs(ids) > _LAST_ID, f"expected an id of at most {_LAST_ID}")


def _check_boxes(table: _Table, size: tuple[int, int], tracks: Doubles) -> None:
    boxes = table.values[:, 2:6]
    if (wrong := first_wrong_box(boxes)) is not None:
        table.fail(*wrong)
    if (row := looks_like_corners(boxes, size, tracks)) is not None:
        table.fail(row, _CORNERS)


def _classes(table: _Table, benchmark: Benchmark, last_class: int) -> tuple[Integers, Doubles, int]:
    """Class and visibility of each row, and how many rows of a benchmark with classes have none.

    MOT15 has three world coordinates in their place, or fillers; some tools write a tenth column
    that is not used.
    """
    values, count = table.values, len(table.values)
    if values.shape[1] == 7:
        return *_people(count), count if benchmark != "MOT15" else 0
    classes, visibility = np.ascontiguousarray(values[:, 7:9].T)
    if values.shape[1] == 10:
        filler = values[:, 9]
        if (values[:, 7:10] == -1).all():
            return *_people(count), count if benchmark != "MOT15" else 0
        fits = _are_classes(classes, last_class) & (visibility >= 0) & (visibility <= 1)
        unused = (filler == -1).all()
        shares = ((visibility > 0) & (visibility < 1)).any() and (filler == filler[0]).all()
        if not (fits.all() and (unused or shares)):
            if benchmark == "MOT15":
                return *_people(count), 0
            _refuse_ten(table, fits, last_class)
    elif benchmark == "MOT15" and not _are_classes(classes, last_class).all():
        return *_people(count), 0
    table.refuse(
        ~_are_classes(classes, last_class),
        lambda row: (
            f"class {classes[row]:g} in column 8, allowed are 1 to {last_class}; "
            "name more in labels.txt beside it, leave the columns after the flag out, or take "
            "MOT15's layout"
        ),
    )
    table.refuse(
        (visibility < 0) | (visibility > 1),
        lambda row: f"visibility {visibility[row]:.10g} in column 9, allowed are 0 to 1",
    )
    return classes.astype(np.int64), visibility, 0


def _people(count: int) -> tuple[Integers, Doubles]:
    """Class and visibility of rows that tell neither."""
    return np.ones(count, dtype=np.int64), np.ones(count)


def _refuse_ten(table: _Table, fits: Booleans, last_class: int) -> None:
    """Raise for ten columns of which the last three are neither class and visibility nor none."""
    row = int(np.argmax(~fits)) if not fits.all() else 0
    if fits.all():
        row = int(np.argmax(table.values[:, 9] != -1))
    told = ", ".join(f"{value:g}" for value in table.values[row, 7:10])
    table.fail(
        row,
        f"the columns 8 to 10 hold {told}; expected class (1 to {last_class}), visibility (0 to "
        f"1) and -1, or -1, -1, -1 without classes; {_VISDRONE}, and world coordinates are read "
        "of MOT15 alone (data.benchmark=MOT15)",
    )


def _are_classes(values: Doubles, last_class: int) -> Booleans:
    known: Booleans = (values >= 1) & (values <= last_class)
    known &= np.floor(values) == values
    return known


def _refuse_twice(table: _Table, rows: MotRows) -> None:
    """Raise for an object that has two boxes in one frame."""
    frames, ids = rows.frame_numbers, rows.ids
    if len(rows) < 2 or _rising(frames, ids) or _rising(ids, frames):
        return
    order = np.lexsort((np.arange(len(rows)), ids, frames))
    again = (np.diff(frames[order]) == 0) & (np.diff(ids[order]) == 0)
    if again.any():
        first, second = min(
            ((order[place], order[place + 1]) for place in np.flatnonzero(again)),
            key=lambda pair: int(pair[1]),
        )
        same = (table.values[first] == table.values[second]).all()
        told = "the same row as in" if same else "another box of it is in"
        table.fail(
            int(second),
            f"object {ids[second]} is in frame {frames[second]} a second time, {told} line "
            f"{first + 1}; allowed is one box of an object in a frame",
        )


def _rising(first: Integers, second: Integers) -> bool:
    """True if rows are sorted by ``first``, then by ``second``, and none is there twice."""
    step = np.diff(first)
    return bool(((step > 0) | ((step == 0) & (np.diff(second) > 0))).all())


def has_area(ltwh: Doubles, size: tuple[int, int]) -> Booleans:
    """True where what is left of a box in its image is an area in float32 too."""
    limits = np.array([size[1], size[0]], dtype=np.float32)
    first = ltwh[:, :2].astype(np.float32).clip(0, limits)
    last = (ltwh[:, :2] + ltwh[:, 2:]).astype(np.float32).clip(0, limits)
    large: Booleans = (last - first > 0.01).all(axis=1)
    return large
