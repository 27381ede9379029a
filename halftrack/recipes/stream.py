"""Follow the objects of any video, frame by frame, with a tracking recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from halftrack.data import SourceFrame, VideoSource, open_video
from halftrack.frames import Tracks
from halftrack.recipes.multi_object import TrackingRecipe, motion_notes
from halftrack.recipes.recipe import Recipe
from halftrack.recipes.run import choose_device, open_model

__all__ = ["track"]


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
        with torch.no_grad(), precision.arithmetic(device), precision.autocast(device):
            tracks = tracker.step(each.frame.to(device))
        yield each, tracks
    for line in motion_notes(tracker):
        say(line)
