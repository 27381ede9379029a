"""Frames are resized where they lie; batches know which targets cannot be learned."""

from __future__ import annotations

import pytest
import torch

from halftrack.frames import Clip, ClipBatch, Frame, FrameBatch, PairBatch, resized

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


@pytest.mark.parametrize("size", [(90, 121), (31, 44), (60, 80)])
def test_a_gpus_way_of_resizing_is_one_level_away_at_most(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 60, 80), generator=generator, dtype=torch.uint8)
    here = resized(image, size, flipped=True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    there = resized(image, size, flipped=True)
    assert here.shape == there.shape == (3, *size)
    assert int((here.int() - there.int()).abs().max()) <= 1
