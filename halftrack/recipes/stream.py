"""Track the objects of any video, or one of them, frame by frame, with a recipe that tracks."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

import torch
from torch import nn

from halftrack.data import SourceFrame, VideoSource
from halftrack.data.prefetch import passes
from halftrack.frames import Tracks
from halftrack.recipes.kinds.recipe import Box, Recipe
from halftrack.recipes.names import load_recipe
from halftrack.recipes.opened import Video, check_weights, open_for
from halftrack.recipes.run import choose_device, open_model
from halftrack.recipes.scoring.on_video import VideoTracker

__all__ = ["track"]


def track(
    recipe: Recipe | str,
    source: Video,
    *,
    init_box_xyxy: Box | None = None,
    detections: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: torch.device | str | None = None,
    trust: bool = False,
    load: Callable[[], nn.Module] | None = None,
    say: Callable[[str], None] = print,
) -> Generator[tuple[SourceFrame, Tracks]]:
    """Each frame of a video and the tracks seen in it; memory does not grow with its length.

    A detector gives its detections, as tracks whose ids are -1.

    With ``data.test_batch=N`` the detector sees N frames at once: the first of them is answered
    when all are there, so a live source, which should not wait, takes 1.

    Args:
        recipe: a recipe that tracks all objects, one of single-object tracking, or a detector;
            or its name.
        source: a video file, a folder of frames, a MOT sequence, the images of a video, the number
            of a camera, the address of a stream, or what ``open_video`` made of it, which is
            resized as the recipe says unless it was told a size of its own. Images may be files, or
            pictures of Pillow, uint8 arrays ``(height, width, 3)`` or uint8 tensors ``(3, height,
            width)``, RGB, all of one size. A generator of images is asked from a thread; a loop of
            one's own hands them to ``FrameTracker``.
        init_box_xyxy: the one object in the first frame, in original pixels, for single-object
            tracking alone; it becomes the track with id 0.
        detections: a MOTChallenge det.txt of the video, ``frame,-1,left,top,width,height,score``:
            new tracks start from these boxes, scored and refined by the recipe's own detector.
        checkpoint: the weights, of detector and ReID in one file; None for the files that a
            tracking recipe names.
        device: where to compute; the accelerator, if there is one, if None.
        trust: unpickle any object in a weights file.
        load: gives the model, as ``open_model`` does, instead of ``checkpoint``, ``device`` and
            ``trust``; called when all else is right. With ``functools.cache`` around it, several
            videos read the weights once.
        say: told what was amiss, once the video has ended or the generator is closed.

    Raises:
        DataError: if the video cannot be read.
        ValueError, FileNotFoundError: a recipe that does not track, a first box that is missing or
            not wanted or outside the first frame, weights that are not there.
    """
    recipe = load_recipe(recipe)
    if detections is not None:
        recipe = recipe.beside_detections()
    new_tracker = recipe.video_tracker(init_box_xyxy)
    if load is None:
        check_weights(recipe, checkpoint)
    source = open_for(recipe, source, init_box_xyxy=init_box_xyxy, detections=detections)
    if not source.live and source.count is None:  # of a film it was decoded on opening
        with closing(source.pictures()) as pictures:
            next(pictures, None)  # damage is told before the weights are read
    if load is None:
        load = partial(open_model, recipe, checkpoint, choose_device(device), trust=trust)
    model = load()
    device = next(model.parameters()).device
    return _steps(recipe, new_tracker(model, device, source), source, device, say)


def _steps(
    recipe: Recipe,
    tracker: VideoTracker,
    source: VideoSource,
    device: torch.device,
    say: Callable[[str], None],
) -> Generator[tuple[SourceFrame, Tracks]]:
    precision = recipe.precision
    try:
        for frames in passes(source, tracker.batch):
            answers = tracker.steps(frames)
            for each in frames:
                # For each frame: between two the caller's own code runs, in its own precision.
                with precision.inference(device):
                    tracks = next(answers)
                yield each, tracks
    finally:  # Ctrl-C, the usual end of a camera, too
        for line in (*source.notes, *tracker.notes()):
            say(line)
