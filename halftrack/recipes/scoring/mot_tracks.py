"""Sequences of MOTChallenge around a tracker: truth, tracks as rows, camera motion that is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from halftrack.data import DataError
from halftrack.data.mot import MotSequences, TestSequence
from halftrack.data.mot.classes import CLASS_NAMES
from halftrack.data.tables.box_columns import looks_like_corners
from halftrack.evaluation import SequenceTruth, TrackRows
from halftrack.frames import Frame, Tracks
from halftrack.layers import normalise_and_pad
from halftrack.tracking import EccMotion, Tracktor, UncorrelatedFramesError

__all__ = [
    "CollectedTracks",
    "CountedMotion",
    "has_truth",
    "lost_frames",
    "motion_notes",
    "result_notes",
    "sequence_truth",
]


class CollectedTracks:
    """Collects a tracker's answers into rows."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._tracks: list[Tracks] = []

    def add(self, frame_number: int, tracks: Tracks) -> None:
        """Append what was seen in a frame, counted from 1."""
        self._numbers += [frame_number] * len(tracks)
        self._tracks.append(tracks)

    def rows(self) -> TrackRows:
        """Everything so far."""
        boxes = torch.cat([torch.zeros((0, 4)), *(each.boxes_xyxy for each in self._tracks)])
        ids = [key for each in self._tracks for key in each.ids.tolist()]
        scores = [score for each in self._tracks for score in each.scores.tolist()]
        return TrackRows(
            frame_numbers=np.array(self._numbers, dtype=np.int64),
            ids=np.array(ids, dtype=np.int64),
            boxes_xyxy=boxes.double().numpy(),
            scores=np.array(scores, dtype=np.float64),
        )


class CountedMotion:
    """The camera's motion between frames; none where no motion aligns them, which is counted.

    Args:
        ecc: the estimate.
        normalised: compare the images as the network sees them, as MMTracking does. Each channel
            has its own standard deviation, so the grey of the two kinds of images differs a little.
    """

    def __init__(self, ecc: EccMotion, *, normalised: bool) -> None:
        self._ecc = ecc
        self._normalised = normalised
        self.lost: list[str] = []
        """Names of the frames whose motion was not found."""

    def __call__(self, previous: Frame, frame: Frame) -> Tensor:
        """The motion ``(2, 3)`` from one frame to the next; none where nothing aligns them."""
        try:
            return self._ecc(self._image(previous), self._image(frame))
        except UncorrelatedFramesError:
            self.lost.append(frame.sample_id)
            return torch.eye(2, 3, device=frame.image.device)

    def _image(self, frame: Frame) -> Tensor:
        return normalise_and_pad([frame.image], divisor=1)[0] if self._normalised else frame.image


def lost_frames(tracker: Tracktor) -> list[str]:
    """Names of the frames whose camera motion a recipe's tracker did not find."""
    motion = tracker.camera_motion
    return motion.lost if isinstance(motion, CountedMotion) else []


def motion_notes(lost: Sequence[str]) -> list[str]:
    """A line on the frames whose camera motion was not found, if there are any."""
    if not lost:
        return []
    more = "" if len(lost) == 1 else f" and {len(lost) - 1} more"
    return [f"no camera motion aligned {lost[0]}{more}: taken as none"]


def has_truth(sequences: MotSequences) -> bool:
    """True if the sequences, which were opened to be scored, have ground truth."""
    return any(each.truth is not None for each in sequences)


def result_notes(
    folder: Path, sequences: MotSequences, results: Mapping[str, TrackRows]
) -> list[str]:
    """Lines on what looks odd in result files, each file looked at.

    Raises:
        DataError: if a file's boxes are corners in the place of left, top, width and height.
    """
    empty = [name for name, rows in results.items() if not len(rows)]
    for sequence in sequences:
        rows = results[sequence.name]
        corner = rows.boxes_xyxy[:, :2]
        columns = np.concatenate([corner, rows.boxes_xyxy[:, 2:] - corner], axis=1)
        row = looks_like_corners(columns, sequence.size, rows.ids)
        if row is not None:
            raise DataError(
                str(folder / f"{sequence.name}.txt"),
                f"the row of frame {rows.frame_numbers[row]}, id {rows.ids[row] + 1}, and others: "
                "the columns 3 to 6 look like x1, y1, x2, y2; expected left, top, width, height",
            )
    return [f"no row, so all objects are missed: {', '.join(empty)}"] if empty else []


def sequence_truth(sequence: TestSequence, numbers: Sequence[int] | None = None) -> SequenceTruth:
    """The ground truth of a sequence, or of some of its frames.

    The official kit scores pedestrians and forgives results on some other classes. Where classes
    are others, or named otherwise, those tracked are given to it as pedestrians, and nothing is
    forgiven.
    """
    rows, record = sequence.truth, sequence.record
    assert rows is not None
    if record.classes != ("pedestrian",) or record.class_names != CLASS_NAMES:
        rows = rows.select(record.wanted(rows))
        rows = replace(rows, classes=np.ones_like(rows.classes))
    if numbers is not None:
        rows = rows.select(np.isin(rows.frame_numbers, numbers))
    return SequenceTruth(
        name=sequence.name,
        frames=sequence.frame_numbers.stop - 1,
        first_frame=sequence.frame_numbers.start,
        frame_numbers=rows.frame_numbers,
        ids=rows.ids,
        boxes_xyxy=rows.boxes_xyxy,
        flags=rows.flags.astype(np.int64),
        classes=rows.classes,
        visibility=rows.visibility,
    )
