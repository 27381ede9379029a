"""Single-object result files, a line ``x,y,w,h`` a frame, and the packages that servers take.

LaSOT's, OTB100's and UAV123's kits read a folder of ``<sequence>.txt``. GOT-10k and TrackingNet
publish only the first box of each test sequence and score zip files on their servers. Left and top
are x1 and y1 unchanged: ground truth is read as written, so if it counts pixels from 1, a tracker
that starts from it does too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.typing import NDArray

from halftrack.data.files import read_text, shortened
from halftrack.data.tables.box_columns import FARTHEST, read_number
from halftrack.errors import UserError
from halftrack.evaluation.result_folder import ResultFolder, read_folder

__all__ = [
    "check_boxes",
    "pack_got10k",
    "pack_trackingnet",
    "read_box_folder",
    "read_boxes",
    "write_boxes",
]

_COLUMNS = "x,y,w,h"
_LARGEST = 1 << 28


def write_boxes(path: Path, boxes_xyxy: NDArray[np.floating]) -> None:
    """Write one sequence's boxes as LaSOT, TrackingNet and GOT-10k take them: lines ``x,y,w,h``.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
        boxes_xyxy: ``(n, 4)``, one a frame, with the first; written with four decimals.

    Raises:
        ValueError: if a box is not finite, or its x2 or y2 is less than x1 or y1; names the frame.
    """
    path.write_text(_text("track", boxes_xyxy), encoding="utf-8")


def read_boxes(path: Path) -> NDArray[np.float64]:
    """Read one sequence's boxes ``(n, 4)`` xyxy from lines ``x,y,w,h``, written by any tracker.

    Numbers may be separated by commas, tabs or spaces.

    Raises:
        ValueError: if the file is empty or a line is malformed; names file and line, quotes the
            text and says what is allowed.
    """
    text = read_text(path, what="result file", limit=_LARGEST)
    lines = text.rstrip().splitlines()
    if not lines:
        raise UserError(f"{path} is empty, expected a line {_COLUMNS} for each frame")
    table = [
        _parse(f"{path}, line {n}: {shortened(line, 100)}", line)
        for n, line in enumerate(lines, start=1)
    ]
    boxes = np.asarray(table)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def read_box_folder(folder: Path, sequences: Sequence[str]) -> ResultFolder[NDArray[np.float64]]:
    """Read the boxes in ``<sequence>.txt`` of each sequence.

    Raises:
        ValueError: if the folder or a file is missing (lists the files that are there), or if
            :func:`read_boxes` cannot read a file.
    """
    return read_folder(folder, sequences, read_boxes)


def pack_got10k(
    path: Path,
    results: Mapping[str, NDArray[np.floating]],
    seconds: Mapping[str, NDArray[np.floating]],
) -> None:
    """Write the zip file that GOT-10k's server takes.

    Each sequence has a folder with ``<sequence>_001.txt``, the boxes of its only run, and
    ``<sequence>_time.txt``, a line a frame.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
        results: ``(n, 4)`` boxes xyxy of each sequence, with the first frame's.
        seconds: ``(n,)`` time that each frame of the sequence took.

    Raises:
        ValueError: if no server would take a box, or if a sequence has not as many times as boxes;
            names the sequence.

    Source: the got10k toolkit's ExperimentGOT10k; MMTracking 0.14 writes the same files, but with
    0.04 s for every frame.
    """
    members = {}
    for name, boxes_xyxy in results.items():
        members[f"{name}/{name}_001.txt"] = _text(f"track of {name!r}", boxes_xyxy)
        times = seconds.get(name, np.zeros(0))
        if times.shape != boxes_xyxy.shape[:1]:
            raise ValueError(
                f"track of {name!r} has {len(boxes_xyxy)} boxes and times of shape {times.shape}, "
                f"expected one time a box"
            )
        members[f"{name}/{name}_time.txt"] = "".join(f"{each:.8f}\n" for each in times.tolist())
    _pack(path, members)


def pack_trackingnet(path: Path, results: Mapping[str, NDArray[np.floating]]) -> None:
    """Write the zip file that TrackingNet's server takes: ``<sequence>.txt`` without folders.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
        results: ``(n, 4)`` boxes xyxy of each sequence, with the first frame's.

    Raises:
        ValueError: if no server would take a box; names sequence and frame.

    Source: TrackingNet-devkit's metrics.py, which reads it; MMTracking 0.14 writes the same.
    """
    members = {f"{name}.txt": _text(f"track of {name!r}", each) for name, each in results.items()}
    _pack(path, members)


def check_boxes(what: str, boxes_xyxy: NDArray[np.generic]) -> None:
    """Check that an array has the shape of boxes."""
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise ValueError(f"{what}: boxes_xyxy has shape {boxes_xyxy.shape}, expected (n, 4)")


def _pack(path: Path, members: Mapping[str, str]) -> None:
    with ZipFile(path, "w", compression=ZIP_DEFLATED) as package:
        for name, text in members.items():
            package.writestr(name, text)


def _text(what: str, boxes_xyxy: NDArray[np.floating]) -> str:
    """The lines of one sequence."""
    check_boxes(what, boxes_xyxy)
    boxes = boxes_xyxy.astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    wrong = np.flatnonzero(~(np.isfinite(boxes).all(axis=1) & (sides >= 0).all(axis=1)))
    if len(wrong):
        raise UserError(
            f"{what} frame {wrong[0]} has the box {boxes[wrong[0]].tolist()}, allowed are finite "
            "numbers x1 <= x2, y1 <= y2"
        )
    lines = np.concatenate([boxes[:, :2], sides], axis=1).tolist()
    return "".join(",".join(f"{value:.4f}" for value in line) + "\n" for line in lines)


def _parse(what: str, line: str) -> list[float]:
    cells = re.split(r"\s*,\s*|\s+", line.strip())
    if len(cells) != 4:
        raise UserError(f"{what} has {len(cells)} columns, expected 4: {_COLUMNS}")
    try:
        values = [read_number(cell) for cell in cells]
    except UserError as error:
        raise UserError(f"{what}: {error}, expected numbers: {_COLUMNS}") from None
    if not all(math.isfinite(value) for value in values) or min(values[2:]) < 0:
        raise UserError(f"{what}: allowed are finite numbers, width and height not below 0")
    if max(map(abs, values)) > FARTHEST:
        raise UserError(f"{what} has a box beyond {FARTHEST:g} pixels")
    return values
