"""Sequences that lack a file which is asked for, or any row that scores count.

Training and ``eval`` ask before they begin, and ``data check`` asks the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from halftrack.data.index import Booleans
from halftrack.data.mot.config import Benchmark
from halftrack.data.mot.records import MotRows, MotSequence, learned_rows
from halftrack.data.problems import Problem

__all__ = ["lacking", "nothing_to_detect", "unscorable"]


def lacking(
    sequences: Sequence[MotSequence], *, truth: bool, detections: bool | Path
) -> dict[Path, Problem]:
    """The missing file of each sequence that lacks one which training or testing asks for.

    Args:
        sequences: as read.
        truth: ground truth is asked for.
        detections: public detections are, of ``det/det.txt`` or of this pickle.
    """
    problems = {}
    for each in sequences:
        if truth and each.truth is None:
            file, reason = each.truth_file, "ground truth is missing"
        elif detections and each.detections is None:
            file = each.folder / "det" / "det.txt"
            reason = "public=True asks for public detections, which are not here"
            if isinstance(detections, Path):
                file, reason = detections, f"it names no frame of {each.name}"
        else:
            continue
        problems[each.folder] = Problem(str(file), reason)
    return problems


def nothing_to_detect(sequences: Sequence[MotSequence], *, flag_zero: bool) -> Problem | None:
    """The problem of sequences on which no detector can be scored; None if one can.

    Args:
        sequences: all with ground truth.
        flag_zero: objects with flag 0 count too.
    """
    if any(len(learned_rows(each, flag_zero=flag_zero)[0]) for each in sequences):
        return None
    folders = ", ".join(str(sequence.folder) for sequence in sequences) or "no sequence"
    names = " or ".join(dict.fromkeys(name for each in sequences for name in each.classes))
    return Problem(folders, f"no {names} inside the frames that are tested to score with")


def unscorable(sequences: Sequence[MotSequence], benchmark: Benchmark) -> dict[Path, Problem]:
    """The problem of each sequence that keeps others from a tracker's scores, by folder.

    Where no sequence has ground truth there is none: results are then for a server.
    """
    problems: dict[Path, Problem] = {}
    if all(sequence.truth is None for sequence in sequences):
        return problems
    for sequence in sequences:
        if sequence.truth is None:
            reason = "ground truth is missing here, though other sequences have theirs"
        elif not _counted(sequence, sequence.truth, benchmark).any():
            first, last = sequence.frame_numbers.start, sequence.frame_numbers.stop - 1
            wanted = zip(sequence.numbers, sequence.classes, strict=True)
            named = " or ".join(f"{number} ({name})" for number, name in wanted)
            kind = "flag 1" if benchmark == "MOT15" else f"class {named} and flag 1"
            reason = (
                f"none of its {len(sequence.truth)} rows in the frames {first} to {last} is "
                f"scored, expected some with {kind}"
            )
        else:
            continue
        problems[sequence.folder] = Problem(str(sequence.truth_file), reason)
    return problems


def _counted(sequence: MotSequence, rows: MotRows, benchmark: Benchmark) -> Booleans:
    """The rows that scores are computed from."""
    if benchmark == "MOT15":
        return rows.flags
    counted: Booleans = np.logical_and(rows.flags, sequence.wanted(rows))
    return counted
