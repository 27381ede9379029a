"""Kept answers: bounded, refused where they are damaged, the same after another start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from halftrack.errors import UserError
from halftrack.frames import Detections, Frame
from halftrack.recipes.scoring.kept_answers import KeptAnswers

BOXES = torch.arange(8.0).view(2, 4)
FRAME = Frame(
    image=torch.arange(48, dtype=torch.uint8).view(3, 4, 4),
    sample_id="a/000001",
    frame_index=0,
    scale_xy=(0.5, 0.25),
)
FOUND = Detections(
    boxes_xyxy=BOXES, scores=torch.tensor([0.9, 0.8]), labels=torch.zeros(2, dtype=torch.int64)
)
MAPS = [torch.randn(1, 2, 3, 3).half(), torch.randn(1, 2, 2, 2).half()]


def kept(folder: Path, most_bytes: int = 10**6, weights: str = "w") -> KeptAnswers:
    return KeptAnswers(folder, {"weights": weights}, most_bytes=most_bytes, say=print)


def test_a_frame_comes_back_bit_by_bit(tmp_path: Path) -> None:
    kept(tmp_path).keep("a", 1, FRAME, FOUND, MAPS)
    answers = kept(tmp_path)
    assert answers.has("a", 1)
    assert not answers.has("a", 2)
    (frame,) = answers.frames("a")
    assert (frame.sample_id, frame.frame_index, frame.scale_xy) == ("a/000001", 0, (0.5, 0.25))
    assert torch.equal(frame.image, FRAME.image)
    assert torch.equal(answers.detections(frame).boxes_xyxy, BOXES)
    maps = answers.maps(frame)
    assert [each.dtype for each in maps] == [torch.float16, torch.float16]
    assert all(torch.equal(*pair) for pair in zip(maps, MAPS, strict=True))


def test_frames_come_in_their_order(tmp_path: Path) -> None:
    answers = kept(tmp_path)
    for number in (10, 9, 100):
        frame = replace(FRAME, sample_id=f"a/{number}")
        answers.keep("a", number, frame, FOUND, ())
    assert [frame.sample_id for frame in answers.frames("a")] == ["a/9", "a/10", "a/100"]


def test_a_question_is_answered_once_and_boxes_count_bit_by_bit(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(answers: KeptAnswers, question: str, boxes: torch.Tensor) -> None:
        def compute() -> list[torch.Tensor]:
            asked.append(question)
            return [boxes * 2, boxes[:, 0]]

        doubled, column = answers.answer(question, boxes, compute)
        assert torch.equal(doubled, boxes * 2)
        assert torch.equal(column, boxes[:, 0])

    answers = kept(tmp_path)
    for question, boxes in (("a", BOXES), ("a", BOXES), ("b", BOXES), ("a", BOXES[:1])):
        answer(answers, question, boxes)
    assert asked == ["a", "b", "a"]
    answers.commit()
    answer(kept(tmp_path), "a", BOXES)
    assert asked == ["a", "b", "a"]
    answer(kept(tmp_path, weights="other"), "a", BOXES)
    assert asked == ["a", "b", "a", "a"]


def test_the_bound_holds_and_features_go_first(tmp_path: Path) -> None:
    answers = kept(tmp_path, most_bytes=1)
    answers.keep("a", 1, FRAME, FOUND, MAPS)
    (frame,) = answers.frames("a")
    assert answers.maps(frame) == []
    asked: list[int] = []

    def compute() -> list[torch.Tensor]:
        asked.append(1)
        return [BOXES]

    for _ in range(2):
        answers.answer("a", BOXES, compute)
    assert asked == [1, 1]


def test_a_frame_without_its_features_is_kept_until_there_is_room_for_them(tmp_path: Path) -> None:
    kept(tmp_path, most_bytes=1).keep("a", 1, FRAME, FOUND, MAPS)
    assert kept(tmp_path, most_bytes=1).has("a", 1)
    roomy = kept(tmp_path)
    assert not roomy.has("a", 1)
    roomy.keep("a", 1, FRAME, FOUND, MAPS)
    assert roomy.has("a", 1)
    assert kept(tmp_path, most_bytes=1).has("a", 1)


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"x" * 500])
def test_a_damaged_frame_is_told(tmp_path: Path, content: bytes) -> None:
    answers = kept(tmp_path)
    answers.keep("a", 1, FRAME, FOUND, MAPS)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged: remove the folder"):
        list(answers.frames("a"))


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    kept(tmp_path)
    (tmp_path / "answers.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(UserError, match=r"answers.sqlite cannot be used .*remove the folder"):
        kept(tmp_path)
