"""Batches know which of their samples have a target that cannot be learned."""

from __future__ import annotations

import pytest
import torch

from halftrack.frames import Clip, ClipBatch, Frame, FrameBatch, PairBatch

NAN, INF = float("nan"), float("inf")
BOXES = {
    "a box": ([1, 2, 9, 8], False),
    "a thin box": ([1, 2, 1.001, 8], False),
    "no width": ([9, 2, 9, 8], True),
    "no height": ([1, 8, 9, 8], True),
    "inside out": ([9, 8, 1, 2], True),
    "NaN": ([NAN, 2, 9, 8], True),
    "infinite": ([1, 2, INF, 8], True),
    "infinite on both sides": ([-INF, 2, INF, 8], True),
}


def frame(name: str, *boxes: list[float]) -> Frame:
    return Frame(
        image=torch.zeros(3, 10, 10, dtype=torch.uint8),
        sample_id=name,
        boxes_xyxy=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.zeros(len(boxes), dtype=torch.int64),
    )


@pytest.mark.parametrize("story", BOXES)
def test_faulty_targets_are_named(story: str) -> None:
    box, faulty = BOXES[story]
    good, tried, empty = frame("good", [1, 2, 9, 8]), frame("tried", [1, 2, 9, 8], box), frame("no")
    named = ("tried",) if faulty else ()
    assert FrameBatch(frames=(good, tried, empty)).faulty_targets() == named
    assert Clip(key=tried, references=(good,)).faulty_targets() == named
    # References lend features; their boxes are not learned.
    assert Clip(key=good, references=(tried,)).faulty_targets() == ()
    clips = (Clip(key=good, references=()), Clip(key=tried, references=(empty,)))
    batch = ClipBatch(clips=clips, seeds=(0, 1))
    assert batch.faulty_targets() == named
    assert batch.sample_ids == ("good", "tried", "no")
    pairs = PairBatch(
        templates=torch.zeros(2, 3, 7, 7),
        searches=torch.zeros(2, 3, 15, 15),
        boxes_xyxy=torch.tensor([[1, 2, 9, 8], box]),
        positive=torch.ones(2, dtype=torch.bool),
        sample_ids=("good", "tried"),
    )
    assert pairs.faulty_targets() == named
