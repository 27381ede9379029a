"""Multi-object tracking scores: CLEAR, Identity and HOTA by TrackEval, MOTChallenge's own kit.

MMTracking 0.14 takes CLEAR and Identity from motmetrics. On its golden tracks MOTA, IDF1, FP, FN,
IDSW and Frag agree exactly, yet:

- MOTP is the mean IoU of matches here and the mean distance, 1 - IoU, there.
- An object followed for exactly 80% of its frames is partly tracked here, mostly tracked there.
- Pre-processing: both drop results on distractors, but TrackEval pairs results with objects for
  the greatest sum of IoUs, motmetrics for the most pairs; in crowds other rows can go.
- motmetrics prefers an object's old match also after frames in which it was missed, TrackEval only
  from one frame to the next, so identity switches can differ.

HOTA is TrackEval's in both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from halftrack.data.tables.seqinfo import MOST_FRAMES
from halftrack.errors import UserError
from halftrack.evaluation.mot_results import TrackRows, check_column, check_rows, check_scores
from halftrack.evaluation.names import check_names
from halftrack.evaluation.trackeval_kit import run_trackeval, write_table

__all__ = [
    "Benchmark",
    "MotMetrics",
    "SequenceMetrics",
    "SequenceTruth",
    "check_truth",
    "score_tracks",
]

Benchmark = Literal["MOT15", "MOT16", "MOT17", "MOT20"]
"""Benchmark that sets the rules: MOT15 has no classes and no pre-processing, and vehicles are
distractors in MOT20 too."""

_PEDESTRIAN, _LAST_CLASS = 1, 13
_MOST_MEMORY = 4 << 30


@dataclass(frozen=True, kw_only=True)
class SequenceTruth:
    """Ground truth of one sequence, or of its evaluated part: the rows of its gt.txt."""

    name: str
    """Name of the sequence, as in the results."""
    frames: int
    """Length of the whole sequence, which is its last frame number."""
    frame_numbers: NDArray[np.int64]
    """``(n,)``, 1-based in the whole sequence, even if only its second half is evaluated."""
    ids: NDArray[np.int64]
    """``(n,)`` id of each box's object."""
    boxes_xyxy: NDArray[np.float64]
    """``(n, 4)`` in original pixels."""
    flags: NDArray[np.int64]
    """``(n,)``; boxes with flag 0 are not evaluated."""
    classes: NDArray[np.int64]
    """``(n,)`` MOTChallenge's classes: 1 pedestrian, ...; ignored for MOT15, which has none."""
    visibility: NDArray[np.float64]
    """``(n,)`` visible share of each box; the official evaluation does not use it."""
    first_frame: int = 1
    """First frame number that is evaluated; results before it are an error."""


@dataclass(frozen=True, kw_only=True)
class SequenceMetrics:
    """Scores of one sequence, or of all together. Ratios lie in [0, 1]; MOTA can be negative."""

    mota: float
    """1 minus false positives, misses and identity switches per object box (CLEAR)."""
    motp: float
    """Mean IoU of the matches at IoU 0.5; 0 without matches."""
    idf1: float
    """F1 of boxes under the best one-to-one assignment of identities."""
    idp: float
    """Precision of IDF1's assignment."""
    idr: float
    """Recall of IDF1's assignment."""
    hota: float
    """Higher order tracking accuracy; HOTA, DetA, AssA and LocA are means over IoU 0.05 to 0.95."""
    deta: float
    """Detection accuracy, the part of HOTA for detection."""
    assa: float
    """Association accuracy, the part of HOTA for association."""
    loca: float
    """Localisation accuracy, the mean IoU of HOTA's matches; 1 without matches, as in TrackEval."""
    recall: float
    """Share of the object boxes that were found, at IoU 0.5."""
    precision: float
    """Share of the result boxes that are on an object, at IoU 0.5."""
    fp: int
    """False positives: result boxes on no object."""
    fn: int
    """Misses (false negatives): object boxes without a result box."""
    idsw: int
    """Identity switches."""
    mt: int
    """Objects mostly tracked: in more than 80% of their frames."""
    pt: int
    """Objects partly tracked."""
    ml: int
    """Objects mostly lost: tracked in less than 20% of their frames."""
    frag: int
    """Fragmentations: how often objects were found again after an interruption."""
    gt_dets: int
    """Number of object boxes that count."""

    def flat(self) -> dict[str, float]:
        """All numbers by name, as logged; none is NaN."""
        return {name: float(value) for name, value in asdict(self).items()}

    def row(self) -> dict[str, object]:
        """A table row under MOTChallenge's column names; ratios in percent with one decimal."""
        return {
            column: round(100 * value, 1) if isinstance(value, float) else value
            for column, value in zip(_COLUMNS, asdict(self).values(), strict=True)
        }


