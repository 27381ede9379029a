"""Videos opened for a recipe: what is refused before anything else, and what comes with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from halftrack.data import DataError, open_video
from halftrack.recipes import load_recipe
from halftrack.recipes.opened import open_for

TRACKTOR = load_recipe("tracktor_tiny_sample")
SIAMESE = load_recipe("siamese_rpn_tiny_sample")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "street").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48)).save(tmp_path / f"street/{number}.jpg")
    return tmp_path / "street"


def test_a_video_comes_at_the_size_its_recipe_takes_however_it_is_given(folder: Path) -> None:
    images = sorted(folder.iterdir())
    for given in (folder, str(folder), images, [*map(str, images)], open_video(folder)):
        source = open_for(TRACKTOR, given)
        assert (source.name, source.size, source.num_frames) == ("street", (48, 64), 3)
        assert source.image_scale == TRACKTOR.data.image_scale
        assert source.origin == str(folder)


@pytest.mark.parametrize(
    "box", [(64, 0, 70, 9), (0, 48, 9, 60), (-9, 0, 0, 9), (0, -9, 9, 0), (900, 900, 999, 999)]
)
def test_a_box_outside_the_first_frame_is_refused(
    folder: Path, box: tuple[float, float, float, float]
) -> None:
    with pytest.raises(ValueError, match="wholly outside the image of width 64 and height 48"):
        open_for(SIAMESE, folder, init_box_xyxy=box)


def test_a_box_that_reaches_into_the_first_frame_is_taken(folder: Path) -> None:
    assert open_for(SIAMESE, folder, init_box_xyxy=(60, 40, 90, 90)).size == (48, 64)


def test_the_boxes_of_a_detector_come_with_their_frames(folder: Path) -> None:
    table = folder.parent / "det.txt"
    table.write_text("1,-1,1,2,10,20,0.9\n3,-1,5,5,10,10,0.8\n9,-1,5,5,10,10,0.8\n")
    source = open_for(TRACKTOR, folder, detections=table)
    assert source.public is not None
    assert torch.equal(source.public(0), torch.tensor([[1.0, 2, 11, 22]]))
    assert [len(source.public(index)) for index in range(3)] == [1, 0, 1]
    assert source.notes == (f"{table}: 1 detections lie behind the last frame, 3",)
    with pytest.raises(ValueError, match="street is live: take a file or a folder"):
        open_for(TRACKTOR, replace(open_video(folder), live=True), detections=table)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is an empty folder"):
        open_for(TRACKTOR, tmp_path)
    with pytest.raises(DataError, match="file:// is no stream here"):
        open_for(TRACKTOR, "file:///etc/hosts")
