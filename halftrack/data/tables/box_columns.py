"""Do four columns hold left, top, width, height, or the corners x1, y1, x2, y2 in their place?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from halftrack.data.files import shortened
from halftrack.errors import UserError

__all__ = ["FARTHEST", "first_wrong_box", "looks_like_corners", "odd_boxes", "read_number"]

FARTHEST = 1e6
"""Most that a coordinate may be, either way: beyond it float32 has no tenths of a pixel."""

# Of real boxes with left < width and top < height throughout, hardly one has its centre outside.
_SHARE_OUTSIDE = 0.1
# Rows and pixels of motion below which sizes that follow positions could be chance.
_LEAST_ROWS, _LEAST_MOTION = 8, 2.0

Doubles = npt.NDArray[np.float64]


def read_number(text: str) -> float:
    """The number in a text, as numpy reads it: Python takes 1_0 and digits of any script too.

    Raises:
        UserError: if it is none; the message has no file.
    """
    try:
        if "_" not in text and text.strip().isascii():
            return float(text)
    except ValueError:
        pass
    raise UserError(f"{shortened(text.strip())} is not a number")


def first_wrong_box(ltwh: Doubles, *, nan: bool = False) -> tuple[int, str] | None:
    """Row and fault of the first box that is none: not finite, too far out, of negative size.

    Args:
        ltwh: ``(n, 4)`` as written.
        nan: boxes of NaN stand for none and are no fault.
    """
    if len(ltwh) == 0:
        return None
    # NaN compares as false, so it goes the long way.
    if ltwh.min() >= -FARTHEST and ltwh.max() <= FARTHEST and ltwh[:, 2:].min() >= 0:
        return None
    size_is_negative = (ltwh[:, 2] < 0) | (ltwh[:, 3] < 0)
    beyond = np.abs(ltwh) > FARTHEST
    if not nan:
        beyond |= np.isnan(ltwh)
    faults = size_is_negative | beyond.any(axis=1)
    if not faults.any():
        return None
    row = int(np.argmax(faults))
    if not np.isfinite(ltwh[row]).all() and beyond[row].any():
        return row, "a value is not finite"
    if beyond[row].any():
        return row, f"a coordinate is beyond {FARTHEST:g}"
    width, height = ltwh[row, 2:].tolist()
    return row, (
        f"width {width:g} and height {height:g}, allowed is 0 or more; are these x1,y1,x2,y2 "
        "with the corners exchanged?"
    )


def looks_like_corners(
    boxes: Doubles, size: tuple[int, int], tracks: Doubles | npt.NDArray[np.int64] | None = None
) -> int | None:
    """The first row that shows the columns to be x1, y1, x2, y2; None where they may be ltwh.

    They must be possible corners in every row. Then either boxes read as left, top, width, height
    have their centre outside the image where the corners lie in it, or sizes change with positions
    so exactly that the differences of the columns are what stays.

    Args:
        boxes: ``(n, 4)`` the columns.
        size: height and width of the image.
        tracks: ``(n,)`` the object of each box; None if all are of one.
    """
    # In most files the first rows tell.
    for some in (boxes[:100], boxes):
        if len(some) == 0 or not (some[:, 2:] > some[:, :2]).all():
            return None
    height, width = size
    # Corners count from 0 or 1, and boxes may leave their image a little.
    if not (boxes[:, 2:] <= np.array([width, height]) * 1.25).all():
        return None
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    outside = (centres > np.array([width, height])).any(axis=1)
    if outside.mean() >= _SHARE_OUTSIDE:
        return int(np.argmax(outside))
    numbers = np.zeros(len(boxes), dtype=np.int64)
    if tracks is not None:
        numbers = np.unique(tracks, return_inverse=True)[1]
    moved, differed = _spread(boxes[:, 2:], numbers), _spread(boxes[:, 2:] - boxes[:, :2], numbers)
    enough = len(boxes) - len(np.unique(numbers)) >= _LEAST_ROWS
    if enough and moved > _LEAST_MOTION and differed * 4 < moved:
        return 0
    return None


def odd_boxes(ltwh: Doubles, size: tuple[int, int]) -> dict[str, int]:
    """Counts of boxes ``(n, 4)`` that look odd in an image of this height and width, by kind."""
    left, top, wide, high = np.ascontiguousarray(ltwh.T)
    height, width = size
    leaving = (left < 0) | (top < 0) | (left + wide > width + 1) | (top + high > height + 1)
    return {
        "boxes that leave their image": int(leaving.sum()),
        "boxes larger than their image": int(((wide > width) | (high > height)).sum()),
        "boxes without area": int(((wide == 0) | (high == 0)).sum()),
    }


def _spread(values: Doubles, groups: npt.NDArray[np.int64]) -> float:
    """Root mean square by which ``(n, 2)`` values differ from the mean of their group."""
    counts = np.bincount(groups)
    total = 0.0
    for column in values.T:
        means = np.bincount(groups, weights=column) / np.maximum(counts, 1)
        total += float(np.square(column - means[groups]).mean())
    return float(np.sqrt(total))
