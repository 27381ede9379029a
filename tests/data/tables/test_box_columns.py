"""Corners in the place of sizes are told from boxes as people annotate them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftrack.data.tables.box_columns import first_wrong_box, looks_like_corners, read_number
from halftrack.errors import UserError

SIZE = (1080, 1920)
STEPS = np.arange(20.0)


def rows(left, top, width, height) -> np.ndarray:
    columns = np.broadcast_arrays(*map(np.atleast_1d, (left, top, width, height)))
    return np.stack(columns, axis=1).astype(np.float64)


BOXES = {
    "a crowd": rows(STEPS * 90, 400, 60, 180),
    "one who fills the image": rows(20, 10, 1800, 1060),
    "one who comes closer at the left edge": rows(0, 0, 100 + 40 * STEPS, 200 + 40 * STEPS),
    "one who stands in the upper left": rows(5, 5, 80, 160),
    "one who walks in the upper left": rows(5 + 3 * STEPS, 5, 80, 160),
    "a zoom": rows(10 + 5 * STEPS, 10 + 5 * STEPS, 40 + 20 * STEPS, 40 + 20 * STEPS),
    "half outside": rows(-50, 10, 100, 200),
    "nothing": np.zeros((0, 4)),
}


@pytest.mark.parametrize("story", BOXES)
def test_boxes_are_boxes_and_their_corners_are_told(story: str) -> None:
    assert looks_like_corners(BOXES[story], SIZE) is None


WALKS = {
    "in the middle": rows(600 + 5 * STEPS, 500, 60, 180),
    "at the right edge": rows(1700 + 5 * STEPS, 500, 60, 180),
    "in the upper left": rows(20 + 5 * STEPS, 40, 60, 180),
    "downwards": rows(20, 40 + 5 * STEPS, 60, 180),
}


@pytest.mark.parametrize("story", WALKS)
def test_corners_of_one_who_walks_are_told(story: str) -> None:
    boxes = WALKS[story]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    assert looks_like_corners(boxes, SIZE) is None
    assert looks_like_corners(corners, SIZE) is not None


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_crowd_is_told_from_its_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = 6
    start = rng.uniform([0, 200], [1800, 700], (people, 2))
    step = rng.normal(0, 3, (people, 2))
    size = rng.uniform([40, 100], [120, 300], (people, 2))
    boxes = np.concatenate([np.concatenate([start + n * step, size], axis=1) for n in range(15)])
    tracks = np.tile(np.arange(people), 15)
    assert looks_like_corners(boxes, SIZE, tracks) is None
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    assert looks_like_corners(corners, SIZE, tracks) is not None


@pytest.mark.parametrize("text", ["1", " -2.5e3 ", "nan", "\u00a01"])
def test_a_number_is_one(text: str) -> None:
    np.testing.assert_equal(read_number(text), float(text))


@pytest.mark.parametrize("text", ["", "1_0", "\u0661", "\uff11", "0x1", "12+0j", '"1"', "1,5"])
def test_what_is_no_number_is_none(text: str) -> None:
    with pytest.raises(UserError, match="is not a number"):
        read_number(text)


def test_the_first_wrong_box_is_told_with_its_fault() -> None:
    good = rows(1, 2, 3, 4)
    assert first_wrong_box(good) is None
    for bad, told in (
        ([1, 2, -3, 4], "width -3 and height 4"),
        ([1, np.nan, 3, 4], "a value is not finite"),
        ([1, np.inf, 3, 4], "a value is not finite"),
        ([1, 2e6, 3, 4], r"a coordinate is beyond 1e\+06"),
    ):
        found = first_wrong_box(np.concatenate([good, [bad]]))
        assert found is not None
        assert found[0] == 1
        assert told.replace("\\", "") in found[1]
    assert first_wrong_box(np.full((1, 4), np.nan), nan=True) is None