_COLUMNS = (
    *("MOTA", "MOTP", "IDF1", "IDP", "IDR", "HOTA", "DetA", "AssA", "LocA", "Rcll", "Prcn"),
    *("FP", "FN", "IDSW", "MT", "PT", "ML", "Frag", "GT_Dets"),
)


@dataclass(frozen=True, kw_only=True)
class MotMetrics:
    """Scores of a multi-object tracker on a benchmark."""

    combined: SequenceMetrics
    """Scores over all sequences, from the summed counts: not the mean of the ratios."""
    by_sequence: dict[str, SequenceMetrics]
    """Scores of each sequence, in the order of the truths."""

    def flat(self) -> dict[str, float]:
        """The combined numbers by name, as logged: ``mota``, ``idf1``, ``hota``, ..."""
        return self.combined.flat()

    def rows(self) -> list[dict[str, object]]:
        """A table under MOTChallenge's column names: a row for each sequence, then COMBINED."""
        everything = {**self.by_sequence, "COMBINED": self.combined}
        return [{"Sequence": name, **each.row()} for name, each in everything.items()]


def score_tracks(
    truths: Sequence[SequenceTruth],
    results: Mapping[str, TrackRows],
    *,
    benchmark: Benchmark = "MOT17",
    preprocess: bool = True,
) -> MotMetrics:
    """Score tracks with CLEAR, Identity and HOTA as MOTChallenge does, by TrackEval.

    A result without rows is scored (all objects are missed); a sequence without a result is an
    error. Frames without truth outside the evaluated part change none of these numbers.

    Args:
        truths: the ground truth of each sequence.
        results: the tracks by the name of the sequence.
        benchmark: the benchmark whose rules are used.
        preprocess: do as the server does: remove results on distractors (classes 2, 7, 8, 12; 6 in
            MOT20), then count pedestrians with a flag other than 0. Without it, and always in
            MOT15, nothing is removed and every row with a flag other than 0 counts, whatever its
            class.

    Raises:
        ValueError: if something cannot be scored; names sequence and row, and what is allowed.
    """
    if benchmark not in get_args(Benchmark):
        raise ValueError(f"benchmark {benchmark!r}, allowed are {', '.join(get_args(Benchmark))}")
    names = [each.name for each in truths]
    check_names(names, results, hint=" (a result may have no rows)")
    for truth in truths:
        check_truth(truth, benchmark=benchmark, preprocess=preprocess)
        what = f"result of {truth.name!r}"
        rows = results[truth.name]
        span = (truth.first_frame, truth.frames)
        check_rows(what, rows.frame_numbers, rows.ids, rows.boxes_xyxy, allowed=span)
        check_scores(what, rows)
        _check_memory(what, truth, rows)
    # TrackEval sees numbers for names: to it they are paths, and one could be COMBINED_SEQ.
    keys = [f"{position:05d}" for position in range(len(truths))]
    with tempfile.TemporaryDirectory(prefix="halftrack_mot_") as folder:
        for key, truth in zip(keys, truths, strict=True):
            _write_truth(Path(folder) / "truth" / f"{key}.txt", truth)
            _write_rows(Path(folder) / "trackers" / "it" / f"{key}.txt", results[truth.name])
        lengths = {key: each.frames for key, each in zip(keys, truths, strict=True)}
        scored = run_trackeval(Path(folder), lengths, benchmark=benchmark, preprocess=preprocess)
    return MotMetrics(
        combined=_metrics(scored["COMBINED_SEQ"]["pedestrian"]),
        by_sequence={
            truth.name: _metrics(scored[key]["pedestrian"])
            for key, truth in zip(keys, truths, strict=True)
        },
    )


