"""Can sequences be scored: ground truth in all of them or in none, and something in it that counts?

``eval`` asks before it tracks, and ``data check`` asks the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from halftrack.data.index import Booleans
from halftrack.data.mot.config import Benchmark
from halftrack.data.mot.records import MotRows, MotSequence
from halftrack.data.problems import Problem

__all__ = ["unscorable"]


def unscorable(sequences: Sequence[MotSequence], benchmark: Benchmark) -> dict[Path, Problem]:
    """The problem of each sequence that keeps the others from being scored, by folder.

    Where no sequence has ground truth there is none: results are then for a server.
    """
    problems: dict[Path, Problem] = {}
    if all(sequence.truth is None for sequence in sequences):
        return problems
    for sequence in sequences:
        if sequence.truth is None:
            reason = "ground truth is missing here, though other sequences have theirs"
        elif not _counted(sequence.truth, benchmark).any():
            first, last = sequence.frame_numbers.start, sequence.frame_numbers.stop - 1
            kind = "flag 1" if benchmark == "MOT15" else "class 1 (pedestrian) and flag 1"
            reason = (
                f"none of its {len(sequence.truth)} rows in the frames {first} to {last} is "
                f"scored, expected some with {kind}"
            )
        else:
            continue
        file = str(sequence.folder / "gt" / "gt.txt")
        problems[sequence.folder] = Problem(file, reason)
    return problems


def _counted(rows: MotRows, benchmark: Benchmark) -> Booleans:
    """The rows that scores are computed from."""
    if benchmark == "MOT15":
        return rows.flags
    counted: Booleans = np.logical_and(rows.flags, rows.classes == 1)
    return counted
