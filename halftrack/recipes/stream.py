"""Follow the objects of any video, or one of them, frame by frame, with a recipe that tracks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from halftrack.data import SourceFrame, VideoSource, open_video
from halftrack.frames import Tracks
from halftrack.recipes.kinds.multi_object import TrackingRecipe, motion_notes
from halftrack.recipes.kinds.recipe import Recipe
from halftrack.recipes.kinds.single_object import SingleObjectRecipe
from halftrack.recipes.run import choose_device, open_model
from halftrack.tracking import SiameseTracker

__all__ = ["follow", "track"]


def track(
    recipe: Recipe,
    source: str | Path | VideoSource,
    *,
    checkpoint: str | Path | None = None,
    device: torch.device | str | None = None,
    trust: bool = False,
    say: Callable[[str], None] = print,
) -> Iterator[tuple[SourceFrame, Tracks]]:
    """Each frame of a video and the tracks seen in it; memory does not grow with its length.

    Args:
        recipe: a tracking recipe.
        source: a video file, a folder of frames, a MOT sequence, or what ``open_video`` made of it,
            which is resized as the recipe says unless it was told a size of its own.
        checkpoint: weights of detector and ReID in one file; None for the files the recipe names.
        device: where to compute; the accelerator, if there is one, if None.
        trust: unpickle any object in a weights file.
        say: told what was amiss, once the video has ended.

    Raises:
        DataError: if the video cannot be read.
        ValueError, FileNotFoundError: a recipe that does not track, weights that are not there.
    """
    if not isinstance(recipe, TrackingRecipe):
        raise ValueError(f"{recipe.name} does not track: {recipe.summary}; take a tracktor_ recipe")
    if recipe.data.public:
        raise ValueError(
            f"{recipe.name} takes its boxes from a public detector, and a video has none: take its "
            "private twin, or --set data.public=False"
        )
    if not isinstance(source, VideoSource):
        source = open_video(source)
    if source.image_scale is None:
        source = replace(source, image_scale=recipe.data.image_scale)
    device = choose_device(device)
    model = open_model(recipe, checkpoint, device, trust=trust)
    return _steps(recipe, model, source, device, say)


def follow(
    recipe: Recipe,
    source: str | Path | VideoSource,
    box_xyxy: tuple[float, float, float, float],
    *,
    checkpoint: str | Path,
    device: torch.device | str | None = None,
    trust: bool = False,
) -> Iterator[tuple[SourceFrame, Tracks]]:
    """Each frame of a video and where one object is, as the track with id 0.

    Args:
        recipe: a recipe of single-object tracking.
        source: a video file, a folder of frames, or what ``open_video`` made of it.
        box_xyxy: the object in the first frame, in original pixels.
        checkpoint: the weights.
        device: where to compute; the accelerator, if there is one, if None.
        trust: unpickle any object in a weights file.

    Raises:
        DataError: if the video cannot be read.
        ValueError, FileNotFoundError: a recipe that follows nobody, weights that are not there, and
            at the first frame a box that is not in it.
    """
    if not isinstance(recipe, SingleObjectRecipe):
        raise ValueError(f"{recipe.name} follows no single object: take a siamese_rpn_ recipe")
    if not isinstance(source, VideoSource):
        source = open_video(source)
    device = choose_device(device)
    model = open_model(recipe, checkpoint, device, trust=trust)
    return _follow(recipe, model, source, torch.tensor(box_xyxy, device="cpu"), device)


def _follow(
    recipe: SingleObjectRecipe,
    model: nn.Module,
    source: VideoSource,
    box_xyxy: Tensor,
    device: torch.device,
) -> Iterator[tuple[SourceFrame, Tracks]]:
    tracker, precision = SiameseTracker(model, recipe.tracker), recipe.precision  # type: ignore[arg-type]
    zero, score = torch.zeros(1, dtype=torch.int64, device="cpu"), 1.0
    for number, each in enumerate(source):
        with precision.inference(device):
            if number:
                box_xyxy, score = tracker.step(each.image)
            else:
                tracker.start(each.image, box_xyxy)
        scores = torch.tensor([score], device="cpu")
        yield each, Tracks(ids=zero, boxes_xyxy=box_xyxy[None], scores=scores, labels=zero)


def _steps(
    recipe: TrackingRecipe,
    model: nn.Module,
    source: VideoSource,
    device: torch.device,
    say: Callable[[str], None],
) -> Iterator[tuple[SourceFrame, Tracks]]:
    tracker, precision = recipe.new_tracker(model), recipe.precision
    for each in source:
        # Entered for each frame: between two the caller's own code runs, in its own precision.
        with precision.inference(device):
            tracks = tracker.step(each.frame.to(device))
        yield each, tracks
    for line in motion_notes(tracker):
        say(line)