def check_truth(
    truth: SequenceTruth, *, benchmark: Benchmark = "MOT17", preprocess: bool = True
) -> None:
    """Check that a sequence's ground truth can be scored, before hours of tracking are spent.

    Raises:
        ValueError: if it cannot; names sequence and row, and what is allowed.
    """
    by_class = preprocess and benchmark != "MOT15"
    what = f"ground truth of {truth.name!r}"
    if not 1 <= truth.first_frame <= truth.frames <= MOST_FRAMES:
        raise ValueError(
            f"{what} has first_frame {truth.first_frame} and {truth.frames} frames, "
            f"allowed is 1 <= first_frame <= frames <= {MOST_FRAMES}"
        )
    for name in ("flags", "classes", "visibility"):
        check_column(what, name, getattr(truth, name), len(truth.boxes_xyxy))
    span = (truth.first_frame, truth.frames)
    check_rows(what, truth.frame_numbers, truth.ids, truth.boxes_xyxy, allowed=span)
    counts = truth.flags != 0
    if by_class:
        odd = np.flatnonzero((truth.classes < _PEDESTRIAN) | (truth.classes > _LAST_CLASS))
        if len(odd):
            raise UserError(
                f"{what} row {odd[0]} has class {truth.classes[odd[0]]}, allowed are "
                f"{_PEDESTRIAN} to {_LAST_CLASS}"
            )
        counts &= truth.classes == _PEDESTRIAN
    if not counts.any():
        kind = "a pedestrian (class 1) with flag other than 0" if by_class else "flag other than 0"
        raise UserError(f"{what}: none of its {len(counts)} rows counts, expected {kind}")


def _check_memory(what: str, truth: SequenceTruth, rows: TrackRows) -> None:
    """Check that TrackEval's tables of objects by tracks fit into memory, before it asks for it.

    Raises:
        UserError: if they take more than 4 GiB; of the longest published sequence it is 0.2.
    """
    objects, tracks = len(np.unique(truth.ids)), len(np.unique(rows.ids))
    # Identity has two square tables of both together, HOTA one of objects by tracks a threshold.
    numbers = 2 * (objects + tracks) ** 2 + 22 * objects * tracks
    frames = min(truth.frames, MOST_FRAMES) + 1
    in_frame = [
        np.bincount(each.frame_numbers, minlength=frames).astype(np.float64)
        for each in (truth, rows)
    ]
    pairs = float(in_frame[0] @ in_frame[1])
    needed = 8 * (numbers + pairs)
    if needed > _MOST_MEMORY:
        raise UserError(
            f"{what} has {tracks} ids and {len(rows)} rows, its ground truth {objects} ids and "
            f"{len(truth.ids)} rows: scoring takes {needed / 2**30:.0f} GiB, allowed are "
            f"{_MOST_MEMORY >> 30}; has each box an id of its own, or each frame too many boxes?"
        )


def _write_truth(path: Path, truth: SequenceTruth) -> None:
    """Write MOT17's columns, for MOT15 too: TrackEval needs a class there and ignores it."""
    tail = np.stack([truth.flags, truth.classes, truth.visibility], axis=1)
    write_table(path, truth.frame_numbers, truth.ids, truth.boxes_xyxy, tail)


def _write_rows(path: Path, rows: TrackRows) -> None:
    tail = np.concatenate([rows.scores[:, None], np.full((len(rows), 3), -1.0)], axis=1)
    write_table(path, rows.frame_numbers, rows.ids, rows.boxes_xyxy, tail)


def _metrics(scored: Mapping[str, Mapping[str, Any]]) -> SequenceMetrics:
    clear, identity, hota = scored["CLEAR"], scored["Identity"], scored["HOTA"]
    return SequenceMetrics(
        mota=float(clear["MOTA"]),
        motp=float(clear["MOTP"]),
        idf1=float(identity["IDF1"]),
        idp=float(identity["IDP"]),
        idr=float(identity["IDR"]),
        hota=float(np.mean(hota["HOTA"])),
        deta=float(np.mean(hota["DetA"])),
        assa=float(np.mean(hota["AssA"])),
        loca=float(np.mean(hota["LocA"])),
        recall=float(clear["CLR_Re"]),
        precision=float(clear["CLR_Pr"]),
        fp=int(clear["CLR_FP"]),
        fn=int(clear["CLR_FN"]),
        idsw=int(clear["IDSW"]),
        mt=int(clear["MT"]),
        pt=int(clear["PT"]),
        ml=int(clear["ML"]),
        frag=int(clear["Frag"]),
        gt_dets=int(clear["CLR_TP"] + clear["CLR_FN"]),
    )
