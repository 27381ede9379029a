"""The people of MOTChallenge sequences for re-identification: which boxes of them make crops.

Must agree with MMTracking 0.14's mot2reid: which crops, and their edges.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from halftrack.data.index import Integers
from halftrack.data.mot.crops.records import Crops
from halftrack.data.mot.records import MotRows, MotSequence, learned_rows

__all__ = ["Identity", "crops_of", "find_identities"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Identity:
    """One individual of one sequence, in all its boxes that make a crop."""

    sequence: int
    """Position of the sequence among those given."""
    number: int
    """The individual's id in the sequence."""
    frame_numbers: Integers
    """``(n,)`` frame of each crop, 1-based."""
    edges_xyxy: Integers
    """``(n, 4)`` first and last column and row of each crop."""


def find_identities(
    sequences: Sequence[MotSequence], *, min_visibility: float, flag_zero: bool = False
) -> list[Identity]:
    """The individuals with at least one crop, sorted by sequence and id.

    A crop's edges are the box's, rounded towards zero, moved into the image and both included, as
    mmcv's imcrop has them. Boxes that do not touch their image make none, unlike in mot2reid.

    Args:
        sequences: with ground truth.
        min_visibility: boxes of which a smaller share can be seen are left out.
        flag_zero: pedestrians with flag 0 make crops too.

    Raises:
        DataError: if a sequence has no ground truth.
    """
    identities = []
    for position, sequence in enumerate(sequences):
        rows, _ = learned_rows(sequence, flag_zero=flag_zero)
        rows = rows.select(rows.visibility >= min_visibility)
        for number in np.unique(rows.ids).tolist():
            own = rows.select(rows.ids == number)
            identities.append(
                Identity(
                    sequence=position,
                    number=number,
                    frame_numbers=own.frame_numbers,
                    edges_xyxy=_edges(own, sequence.size),
                )
            )
    return identities


def crops_of(
    sequences: Sequence[MotSequence],
    identities: Sequence[Identity],
    *,
    min_crops: int,
    max_crops: int,
) -> Crops:
    """The crops of those individuals that have enough of them.

    Args:
        sequences: what ``Identity.sequence`` counts.
        identities: in label order, those left out not counted.
        min_crops: individuals with fewer are left out.
        max_crops: most crops of an individual. Of more than these some are drawn from the
            individual's name, not in mot2reid's way, whose choice follows from the order in which
            a file system lists files.
    """
    kept: list[Identity] = []
    names: list[str] = []
    chosen: list[Integers] = []
    for identity in identities:
        total = len(identity.frame_numbers)
        if total < min_crops:
            continue
        name = f"{sequences[identity.sequence].name}/{identity.number}"
        rows = np.arange(total)
        if total > max_crops:
            rows = np.array(sorted(random.Random(name).sample(range(total), max_crops)))
        kept.append(identity)
        names.append(name)
        chosen.append(rows)
    counts = [len(rows) for rows in chosen]
    none = np.empty(0, dtype=np.int64)
    pairs = list(zip(kept, chosen, strict=True))
    frame_numbers = [identity.frame_numbers[rows] for identity, rows in pairs]
    edges = [identity.edges_xyxy[rows] for identity, rows in pairs]
    positions = np.array([identity.sequence for identity in kept], dtype=np.int64)
    return Crops(
        sequences=tuple(sequences),
        sequence=np.repeat(positions, counts),
        frame_numbers=np.concatenate([none, *frame_numbers]),
        edges_xyxy=np.concatenate([none.reshape(0, 4), *edges]),
        labels=np.repeat(np.arange(len(kept)), counts),
        names=tuple(names),
        rare=len(identities) - len(kept),
    )


def _edges(rows: MotRows, size: tuple[int, int]) -> Integers:
    height, width = size
    limit = np.array([width - 1, height - 1] * 2)
    return rows.boxes_xyxy.astype(np.int64).clip(0, limit)
