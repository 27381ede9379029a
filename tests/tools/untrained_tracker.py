"""A tracker of random weights on a few synthetic frames: it finds much, and nothing right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from halftrack.recipes import TrackingRecipe, load_recipe, override
from halftrack.synthetic import SyntheticVideo, write_synthetic

SETTINGS = (
    "tracker.detection_score=0.0",
    "tracker.regression_score=0.0",
    "detector.roi_head.score_threshold=0.0",
    "detector.roi_head.max_detections=8",
)
"""With these it tracks something although it has learned nothing."""


def write_tracker(folder: Path, *, frames: int = 8) -> tuple[TrackingRecipe, Path]:
    """A recipe whose weights lie in the folder, and the data to track in."""
    films = SyntheticVideo(layout="mot", train_videos=0, val_videos=1, frames=frames)
    data_root = write_synthetic(folder / "data", films)
    recipe = load_recipe("tracktor_tiny_sample")
    assert isinstance(recipe, TrackingRecipe)
    assert recipe.reid is not None
    recipe = replace(recipe, reid=replace(recipe.reid, num_identities=3), camera_motion=None)
    model = recipe.build_model()
    parts = {}
    for part in ("detector", "reid"):
        parts[part] = str(folder / f"{part}.pth")
        torch.save(getattr(model, part).state_dict(), parts[part])
    return override(recipe.with_parts(**parts), SETTINGS), data_root
