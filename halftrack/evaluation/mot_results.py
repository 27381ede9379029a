"""MOTChallenge result files: tracks as rows, one ``<sequence>.txt`` for each sequence.

Rows are ``frame,id,left,top,width,height,score,-1,-1,-1`` with three decimals, as MMTracking 0.14
writes them. Left and top are x1 and y1 unchanged: the 1 of 1-based pixels is not added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halftrack.data.files import read_text, shortened
from halftrack.data.tables.box_columns import FARTHEST, read_number
from halftrack.errors import NonFiniteOutputError, UserError
from halftrack.evaluation.result_folder import ResultFolder, read_folder

__all__ = [
    "TrackRows",
    "check_rows",
    "read_result_folder",
    "read_results",
    "write_results",
]

_LARGEST = 1 << 30
# Beyond it a float64 no longer tells one whole number from the next.
_LAST_NUMBER = 2**53
_COLUMNS = "frame,id,left,top,width,height,score[,-1,-1,-1]"


@dataclass(frozen=True, kw_only=True)
class TrackRows:
    """Tracks of one sequence: a row for each track in each frame, in any order."""

    frame_numbers: NDArray[np.int64]
    """``(n,)``, 1-based."""
    ids: NDArray[np.int64]
    """``(n,)``, counted from 0 as in trackers; files count from 1, as MOTChallenge does."""
    boxes_xyxy: NDArray[np.float64]
    """``(n, 4)`` in original pixels."""
    scores: NDArray[np.float64]
    """``(n,)``; no metric here uses them."""

    def __len__(self) -> int:
        return len(self.ids)


def write_results(path: Path, rows: TrackRows) -> None:
    """Write one sequence's rows, in their order; without rows the file is empty.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
        rows: the tracks; ids are written plus 1, coordinates with three decimals.

    Raises:
        ValueError: if a row could not be read back; names the row, what it holds and what is
            allowed.
    """
    check_rows("track", rows.frame_numbers, rows.ids, rows.boxes_xyxy)
    check_scores("track", rows)
    corners, sizes = rows.boxes_xyxy[:, :2], rows.boxes_xyxy[:, 2:] - rows.boxes_xyxy[:, :2]
    flat = np.flatnonzero((np.round(sizes, 3) <= 0).any(axis=1))
    if len(flat):
        raise ValueError(
            f"{_row('track', flat[0], rows.frame_numbers, rows.ids)} has the box "
            f"{rows.boxes_xyxy[flat[0]].tolist()}, allowed are widths and heights that are above 0 "
            "with three decimals"
        )
    columns = zip(
        rows.frame_numbers.tolist(),
        (rows.ids + 1).tolist(),
        np.concatenate([corners, sizes, rows.scores[:, None]], axis=1).tolist(),
        strict=True,
    )
    lines = [
        f"{frame},{track}," + ",".join(f"{value:.3f}" for value in values) + ",-1,-1,-1\n"
        for frame, track, values in columns
    ]
    path.write_text("".join(lines), encoding="utf-8")


def read_results(path: Path) -> TrackRows:
    """Read one sequence's rows, written by any tracker; a file without rows found nothing.

    Ids may be ``3`` or ``3.0``. They are read minus 1, so that what :func:`write_results` wrote is
    read as it was; MMTracking's ids, which count from 0, then start at -1. Ids are names: this
    changes no score.

    Raises:
        ValueError: if a row is malformed, a box is not finite or has no size, or an id occurs
            twice in one frame; names file and line, quotes the text and says what is allowed.
    """
    text = read_text(path, what="result file", limit=_LARGEST)
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    parsed = [_parse(f"{path}, line {n}", line) for n, line in lines]
    table = np.asarray(parsed, dtype=np.float64).reshape(-1, 7)
    seen: dict[tuple[float, float], int] = {}
    for (number, line), (frame, track) in zip(lines, table[:, :2].tolist(), strict=True):
        first = seen.setdefault((frame, track), number)
        if first != number:
            raise UserError(
                f"{path}, line {number}: {shortened(line, 100)} has id {track:g} a second time in "
                f"frame {frame:g}, first in line {first}; allowed is one box of an id in a frame"
            )
    return TrackRows(
        frame_numbers=table[:, 0].astype(np.int64),
        ids=table[:, 1].astype(np.int64) - 1,
        boxes_xyxy=np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1),
        scores=table[:, 6].copy(),
    )


def read_result_folder(folder: Path, sequences: Sequence[str]) -> ResultFolder[TrackRows]:
    """Read ``<sequence>.txt`` of each sequence.

    Raises:
        ValueError: if the folder or a file is missing (lists the files that are there), or if
            :func:`read_results` cannot read a file.
    """
    return read_folder(folder, sequences, read_results)


def _parse(place: str, line: str) -> list[float]:
    """Frame, id, left, top, width, height and score of one line."""
    what = f"{place}: {shortened(line, 100)}"
    cells = line.split(",")
    if not 7 <= len(cells) <= 10:
        raise UserError(f"{what} has {len(cells)} columns, expected 7 to 10: {_COLUMNS}")
    try:
        frame, track, *values = map(read_number, cells[:7])
    except UserError as error:
        raise UserError(f"{what}: {error}, expected numbers: {_COLUMNS}") from None
    if not (frame.is_integer() and 1 <= frame <= _LAST_NUMBER):
        told = f"has frame number {shortened(cells[0])}, allowed are 1, 2, ..."
        raise UserError(f"{what} {told}")
    if not (track.is_integer() and 0 <= track <= _LAST_NUMBER):
        told = f"has id {shortened(cells[1])}, allowed are whole numbers from 0 on"
        hint = "; detections have no id: is this a det.txt?" if track == -1 else ""
        raise UserError(f"{what} {told}{hint}")
    if not all(math.isfinite(value) for value in values):
        raise UserError(f"{what} has a box or score that is not finite, allowed are numbers")
    if max(map(abs, values[:4])) > FARTHEST:
        raise UserError(f"{what} has a box beyond {FARTHEST:g} pixels")
    if not (values[2] > 0 and values[3] > 0):
        raise UserError(
            f"{what} has width {values[2]:g} and height {values[3]:g}, allowed is above 0"
        )
    return [frame, track, *values]


def check_rows(
    what: str,
    frame_numbers: NDArray[np.int64],
    ids: NDArray[np.int64],
    boxes_xyxy: NDArray[np.float64],
    *,
    allowed: tuple[int, int | None] = (1, None),
) -> None:
    """Check rows of a truth or a tracker before they are scored.

    Args:
        what: the name of the rows, for the message.
        frame_numbers: ``(n,)``.
        ids: ``(n,)``.
        boxes_xyxy: ``(n, 4)``.
        allowed: first and last frame number; None for no last one.

    Raises:
        ValueError: if a row would be scored wrongly; names it, what it holds and what is allowed.
    """
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise ValueError(f"{what}: boxes_xyxy has shape {boxes_xyxy.shape}, expected (n, 4)")
    for name, column in (("frame_numbers", frame_numbers), ("ids", ids)):
        check_column(what, name, column, len(boxes_xyxy))
        if not np.issubdtype(column.dtype, np.integer):
            raise ValueError(f"{what}: {name} are {column.dtype}, expected integers")
    first, last = allowed
    outside = frame_numbers < first
    if last is not None:
        outside |= frame_numbers > last
    if outside.any():
        row = np.flatnonzero(outside)[0]
        span = f"{first} to {last}" if last is not None else f"{first}, {first + 1}, ..."
        raise UserError(
            f"{_row(what, row, frame_numbers, ids)} is in no frame there is, allowed are {span}"
        )
    finite = np.isfinite(boxes_xyxy).all(axis=1)
    wrong = ~finite | (boxes_xyxy[:, 2:] < boxes_xyxy[:, :2]).any(axis=1)
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        raise ValueError(
            f"{_row(what, row, frame_numbers, ids)} has the box {boxes_xyxy[row].tolist()}, "
            "allowed are finite numbers x1 <= x2, y1 <= y2"
        )
    order = np.lexsort((ids, frame_numbers))
    again = (np.diff(frame_numbers[order]) == 0) & (np.diff(ids[order]) == 0)
    if again.any():
        row = order[1:][again][0]
        raise UserError(
            f"{_row(what, row, frame_numbers, ids)} is not the first of this id in this frame; "
            "allowed is one box of an id in a frame"
        )


def check_scores(what: str, rows: TrackRows) -> None:
    """Check that scores are finite and as many as the boxes."""
    check_column(what, "scores", rows.scores, len(rows))
    if not np.isfinite(rows.scores).all():
        row = np.flatnonzero(~np.isfinite(rows.scores))[0]
        raise NonFiniteOutputError(
            f"{_row(what, row, rows.frame_numbers, rows.ids)} has score {rows.scores[row]}, "
            "allowed are finite numbers"
        )


def check_column(what: str, name: str, column: NDArray[np.generic], boxes: int) -> None:
    """Check that a column is as long as the boxes."""
    if column.shape != (boxes,):
        raise ValueError(
            f"{what}: {name} has shape {column.shape}, expected ({boxes},) as for its boxes"
        )


def _row(what: str, row: np.intp, frame_numbers: NDArray[np.int64], ids: NDArray[np.int64]) -> str:
    return f"{what} row {row} (frame {frame_numbers[row]}, id {ids[row]})"
