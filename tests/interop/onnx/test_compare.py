"""Distances of answers: the largest difference, boxes paired by place, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from halftrack.errors import UserError
from halftrack.interop.onnx.compare import Difference, difference_of

BOXES = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 60], [5, 5, 25, 25]])
ANSWER = {"boxes": BOXES, "scores": torch.tensor([0.9, 0.5, 0.5]), "labels": torch.arange(3)}


def test_an_answer_is_no_distance_from_itself() -> None:
    assert difference_of(ANSWER, ANSWER) == Difference(0.0, boxes=3, without=0)


def test_boxes_of_equal_scores_may_change_places() -> None:
    order = torch.tensor([0, 2, 1])
    turned = {name: value[order] for name, value in ANSWER.items()}
    assert difference_of(ANSWER, turned) == Difference(0.0, boxes=3, without=0)


def test_boxes_differ_in_shares_of_the_largest_number() -> None:
    moved = ANSWER | {"boxes": BOXES + 0.006}
    apart = difference_of(ANSWER, moved)
    assert apart.largest == pytest.approx(1e-4, rel=1e-2)
    assert apart.without == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"boxes": BOXES + torch.tensor([[0.0], [0], [3]])},
        {"labels": torch.tensor([0, 1, 1])},
    ],
)
def test_a_box_elsewhere_or_of_another_label_is_no_partner(
    changed: dict[str, torch.Tensor],
) -> None:
    assert difference_of(ANSWER, ANSWER | changed) == Difference(0.0, boxes=3, without=1)


def test_boxes_that_only_one_has_are_without_a_partner() -> None:
    none = {name: value[:0] for name, value in ANSWER.items()}
    assert difference_of(none, none) == Difference(0.0)
    assert difference_of(none, ANSWER) == Difference(0.0, boxes=3, without=3)
    assert difference_of(ANSWER, none) == Difference(0.0, boxes=3, without=3)


def test_a_box_that_comes_twice_has_one_partner() -> None:
    twice = {name: torch.cat([value, value[:1]]) for name, value in ANSWER.items()}
    assert difference_of(ANSWER, twice) == Difference(0.0, boxes=4, without=1)
    assert difference_of(twice, ANSWER) == Difference(0.0, boxes=4, without=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_infinitely_far(value: float) -> None:
    expected = {"embeddings": torch.ones(2, 3)}
    assert difference_of(expected, {"embeddings": torch.full((2, 3), value)}).largest == torch.inf


def test_another_shape_is_infinitely_far() -> None:
    expected = {"embeddings": torch.ones(2, 3)}
    assert difference_of(expected, {"embeddings": torch.ones(2, 1)}).largest == torch.inf


@pytest.mark.parametrize(
    "bad",
    [Difference(2e-4), Difference(float("nan")), Difference(0.0, boxes=100, without=6)],
)
def test_a_file_that_answers_otherwise_is_refused(bad: Difference) -> None:
    with pytest.raises(UserError, match=r"a\.onnx is not written: .* expected at most 1e-04"):
        bad.check(Path("a.onnx"))


def test_a_file_that_answers_alike_passes() -> None:
    Difference(9e-5, boxes=100, without=5).check(Path("a.onnx"))
    assert str(Difference(9e-5, boxes=100, without=5)).endswith("95 of 100 boxes")
