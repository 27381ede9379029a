"""Motion of objects: FGFA's motion IoU and the groups slow, medium and fast.

Zhu et al. 2017, arXiv 1703.10025, section 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from halftrack.evaluation.overlaps import paired_iou
from halftrack.frames import FrameTruth

__all__ = ["motion_groups", "motion_iou"]


def motion_iou(truths: Sequence[FrameTruth], *, reach: int = 10) -> list[NDArray[np.float64]]:
    """Compute each box's mean IoU with the same object's boxes in nearby frames (inclusive boxes).

    Args:
        truths: ground truth, videos one after another.
        reach: number of frames before and after that count as nearby.

    Returns:
        ``(n,)`` for each frame. A box without another one nearby gets 0, which counts as fast:
        FGFA's file of motion IoUs is empty there, and its code reads that as 0.
    """
    counts = np.asarray([len(each.labels) for each in truths], dtype=np.int64)
    total = int(counts.sum())
    if not total:
        return [np.zeros(0) for _ in truths]
    boxes = np.concatenate([each.boxes_xyxy for each in truths]).astype(np.float64)
    frames = np.repeat(np.arange(len(truths)), counts)
    # Frames of different videos can be neighbours: the video is part of the individual's name.
    videos = np.unique([each.video for each in truths], return_inverse=True)[1]
    tracks = np.concatenate([each.track_ids for each in truths]).astype(np.int64)
    names = np.stack([videos[frames], tracks], axis=1)
    individuals = np.unique(names, axis=0, return_inverse=True)[1].ravel()
    # Gaps longer than the reach between individuals, so that a search never strays into another's.
    keys = individuals * (len(truths) + reach + 1) + frames
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    overlap, neighbours = np.zeros(total), np.zeros(total)
    for step in range(1, reach + 1):
        place = np.searchsorted(ranked, ranked + step)
        found = ranked[np.minimum(place, total - 1)] == ranked + step
        here, there = order[found], order[place[found]]
        iou = paired_iou(boxes[here], boxes[there])
        for rows in (here, there):
            # add.at: rows repeat where one track is annotated twice in a frame.
            np.add.at(overlap, rows, iou)
            np.add.at(neighbours, rows, 1.0)
    mean = overlap / np.maximum(neighbours, 1.0)
    return np.split(mean, np.cumsum(counts)[:-1])


def motion_groups(
    motion: Sequence[NDArray[np.float64]],
) -> dict[str, list[NDArray[np.bool_]]]:
    """Group boxes by motion IoU: ``slow`` (0.9 or more), ``medium`` (0.7 or more) and ``fast``."""
    return {
        "slow": [value >= 0.9 for value in motion],
        "medium": [(value >= 0.7) & (value < 0.9) for value in motion],
        "fast": [value < 0.7 for value in motion],
    }
