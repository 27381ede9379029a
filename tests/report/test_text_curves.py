"""Curves of characters: ends, ranges, and what has no place in them."""

from __future__ import annotations

import math

import pytest

from halftrack.report.text_curves import text_curve

BLANK = chr(0x2800)


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right() -> None:
    first, last = text_curve([(1, 4.0), (2, 3.0), (3, 2.0)], width=19, height=2)
    assert first.split(" ")[-2] == "4"
    assert last.split(" ")[-2] == "2"
    above, below = first.split(" ")[-1], last.split(" ")[-1]
    assert len(above) == len(below) == 10
    assert above[0] != BLANK == above[-1]
    assert below[0] == BLANK != below[-1]


def test_a_line_has_no_gap_in_any_column() -> None:
    lines = text_curve([(1, 0.0), (2, 9.0), (100, 1.0)], width=49, height=4)
    columns = zip(*(line[9:] for line in lines), strict=True)
    assert all(set(column) != {BLANK} for column in columns)


def test_many_points_in_a_column_become_their_mean() -> None:
    points = [(step, 1.0 if step % 2 else 3.0) for step in range(1000)]
    top, *_, bottom = text_curve(points, width=19, height=4)
    assert set(top[9:]) == {BLANK} == set(bottom[9:])


def test_constant_and_single_values_are_drawn() -> None:
    for points in ([(5, 2.0)], [(5, 2.0), (9, 2.0)]):
        lines = text_curve(points, width=19, height=2)
        assert "".join(line[9:] for line in lines).strip(BLANK)


@pytest.mark.parametrize("width", [5, 9, 10])
def test_a_terminal_of_few_columns_shows_one(width: int) -> None:
    lines = text_curve([(0, 1.0), (9, 2.0)], width=width, height=2)
    assert [len(line) for line in lines] == [10, 10]


def test_values_that_are_not_finite_are_left_out() -> None:
    points = [(1, math.inf), (2, 2.0), (3, math.nan), (4, 1.0)]
    assert text_curve(points, width=30, height=3) == text_curve(
        [(2, 2.0), (4, 1.0)], width=30, height=3
    )
    assert text_curve([(1, math.nan)], width=30, height=3) == ["       -", "", ""]


def test_powers_of_two_are_equally_far_from_each_other() -> None:
    points = [(1, 16.0), (2, 4.0), (3, 1.0), (4, 0.0)]
    lines = text_curve(points, width=15, height=3, log2=True)
    assert lines[0].startswith("      16 ")
    assert lines[-1].startswith("       1 ")
    # The middle one, 4, stands in the middle.
    assert lines[1][9:].strip(BLANK)
    linear = text_curve(points[:3], width=15, height=3)
    assert linear != lines
