"""Synthetic video for any recipe that is trained: its own model, and data that need no download."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from halftrack.data import Progress
from halftrack.recipes import (
    FrameDetectionRecipe,
    ReIDRecipe,
    SingleObjectRecipe,
    TrainedRecipe,
    VideoDetectionRecipe,
)
from halftrack.synthetic import SYNTHETIC_CLASSES, SyntheticVideo, write_synthetic

__all__ = ["film_for", "reading_sample"]

RecipeT = TypeVar("RecipeT", bound=TrainedRecipe)

_VIDEOS = 8  # enough individuals for a batch of the published ReID


def reading_sample(recipe: RecipeT) -> RecipeT:
    """The recipe with synthetic video in place of its data sets; sizes and sampling stay its own.

    Raises:
        ValueError: if its model tells fewer classes apart than the synthetic video has.
    """
    if isinstance(recipe, VideoDetectionRecipe):
        classes = recipe.model.roi_head.classes
        if classes < len(SYNTHETIC_CLASSES):
            raise ValueError(
                f"model.roi_head.classes={classes}: "
                f"synthetic video has {len(SYNTHETIC_CLASSES)} classes"
            )
        video = replace(
            recipe.data,
            classes=SYNTHETIC_CLASSES,
            training_sets=("vid",),
            training_json=(),
            test_json="",
        )
        return replace(recipe, data=video)
    if isinstance(recipe, FrameDetectionRecipe):
        return replace(recipe, data=replace(recipe.data, benchmark="MOT17", detectors="all"))
    if isinstance(recipe, ReIDRecipe):
        return replace(recipe, data=replace(recipe.data, benchmark="MOT17", detectors="FRCNN"))
    assert isinstance(recipe, SingleObjectRecipe)
    pairs = replace(
        recipe.data,
        training_sets=("lasot",),
        set_weights=(1.0,),
        lasot_split="train",
        sequences_left_out=(),
    )
    return replace(recipe, data=pairs)


def film_for(
    recipe: TrainedRecipe,
    root: Path,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Path:
    """Write synthetic video in the layout of a recipe's data; returns the data root.

    Args:
        recipe: whose layout.
        root: a new or empty folder, or one that holds synthetic video.
        seed: of the films.
        progress: told (videos filmed, videos in all).

    Raises:
        FileExistsError: if ``root`` holds anything else.
    """
    layouts = {VideoDetectionRecipe: "vid", SingleObjectRecipe: "sot"}
    settings = SyntheticVideo(
        layout=layouts.get(type(recipe), "mot"),  # type: ignore[arg-type]
        seed=seed,
        train_videos=_VIDEOS,
        val_videos=1,
    )
    return write_synthetic(root, settings, overwrite=True, progress=progress)
