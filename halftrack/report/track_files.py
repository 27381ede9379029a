"""Track files, written frame by frame while a video runs: text of benchmarks, JSON lines, CSV.

All of them, and video.py's films, are called ``<name>.partial`` until they are complete.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from halftrack.errors import NonFiniteOutputError, UserError, naming_file
from halftrack.frames import Tracks

__all__ = [
    "BoxTextWriter",
    "CsvWriter",
    "JsonLinesWriter",
    "MotTextWriter",
    "PartialFile",
    "TrackWriter",
    "VidTextWriter",
]


class TrackWriter(Protocol):
    """Writer of the tracks of a video, frame by frame, inside a ``with`` block."""

    def __enter__(self) -> Self:
        """Open the file."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; give it its own name if there was no error."""

    def write(self, frame_number: int, tracks: Tracks, time: float | None = None) -> None:
        """Write the tracks of one frame, 1-based; frame numbers must rise."""


class PartialFile:
    """File that is called ``<name>.partial`` until it is complete.

    Args:
        path: the complete file, which is then replaced if it exists; its folder must exist.

    Raises:
        ValueError: if the folder does not exist or the path is a folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        """The complete file."""
        self.partial = self.path.with_name(self.path.name + ".partial")
        """The file while it is written; it stays after an error or Ctrl-C."""
        if not self.path.parent.is_dir():
            raise UserError(f"cannot write {self.path}: there is no folder {self.path.parent}")
        if self.path.is_dir():
            raise UserError(f"cannot write {self.path}: it is a folder, expected a file's name")

    def finish(self, error: BaseException | None, frames: int) -> None:
        """Give the closed file its name or, after an error, add to its notes what was written."""
        if error is None:
            os.replace(self.partial, self.path)
        else:
            error.add_note(f"{frames} frames were written until then; they are in {self.partial}")


class _TextWriter:
    """Base of all text formats: the file, and the checks of the tracks."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._target = PartialFile(path)
        self._file: TextIO | None = None
        self._frames = 0
        self._last_number = 0

    def __enter__(self) -> Self:
        self._file = self._target.partial.open("w", encoding="utf-8", newline="\n")
        self._file.write(self._head())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            with naming_file(self._target.partial):
                self._file.close()
            self._file = None
            self._target.finish(error, self._frames)

    def write(self, frame_number: int, tracks: Tracks, time: float | None = None) -> None:
        """Write the tracks of one frame.

        Args:
            frame_number: 1-based, above the one written before.
            tracks: the tracks seen in the frame; there may be none.
            time: seconds after the first frame; None leaves them out.

        Raises:
            ValueError: if a frame number is out of order, or a box or score is not finite.
        """
        if self._file is None:
            raise ValueError(f"{self._target.path} is not open: write inside a with block")
        if frame_number <= self._last_number:
            raise ValueError(
                f"{self._target.path}: frame number {frame_number} cannot come after "
                f"{self._last_number}; allowed are rising numbers from 1 on"
            )
        for name, values in (("box", tracks.boxes_xyxy), ("score", tracks.scores[:, None])):
            wrong = ~values.isfinite().all(dim=1)
            if wrong.any():
                row = int(wrong.nonzero()[0])
                raise NonFiniteOutputError(
                    f"{self._target.path}: in frame {frame_number} track {int(tracks.ids[row])} "
                    f"has the {name} {values[row].tolist()}, allowed are finite numbers"
                )
        with naming_file(self._target.partial):
            self._file.write(self._text(frame_number, tracks, time))
        self._last_number = frame_number
        self._frames += 1

    def _head(self) -> str:
        return ""

    def _text(self, frame_number: int, tracks: Tracks, time: float | None) -> str:
        raise NotImplementedError


