"""Fields of a search: what a range means, and what is wrong with one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from halftrack.errors import UserError
from halftrack.recipes import load_recipe
from halftrack.studies.tune.fields import Listed, Span, grid_of, parse_fields

RECIPE = load_recipe("tracktor_tiny_sample")
SEARCHED = "tracktor_faster-rcnn_r50_fpn_4e_mot17-public-half_search"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("reid_distance=1:4", Span(1.0, 4.0)),
        ("num_frames_retain=5:50", Span(5, 50)),
        ("box_momentum=0.3:1", Span(0.3, 1.0)),
        ("reid_iou=0:0.3:0.1", Listed((0.0, 0.1, 0.2, 0.3))),
        ("linear_motion=0:5:2", Listed((0, 2, 4))),
        ("reid_iou=0.1:0.3:0.2", Listed((0.1, 0.3))),
        ("reid_distance=1, 2,4", Listed((1.0, 2.0, 4.0))),
        ("box_momentum=None,0.5", Listed((None, 0.5))),
        ("compatible=True,False", Listed((True, False))),
    ],
)
def test_a_range_is_of_the_fields_type(text: str, field: object) -> None:
    assert parse_fields(RECIPE, [f"tracker.{text}"]) == {f"tracker.{text.split('=')[0]}": field}
    ((_, found),) = parse_fields(RECIPE, [f"tracker.{text}"]).items()
    if isinstance(found, Span):
        assert found.whole is isinstance(found.low, int)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], "--field is missing: tracktor_tiny_sample brings no grid"),
        (["tracker.reid_iou"], "expected FIELD=LOW:HIGH"),
        (["tracker.reid_iou="], "number at least 0, at most 1"),
        (["tracker.reid_io=0:1"], "no recipe field 'tracker.reid_io'; the nearest are"),
        (["data.test_batch=1:4"], "a search changes the tracker's settings alone, tracker.detec"),
        (["tracker.reid_iou=0:2"], "reid_iou=2: expected a number at least 0, at most 1"),
        (["tracker.reid_iou=0.5:0.5"], "expected LOW below HIGH"),
        (["tracker.reid_iou=0.5:0.1"], "expected LOW below HIGH"),
        (["tracker.reid_iou=0:1:0"], "above 0 and at most HIGH - LOW as STEP"),
        (["tracker.reid_iou=0:1:nan"], "as STEP"),
        (["tracker.reid_iou=0:1:2"], "as STEP"),
        (["tracker.reid_iou=0:1:1e-9"], "1000000001 values, expected 100000 at most"),
        (["tracker.num_frames_retain=1:9:0.5"], "expected a whole number above 0"),
        (["tracker.reid_iou=0:1:0.1:3"], "expected FIELD=LOW:HIGH"),
        (["tracker.reid_iou=0.3"], "at least two different values"),
        (["tracker.reid_iou=0.3,0.30"], "at least two different values"),
        (["tracker.box_momentum=None:1"], "a range is of numbers; list the values"),
        (["tracker.compatible=False:True"], "a range is of numbers; list the values"),
        (["tracker.reid_iou=0:1", "tracker.reid_iou=0,1"], "is given twice"),
    ],
)
def test_a_mistake_is_quoted(texts: list[str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_fields(RECIPE, texts)
    assert told in str(caught.value)


def test_without_fields_the_recipes_own_grid_is_taken() -> None:
    fields = parse_fields(load_recipe(SEARCHED), [])
    assert fields["tracker.new_track_iou"] == Listed((0.3, 0.5))
    _, points = grid_of(fields, None)
    assert len(points) == 18


def test_a_grid_of_a_recipes_own_is_looked_at_too() -> None:
    fields = {"camera_motion.levels": (1.0, 2.0), "tracker.reid_iou": (0.5, 7.0)}
    for path, values in fields.items():
        recipe = replace(RECIPE, search=((path, values),))  # type: ignore[call-arg]
        with pytest.raises(UserError, match=r"the tracker's settings alone|reid_iou=7.0"):
            parse_fields(recipe, [])


@pytest.mark.parametrize(
    ("texts", "most", "count"),
    [
        (["reid_distance=1:4"], 9, 9),
        (["reid_distance=1:4", "reid_iou=0:1"], 99, 81),
        (["reid_distance=1:4", "linear_motion=0:2"], 99, 99),
        (["linear_motion=0:2"], 99, 3),
        (["linear_motion=0:2", "compatible=True,False"], 6, 6),
    ],
)
def test_a_grid_has_as_many_points_as_it_may(texts: list[str], most: int, count: int) -> None:
    fields = parse_fields(RECIPE, [f"tracker.{text}" for text in texts])
    listed, points = grid_of(fields, most)
    assert len(points) == count
    for path, field in listed.items():
        given = fields[path]
        if isinstance(given, Span):
            assert (field.values[0], field.values[-1]) == (given.low, given.high)


@pytest.mark.parametrize(
    ("fields", "most", "told"),
    [
        ({"a": Span(0.0, 1.0)}, None, "--trials is missing: a is a range without steps"),
        ({"a": Span(0.0, 1.0)}, 1, "the grid has 2 points, --trials leaves 1"),
        ({"a": Listed((1, 2, 3)), "b": Listed((1, 2))}, 5, "the grid has 6 points"),
    ],
)
def test_a_grid_that_cannot_be(fields: dict[str, Any], most: int | None, told: str) -> None:
    with pytest.raises(UserError) as caught:
        grid_of(fields, most)
    assert told in str(caught.value)


def test_numbers_are_short_enough_to_be_typed() -> None:
    assert Span(1.0, 4.0).at(2.718281828) == 2.718
    assert Span(0.123456, 0.2).at(0.1234567) == 0.12346
    assert Span(0.123456, 0.2).at(0.1234) == 0.123456
    assert Span(1.0, 4.0).spread(4) == Listed((1.0, 2.0, 3.0, 4.0))
    assert Span(5, 50).at(7) == 7


def test_ordered_are_numbers_that_go_up() -> None:
    assert Listed((1, 2.5)).ordered
    assert not any(
        Listed(values).ordered for values in ((2, 1), (None, 1), (False, True), ("a", "b"))
    )
