"""Errors of a tracker painted into frames, and the moments of a video where they are most."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from halftrack.data.index import Booleans
from halftrack.data.mot.mot_challenge import with_truth
from halftrack.data.mot.records import MotRows, MotSequence
from halftrack.data.tables.seqinfo import MOST_FRAMES
from halftrack.errors import UserError
from halftrack.evaluation.mot_errors import ErrorFinder, FrameErrors
from halftrack.frames import Tracks

__all__ = ["ErrorPainter"]

_MOMENTS = 10
_COLOURS = {"missed": "#ff2020", "false": "#ffd000", "switched": "#ff00ff"}


class ErrorPainter:
    """Paints misses red, false positives yellow and identity switches magenta, frame by frame.

    A moment is a second of the video; of each the frame with most errors is kept.

    Args:
        truth: a gt.txt of MOTChallenge. Rows with flag 0 or of other classes may be tracked or not.
        size: height and width of the frames.
        frame_rate: frames a second.
        classes: names of the classes that are tracked; all are taken for one.

    Raises:
        DataError: if the file is missing or malformed.
        UserError: if it has no object to find.
    """

    def __init__(
        self,
        truth: Path,
        size: tuple[int, int],
        frame_rate: float,
        classes: Sequence[str] = ("pedestrian",),
    ) -> None:
        every = range(1, MOST_FRAMES + 1)
        video = MotSequence(name=truth.stem, folder=truth.parent, frame_numbers=every, size=size)
        self._video = with_truth(video, truth, "MOT17", classes)
        assert self._video.truth is not None
        self._truth = self._video.truth
        if not self._scored(self._truth).any():
            raise UserError(
                f"--show-errors {truth}: no row is of the class {' or '.join(classes)} with flag 1"
            )
        found = self._video.labels(self._truth.select(self._scored(self._truth)))
        lacking = [name for label, name in enumerate(classes) if label not in found]
        self.notes = tuple(
            f"{truth}: no row is of the class {name} with flag 1" for name in lacking
        )
        """A line on each class that is tracked and of which the file has no object to find."""
        self._finder = ErrorFinder()
        self._length = max(1, round(frame_rate))
        self._worst: list[tuple[int, int, str, Image.Image]] = []
        self._moment: tuple[int, int, str, Image.Image] | None = None
        self._errors = 0
        self._most = 0

    def paint(self, number: int, tracks: Tracks, picture: Image.Image) -> None:
        """Paint the errors of the next frame, counted from 1, into its picture."""
        rows = self._truth.in_frame(number)
        scored = self._scored(rows)
        errors = self._finder.step(
            rows.ids[scored],
            rows.boxes_xyxy[scored],
            rows.boxes_xyxy[~scored],
            tracks.ids.numpy(),
            tracks.boxes_xyxy.double().numpy(),
        )
        _draw(picture, errors)
        if (number - 1) % self._length == 0:
            self._close()
        self._errors += len(errors)
        if self._moment is None or len(errors) > self._most:
            self._most = len(errors)
            told = (
                f"frame {number}: {len(errors.missed_xyxy)} missed, {len(errors.false_xyxy)} false,"
                f" {len(errors.switched_xyxy)} switched"
            )
            self._moment = (0, -number, told, picture.copy())

    def worst(self, folder: Path) -> list[str]:
        """Write a picture of each of the ten worst moments; returns lines on them, worst first.

        Pictures of an earlier run in the folder are removed.
        """
        self._close()
        for old in folder.glob("[0-9]*.png"):
            old.unlink()
        lines = []
        for count, negative, told, picture in sorted(self._worst, reverse=True):
            folder.mkdir(exist_ok=True)
            file = folder / f"{-negative:06d}.png"
            picture.save(file)
            lines.append(f"{count} errors in a second, most in {told}: {file}")
        return lines or ["no error"]

    def _scored(self, rows: MotRows) -> Booleans:
        """``(n,)`` True for the rows that a tracker must find."""
        scored: Booleans = rows.flags & self._video.wanted(rows)
        return scored

    def _close(self) -> None:
        """End a moment; it is kept if it is among the worst so far and has an error."""
        if self._moment is not None and self._errors:
            _, number, told, picture = self._moment
            heapq.heappush(self._worst, (self._errors, number, told, picture))
            if len(self._worst) > _MOMENTS:
                heapq.heappop(self._worst)
        self._moment, self._errors, self._most = None, 0, 0


def _draw(picture: Image.Image, errors: FrameErrors) -> None:
    draw = ImageDraw.Draw(picture)
    line = max(2, round(min(picture.size) / 160))
    for name, colour in _COLOURS.items():
        boxes: np.ndarray = getattr(errors, f"{name}_xyxy")
        for x1, y1, x2, y2 in boxes.tolist():
            draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=line)