class MotTextWriter(_TextWriter):
    """Writer of MOTChallenge rows, ``frame,id,left,top,width,height,score,-1,-1,-1``.

    A time, where one is given, stands in the last column, which scores of boxes ignore.
    Ids count from 0 in trackers and from 1 in the file; -1, of detections, stays, as in a
    ``det.txt``. Left and top are x1 and y1 unchanged, as in MMTracking 0.14. A frame without tracks
    has no row; a box without width or height is written.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
    """

    def _text(self, frame_number: int, tracks: Tracks, time: float | None) -> str:
        rows = zip(
            tracks.ids.tolist(), tracks.boxes_xyxy.tolist(), tracks.scores.tolist(), strict=True
        )
        last = "-1" if time is None else f"{time:.4f}"
        return "".join(
            f"{frame_number},{track + (track >= 0)},{x1:.3f},{y1:.3f},{x2 - x1:.3f},{y2 - y1:.3f},"
            f"{score:.3f},-1,-1,{last}\n"
            for track, (x1, y1, x2, y2), score in rows
        )


class BoxTextWriter(_TextWriter):
    """Writer of lines ``x,y,w,h``, as kits of single-object tracking take them: a line a frame.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
    """

    def _text(self, frame_number: int, tracks: Tracks, time: float | None) -> str:
        ((x1, y1, x2, y2),) = tracks.boxes_xyxy.tolist()  # one object, in every frame
        return f"{x1:.4f},{y1:.4f},{x2 - x1:.4f},{y2 - y1:.4f}\n"


class VidTextWriter(_TextWriter):
    """Writer of lines ``frame class score x1 y1 x2 y2``, as ImageNet VID's kit takes them.

    Frames and classes count from 1. The kit counts frames over all videos: these are of one.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
    """

    def _text(self, frame_number: int, tracks: Tracks, time: float | None) -> str:
        rows = zip(
            tracks.labels.tolist(), tracks.scores.tolist(), tracks.boxes_xyxy.tolist(), strict=True
        )
        return "".join(
            f"{frame_number} {label + 1} {score:.4f} {x1:.2f} {y1:.2f} {x2:.2f} {y2:.2f}\n"
            for label, score, (x1, y1, x2, y2) in rows
        )


class CsvWriter(_TextWriter):
    """Writer of a table with a row for each box: frame, time, id, corners, score, label, class.

    Frames count from 1, ids and labels from 0; the id of a detection that nobody follows is -1.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
        class_names: names of the classes, in the order of the labels; without, the cell is empty.
    """

    def __init__(self, path: str | os.PathLike[str], class_names: Sequence[str] = ()) -> None:
        super().__init__(path)
        self._class_names = class_names

    def _head(self) -> str:
        return "frame,time,id,x1,y1,x2,y2,score,label,class\n"

    def _text(self, frame_number: int, tracks: Tracks, time: float | None) -> str:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        when = "" if time is None else f"{time:.4f}"
        for track, box, score, label in _rows(tracks):
            corners = [f"{value:.3f}" for value in box]
            name = self._class_names[label] if self._class_names else ""
            table.writerow([frame_number, when, track, *corners, f"{score:.4f}", label, name])
        return text.getvalue()


class JsonLinesWriter(_TextWriter):
    """Writer of lines ``{"frame": 1, "tracks": [{"id", "box_xyxy", "score", "label"}, ...]}``.

    A time, where one is given, stands between the two: ``{"frame": 1, "time": 0.0, "tracks": []}``.
    Ids and labels count from 0, as in trackers; the id of a detection that nobody follows is -1. A
    frame without tracks has an empty list.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
    """

    def _text(self, frame_number: int, tracks: Tracks, time: float | None) -> str:
        entries = [
            {
                "id": track,
                "box_xyxy": [round(value, 3) for value in box],
                "score": round(score, 4),
                "label": label,
            }
            for track, box, score, label in _rows(tracks)
        ]
        when = {} if time is None else {"time": round(time, 4)}
        return json.dumps({"frame": frame_number, **when, "tracks": entries}) + "\n"


def _rows(tracks: Tracks) -> Iterator[tuple[int, list[float], float, int]]:
    """Id, box, score and label of each track."""
    return zip(
        tracks.ids.tolist(),
        tracks.boxes_xyxy.tolist(),
        tracks.scores.tolist(),
        tracks.labels.tolist(),
        strict=True,
    )
