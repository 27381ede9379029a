"""Images handed over one by one are tracked as those of a video are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import halftrack
from halftrack.data import DataError
from halftrack.frames import Tracks
from halftrack.recipes import FrameTracker, Recipe, load_recipe, override
from halftrack.recipes.scoring.on_video import DetectorOnVideo

DETECTOR, ALL, ONE = (f"{name}_tiny_sample" for name in ("faster-rcnn", "tracktor", "siamese_rpn"))
IMAGES = np.random.default_rng(0).integers(256, size=(4, 64, 96, 3), dtype=np.uint8)


def recipe_of(name: str) -> Recipe:
    """A recipe for small images; a detector that has learned nothing still finds something."""
    changes = {} if name == ONE else {"data.image_scale": (96, 64)}
    if name != ONE:
        part = "model" if name == DETECTOR else "detector"
        changes[f"{part}.roi_head.score_threshold"] = 0.0
        changes[f"{part}.roi_head.max_detections"] = 5
    if name == ALL:
        changes |= {"reid": None, "tracker.detection_score": 0.0, "tracker.regression_score": 0.0}
    return override(load_recipe(name), changes)


def weights(recipe: Recipe, folder: Path) -> Path:
    torch.save({"state_dict": recipe.build_model().state_dict()}, folder / "some.pth")
    return folder / "some.pth"


def same(one: Tracks, other: Tracks) -> bool:
    return all(torch.equal(vars(one)[name], vars(other)[name]) for name in vars(one))


@pytest.mark.parametrize(
    ("name", "box"), [(DETECTOR, None), (ALL, None), (ONE, (20.0, 16.0, 50.0, 40.0))]
)
def test_the_tracks_are_those_of_the_video(
    name: str, box: tuple[float, float, float, float] | None, tmp_path: Path
) -> None:
    recipe = recipe_of(name)
    at = {"checkpoint": weights(recipe, tmp_path), "init_box_xyxy": box}
    expected = [tracks for _, tracks in halftrack.track(recipe, list(IMAGES), **at)]
    tracker = FrameTracker(recipe, **at)
    found = [tracker.step(image) for image in IMAGES]
    assert all(len(tracks) for tracks in found)
    assert all(map(same, found, expected))
    assert (int(found[0].ids[0]) == -1) == (name == DETECTOR)
    tracker.reset(init_box_xyxy=box)
    assert same(tracker.step(IMAGES[0]), expected[0])


def test_what_cannot_be_tracked_is_refused_before_the_loop(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="faster-rcnn_tiny_sample needs weights to track with"):
        FrameTracker(recipe_of(DETECTOR))
    with pytest.raises(ValueError, match="finds its objects itself: leave out the first box"):
        FrameTracker(recipe_of(DETECTOR), init_box_xyxy=(0, 0, 9, 9))
    with pytest.raises(ValueError, match="does not track"):
        FrameTracker("reid_tiny_sample")
    recipe = recipe_of(ONE)
    tracker = FrameTracker(
        recipe, checkpoint=weights(recipe, tmp_path), init_box_xyxy=(200, 0, 240, 9)
    )
    with pytest.raises(ValueError, match="wholly outside the image of width 96 and height 64"):
        tracker.step(IMAGES[0])


def test_an_image_of_another_size_is_refused_as_in_a_video(tmp_path: Path) -> None:
    recipe = recipe_of(DETECTOR)
    tracker = FrameTracker(recipe, checkpoint=weights(recipe, tmp_path))
    tracker.step(IMAGES[0])
    with pytest.raises(DataError, match=r"images/000001: frame 1 is 64x90 .* first one is 64x96"):
        tracker.step(IMAGES[1][:, :90])
    assert len(tracker.step(IMAGES[1]))


def test_what_was_amiss_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(DETECTOR)
    tracker = FrameTracker(recipe, checkpoint=weights(recipe, tmp_path))
    monkeypatch.setattr(DetectorOnVideo, "notes", lambda _: ["something was amiss"])
    assert tracker.notes() == []
    tracker.step(IMAGES[0])
    assert tracker.notes() == ["something was amiss"]
    tracker.reset()
    assert tracker.notes() == []


def test_selsa_says_that_it_needs_the_whole_video(tmp_path: Path) -> None:
    recipe = load_recipe("selsa_tiny_sample")
    tracker = FrameTracker(recipe, checkpoint=weights(recipe, tmp_path))
    with pytest.raises(ValueError, match="spread over a whole video, and images is live"):
        tracker.step(IMAGES[0])
