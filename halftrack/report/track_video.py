"""Track a video and write its tracks as text, JSON lines, a table and a film."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from torch import nn

from halftrack.data import SourceFrame, VideoSource
from halftrack.errors import UserError
from halftrack.frames import Tracks
from halftrack.recipes import Recipe, track
from halftrack.recipes.opened import Video, check_errors_shown, open_for
from halftrack.report.drawing import Trails, draw_tracks
from halftrack.report.output_names import claim_name
from halftrack.report.track_files import (
    BoxTextWriter,
    CsvWriter,
    JsonLinesWriter,
    MotTextWriter,
    VidTextWriter,
)
from halftrack.report.video import VideoWriter

if TYPE_CHECKING:
    from halftrack.report.track_errors import ErrorPainter
    from halftrack.report.window import Window

__all__ = ["TrackedVideo", "track_video"]

_ENDINGS = (".txt", ".jsonl", ".csv", ".mp4")
_TEXTS = {
    "mot": MotTextWriter,
    "det": MotTextWriter,
    "sot": BoxTextWriter,
    "vid": VidTextWriter,
}
_LEAST_SCORE = 0.5  # of a detection that the film shows; the other files have all of them


@dataclass(frozen=True, kw_only=True)
class TrackedVideo:
    """Result of tracking a video: counts, notes and files."""

    name: str
    """Name of the files, without their endings."""
    frames: int
    """Number of frames."""
    tracks: int
    """Number of ids that were given; of detections, which have none, the number of boxes."""
    seconds: float
    """Time from the first frame to the last, reading, drawing and writing included."""
    notes: tuple[str, ...]
    """Problems that were met, as lines of text."""
    files: tuple[Path, ...]
    """Files that were written."""
    worst: tuple[str, ...] = ()
    """The ten worst moments as lines, worst first, where errors were asked for."""


def track_video(
    recipe: Recipe,
    video: Video,
    out: Path,
    *,
    init_box: tuple[float, float, float, float] | None = None,
    checkpoint: str | Path | None = None,
    load: Callable[[], nn.Module] | None = None,
    film: bool = True,
    show_errors: Path | None = None,
    window: Window | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> TrackedVideo:
    """Track a video and write ``<name>`` as ``.txt``, ``.jsonl``, ``.csv`` and ``.mp4``.

    The text is that of the recipe's benchmark: MOTChallenge, LaSOT or ImageNet VID. Tracks of
    another video of this name are never replaced: the files are numbered, with a note. Film, JSON
    lines and table keep the times of the frames, and so does MOTChallenge's text (in its last
    column) where frames are not evenly spaced. Ctrl-C ends a live video, and closing the window any
    video; its files are then complete.

    Args:
        recipe: a recipe that tracks all objects, one of single-object tracking, or SELSA.
        video: a video file, a folder of frames or a MOT sequence, a camera or stream, images, or
            one of these as ``open_for`` opened it, with another detector's boxes perhaps.
        out: a folder, which is made if it does not exist.
        init_box: xyxy of the object in the first frame (single-object tracking only).
        checkpoint: the weights; None for the files that a tracking recipe names.
        load: gives the model instead of ``checkpoint``, see ``track``.
        film: write the mp4 too.
        show_errors: the video's gt.txt: errors are painted into the film, and the ten worst moments
            are written as ``<name>_errors/<frame>.png`` (tracktor recipes).
        window: shows the film too, while it is made.
        progress: called after each frame with (frames done, frames in all or None).

    Raises:
        DataError: if the video cannot be read.
        ValueError, FileNotFoundError: if the recipe or its weights do not fit, or if a file would
            replace the video.
    """
    if show_errors is not None:
        check_errors_shown(recipe)
    source = open_for(recipe, video, init_box_xyxy=init_box)
    painter = None
    if show_errors is not None:
        from halftrack.report.track_errors import ErrorPainter  # here: it takes SciPy

        painter = ErrorPainter(show_errors, source.size, source.frame_rate, recipe.data.class_names)
    if source.origin in [os.path.realpath(out / f"{source.name}{end}") for end in _ENDINGS]:
        raise UserError(
            f"{source.origin} would be replaced by its own tracks: choose another --out"
        )
    notes: list[str] = [] if painter is None else [*painter.notes]
    steps = track(
        recipe,
        source,
        init_box_xyxy=init_box,
        checkpoint=checkpoint,
        load=load,
        say=notes.append,
    )
    # Behind all that can be refused, so that a mistake leaves nothing; before the work, so that a
    # folder that cannot be written to is told at once.
    out.mkdir(parents=True, exist_ok=True)
    name = claim_name(out, source.name, source.origin, _ENDINGS)
    if name != source.name:
        notes.append(f"{out} holds another video's {source.name}: files are called {name}")
    written = _Files(out / name, recipe, source, film=film, painter=painter, window=window)
    with written as files, closing(steps):
        start = time.perf_counter()
        with suppress(KeyboardInterrupt) if source.live else nullcontext():
            for each, tracks in steps:
                files.write(each, tracks)
                if progress is not None:
                    progress(files.frames, source.num_frames)
                if window is not None and window.closed:
                    notes.append(f"{source.name}: the window was closed at frame {files.frames}")
                    break
        seconds = time.perf_counter() - start
    return TrackedVideo(
        name=name,
        frames=files.frames,
        tracks=len(files.ids) + files.detections,
        seconds=seconds,
        notes=tuple(notes),
        files=files.paths,
        worst=() if painter is None else tuple(painter.worst(out / f"{name}_errors")),
    )


class _Files:
    """The files of a video while it is tracked, inside a ``with`` block."""

    def __init__(
        self,
        stem: Path,
        recipe: Recipe,
        source: VideoSource,
        *,
        film: bool,
        painter: ErrorPainter | None,
        window: Window | None,
    ) -> None:
        names: Sequence[str] = getattr(recipe.data, "class_names", ())
        text, lines, table, mp4 = (stem.with_name(stem.name + ending) for ending in _ENDINGS)
        self.paths = (text, lines, table, mp4) if film else (text, lines, table)
        self.frames = 0
        self.ids = set[int]()
        self.detections = 0
        self._text = _TEXTS[recipe.text_format](text)
        self._tables = JsonLinesWriter(lines), CsvWriter(table, names)
        # One class alone, as pedestrians, needs no word at every box.
        self._names = names if len(names) > 1 else None
        self._varying = source.varying_rate
        self._trails = Trails()
        self._painter = painter
        self._window, self._aspect = window, source.pixel_aspect
        self._film = None
        if film:
            self._film = VideoWriter(
                mp4,
                size=source.size,
                frame_rate=source.frame_rate,
                pixel_aspect=source.pixel_aspect,
            )
        self._stack = ExitStack()

    def __enter__(self) -> _Files:
        with ExitStack() as stack:
            for writer in (self._text, *self._tables):
                stack.enter_context(writer)
            if self._film is not None:
                stack.enter_context(self._film)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def write(self, each: SourceFrame, tracks: Tracks) -> None:
        """Write the tracks of the next frame."""
        self.frames += 1
        self._text.write(self.frames, tracks, each.time if self._varying else None)
        for table in self._tables:
            table.write(self.frames, tracks, each.time)
        if any(each is not None for each in (self._film, self._painter, self._window)):
            picture = self._picture(each, tracks)
            if self._painter is not None:
                self._painter.paint(self.frames, tracks, picture)
            if self._film is not None:
                self._film.write(picture, each.time)
            if self._window is not None:
                self._window.show(picture, self._aspect)
        followed = tracks.ids >= 0
        self.ids.update(tracks.ids[followed].tolist())
        self.detections += int((~followed).sum())

    def _picture(self, each: SourceFrame, tracks: Tracks) -> Image.Image:
        rows = (tracks.ids >= 0) | (tracks.scores >= _LEAST_SCORE)
        shown = Tracks(
            ids=tracks.ids[rows],
            boxes_xyxy=tracks.boxes_xyxy[rows],
            scores=tracks.scores[rows],
            labels=tracks.labels[rows],
        )
        if bool((shown.ids >= 0).all()):
            self._trails.add(shown)
        return draw_tracks(each.image, shown, trails=self._trails, class_names=self._names)
