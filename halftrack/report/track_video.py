"""Track a video and write its tracks as text, JSON lines and a film."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from halftrack.data import open_video
from halftrack.errors import UserError
from halftrack.recipes import Recipe, track
from halftrack.report.drawing import Trails, draw_tracks
from halftrack.report.output_names import claim_name
from halftrack.report.track_files import JsonLinesWriter, MotTextWriter
from halftrack.report.video import VideoWriter

__all__ = ["TrackedVideo", "track_video"]

_ENDINGS = (".txt", ".jsonl", ".mp4")


@dataclass(frozen=True, kw_only=True)
class TrackedVideo:
    """Result of tracking a video: counts, notes and files."""

    frames: int
    """Number of frames."""
    tracks: int
    """Number of ids that were given."""
    notes: tuple[str, ...]
    """Problems that were met, as lines of text."""
    files: tuple[Path, ...]
    """Files that were written."""


def track_video(
    recipe: Recipe,
    video: str | Path,
    out: Path,
    *,
    init_box: tuple[float, float, float, float] | None = None,
    checkpoint: str | Path | None = None,
    device: torch.device | str | None = None,
    trust: bool = False,
    film: bool = True,
    progress: Callable[[int, int | None], None] | None = None,
) -> TrackedVideo:
    """Track a video and write ``<name>.txt``, ``<name>.jsonl`` and ``<name>.mp4`` into ``out``.

    Tracks of another video of this name are never replaced: the files are numbered, with a note.
    Film and JSON lines keep the times of the frames, and so does the text (in its last column)
    where frames are not evenly spaced.

    Args:
        recipe: a recipe that tracks all objects, or one of single-object tracking.
        video: a video file, a folder of frames or a MOT sequence.
        out: a folder, which is made if it does not exist.
        init_box: xyxy of the object in the first frame (single-object tracking only).
        checkpoint: the weights; None for the files that a tracking recipe names.
        device: the device to compute on; None for the accelerator, if there is one.
        trust: unpickle any object in a weights file.
        film: write the mp4 too.
        progress: called after each frame with (frames done, frames in all or None).

    Raises:
        DataError: if the video cannot be read.
        ValueError, FileNotFoundError: if the recipe or its weights do not fit, or if a file would
            replace the video.
    """
    source = open_video(video)
    files = [out / f"{source.name}{ending}" for ending in _ENDINGS]
    if Path(video).resolve() in [file.resolve() for file in files]:
        raise UserError(f"{video} would be replaced by its own tracks: choose another --out")
    notes: list[str] = []
    steps = track(
        recipe,
        source,
        init_box_xyxy=init_box,
        checkpoint=checkpoint,
        device=device,
        trust=trust,
        say=notes.append,
    )
    # Behind all that can be refused, so that a mistake leaves nothing; before the work, so that a
    # folder that cannot be written to is told at once.
    out.mkdir(parents=True, exist_ok=True)
    name = claim_name(out, source.name, video, _ENDINGS)
    files = [out / f"{name}{ending}" for ending in _ENDINGS]
    if name != source.name:
        notes.append(f"{out} holds another video's {source.name}: files are called {name}")
    trails = Trails()
    seen: set[int] = set()
    done = 0
    with ExitStack() as stack:
        text = stack.enter_context(MotTextWriter(files[0]))
        lines = stack.enter_context(JsonLinesWriter(files[1]))
        picture = None
        if film:
            writer = VideoWriter(
                files[2],
                size=source.size,
                frame_rate=source.frame_rate,
                pixel_aspect=source.pixel_aspect,
            )
            picture = stack.enter_context(writer)
        for done, (each, tracks) in enumerate(steps, start=1):
            text.write(done, tracks, each.time if source.varying_rate else None)
            lines.write(done, tracks, each.time)
            if picture is not None:
                trails.add(tracks)
                picture.write(draw_tracks(each.image, tracks, trails=trails), each.time)
            seen.update(tracks.ids.tolist())
            if progress is not None:
                progress(done, source.num_frames)
    return TrackedVideo(
        frames=done,
        tracks=len(seen),
        notes=tuple(notes),
        files=tuple(files if film else files[:2]),
    )
