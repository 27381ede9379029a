"""A sequence that cannot be tracked is refused: images or a first box are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from halftrack.data import DataError
from halftrack.data.sot.sequences import trackable_sequence

FILE = Path("groundtruth.txt")
BOXES = np.array([[10 + n, 20, 40 + n, 60] for n in range(6)], dtype=np.float64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six empty files: whether images are there is looked for, not what they show."""
    for number in range(1, 7):
        (tmp_path / f"{number:08d}.jpg").touch()
    return tmp_path


def test_frames_count_from_0_whatever_the_files_numbers_are(folder: Path) -> None:
    whole = trackable_sequence("cat-3", folder, "{:08d}.jpg", BOXES, annotation=FILE)
    assert (len(whole), len(whole.absent), whole.absent.any()) == (6, 6, False)
    assert whole.path(0) == str(folder / "00000001.jpg")
    np.testing.assert_array_equal(whole.truth(), BOXES)
    part = trackable_sequence(
        "cat-3", folder, "{:08d}.jpg", BOXES[:2], annotation=FILE, start=3, cut=True
    )
    assert part.path(1) == str(folder / "00000004.jpg")


def test_boxes_and_images_are_as_many(folder: Path) -> None:
    more = np.concatenate([BOXES, BOXES[:1]])
    with pytest.raises(DataError, match=r"00000007.jpg: image is missing; cat-3 has 7 frames"):
        trackable_sequence("cat-3", folder, "{:08d}.jpg", more, annotation=FILE)
    with pytest.raises(DataError, match=r"5 boxes for more than 5 images"):
        trackable_sequence("cat-3", folder, "{:08d}.jpg", BOXES[:5], annotation=FILE)
    with pytest.raises(DataError, match=r"2 boxes for 6 images; expected one an image"):
        trackable_sequence("cat-3", folder, "{:08d}.jpg", BOXES[:2], annotation=FILE, frames=6)


def test_a_tracker_needs_a_box_to_start_from(folder: Path) -> None:
    nothing = np.concatenate([np.zeros((1, 4)), BOXES[1:]])
    with pytest.raises(DataError, match=r"no tracker can start from the first box, \[0.0, 0.0"):
        trackable_sequence("cat-3", folder, "{:08d}.jpg", nothing, annotation=FILE)


def test_where_only_the_first_box_is_published_there_is_no_truth(folder: Path) -> None:
    hidden = trackable_sequence("cat-3", folder, "{:08d}.jpg", BOXES[:1], annotation=FILE, frames=6)
    assert hidden.first_box_xyxy.tolist() == [10, 20, 40, 60]
    with pytest.raises(DataError, match=r"only the first of 6 boxes is published"):
        hidden.truth()
