"""Track the objects of any video, or one of them, frame by frame, with a recipe that tracks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from halftrack.data import SourceFrame, VideoSource, open_video
from halftrack.data.files import is_live
from halftrack.data.mot.tables import read_detections
from halftrack.data.prefetch import passes
from halftrack.data.tables.seqinfo import MOST_FRAMES
from halftrack.errors import UserError
from halftrack.frames import Tracks
from halftrack.recipes.kinds.recipe import Recipe
from halftrack.recipes.live import open_live
from halftrack.recipes.run import choose_device, open_model
from halftrack.recipes.scoring.on_video import VideoTracker

__all__ = ["open_source", "track"]


def open_source(source: str | Path | Sequence[Path]) -> VideoSource:
    """A video file or folder, the images of a video, or a camera or stream by number or address.

    Raises:
        DataError: if it cannot be read.
    """
    if isinstance(source, str) and is_live(source):
        return open_live(source)
    return open_video(source)


def _with_detections(source: VideoSource, file: Path) -> VideoSource:
    """The video with a detector's boxes in each frame.

    Raises:
        DataError: if the file is missing or malformed.
        ValueError: for a live video.
    """
    if source.live:
        raise UserError(f"--detections {file}: {source.name} is live: take a file or a folder")
    rows, odd = read_detections(file, MOST_FRAMES, source.size)
    notes = [f"{file}: {count} {what}" for what, count in odd.items() if count]
    length = source.num_frames
    if length is not None and (behind := int((rows.frame_numbers > length).sum())):
        notes.append(f"{file}: {behind} detections lie behind the last frame, {length}")

    def boxes(index: int) -> Tensor:
        here = rows.in_frame(index + 1).boxes_xyxy
        return torch.tensor(here.astype(np.float32), device="cpu")

    return replace(source, public=boxes, notes=(*source.notes, *notes))


def track(
    recipe: Recipe,
    source: str | Path | VideoSource,
    *,
    init_box_xyxy: tuple[float, float, float, float] | None = None,
    detections: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: torch.device | str | None = None,
    trust: bool = False,
    say: Callable[[str], None] = print,
) -> Iterator[tuple[SourceFrame, Tracks]]:
    """Each frame of a video and the tracks seen in it; memory does not grow with its length.

    A recipe of video detection gives its detections, as tracks whose ids are -1.

    With ``data.test_batch=N`` the detector sees N frames at once: the first of them is answered
    when all are there, so a live source, which should not wait, takes 1.

    Args:
        recipe: a recipe that tracks all objects, one of single-object tracking, or SELSA.
        source: a video file, a folder of frames, a MOT sequence, the number of a camera, the
            address of a stream, or what ``open_video`` made of it, which is resized as the recipe
            says unless it was told a size of its own.
        init_box_xyxy: the one object in the first frame, in original pixels, for single-object
            tracking alone; it becomes the track with id 0.
        detections: a MOTChallenge det.txt of the video, ``frame,-1,left,top,width,height,score``:
            new tracks start from these boxes, scored and refined by the recipe's own detector.
        checkpoint: the weights, of detector and ReID in one file; None for the files that a
            tracking recipe names.
        device: where to compute; the accelerator, if there is one, if None.
        trust: unpickle any object in a weights file.
        say: told what was amiss, once the video has ended.

    Raises:
        DataError: if the video cannot be read.
        ValueError, FileNotFoundError: a recipe that does not track, a first box that is missing or
            not wanted or outside the first frame, weights that are not there.
    """
    if detections is not None:
        recipe = recipe.beside_detections()
    new_tracker = recipe.video_tracker(init_box_xyxy)
    if checkpoint is None and recipe.needs_checkpoint:
        raise UserError(f"{recipe.name} needs weights to track with: give a checkpoint")
    if not isinstance(source, VideoSource):
        source = open_source(source)
    source = recipe.video_source(source)
    if detections is not None:
        source = _with_detections(source, Path(detections))
    if init_box_xyxy is not None:
        _check_inside(init_box_xyxy, source.size)
    device = choose_device(device)
    model = open_model(recipe, checkpoint, device, trust=trust)
    return _steps(recipe, new_tracker(model, device, source), source, device, say)


def _check_inside(box_xyxy: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    """Make sure, before the weights are read, that some of the first box lies in the first frame.

    Raises:
        ValueError: if nothing of it does.
    """
    x1, y1, x2, y2 = box_xyxy
    height, width = size
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise UserError(
            f"the first box (--init-box), from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}), is wholly "
            f"outside the image of width {width} and height {height}"
        )


def _steps(
    recipe: Recipe,
    tracker: VideoTracker,
    source: VideoSource,
    device: torch.device,
    say: Callable[[str], None],
) -> Iterator[tuple[SourceFrame, Tracks]]:
    precision = recipe.precision
    for frames in passes(source, tracker.batch):
        answers = tracker.steps(frames)
        for each in frames:
            # Entered for each frame: between two the caller's own code runs, in its own precision.
            with precision.inference(device):
                tracks = next(answers)
            yield each, tracks
    for line in (*source.notes, *tracker.notes()):
        say(line)
