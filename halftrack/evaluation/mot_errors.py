"""Errors of a tracker frame by frame, as CLEAR counts them: misses, false positives, switches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from halftrack.boxes import iou

__all__ = ["ErrorFinder", "FrameErrors"]

_LEAST_IOU = 0.5
_KEPT = 1000.0  # more than any sum of overlaps: pairs of the frame before stay together


@dataclass(frozen=True, kw_only=True)
class FrameErrors:
    """Boxes of a frame that are wrong, each ``(n, 4)`` in original pixels."""

    missed_xyxy: NDArray[np.float64]
    """Objects that no track found."""
    false_xyxy: NDArray[np.float64]
    """Tracks on no object."""
    switched_xyxy: NDArray[np.float64]
    """Objects found under another id than the last time."""

    def __len__(self) -> int:
        return len(self.missed_xyxy) + len(self.false_xyxy) + len(self.switched_xyxy)


class ErrorFinder:
    """Finds the errors of one video's tracks, one frame after the other.

    Objects and tracks are paired where they overlap by half (IoU); pairs of the frame before are
    kept first, as in CLEAR (Bernardin and Stiefelhagen 2008) and TrackEval.
    """

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def step(
        self,
        objects: NDArray[np.int64],
        objects_xyxy: NDArray[np.float64],
        ignored_xyxy: NDArray[np.float64],
        ids: NDArray[np.int64],
        boxes_xyxy: NDArray[np.float64],
    ) -> FrameErrors:
        """The errors in the next frame.

        Args:
            objects: ``(n,)`` ids of the objects.
            objects_xyxy: ``(n, 4)`` their boxes.
            ignored_xyxy: ``(k, 4)`` what may be tracked or not.
            ids: ``(m,)`` ids of the tracks.
            boxes_xyxy: ``(m, 4)`` their boxes.
        """
        overlaps = _iou(objects_xyxy, boxes_xyxy)
        kept = np.array([[self._before.get(int(o)) == int(t) for t in ids] for o in objects])
        good = overlaps >= _LEAST_IOU
        worth = np.where(good, overlaps + _KEPT * kept.reshape(overlaps.shape), 0.0)
        rows, columns = linear_sum_assignment(-worth)
        found = good[rows, columns]
        rows, columns = rows[found], columns[found]
        pairs = {int(objects[r]): int(ids[c]) for r, c in zip(rows, columns, strict=True)}
        switched = [
            r for r, o in zip(rows, pairs, strict=True) if self._last.get(o, pairs[o]) != pairs[o]
        ]
        self._before = pairs
        self._last |= pairs
        others = np.delete(boxes_xyxy, columns, axis=0)
        forgiven = (_iou(others, ignored_xyxy) >= _LEAST_IOU).any(axis=1)
        return FrameErrors(
            missed_xyxy=np.delete(objects_xyxy, rows, axis=0),
            false_xyxy=others[~forgiven],
            switched_xyxy=objects_xyxy[switched],
        )


def _iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    overlaps: NDArray[np.float64] = iou(torch.from_numpy(one), torch.from_numpy(other)).numpy()
    return overlaps
