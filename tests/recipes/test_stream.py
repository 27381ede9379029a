"""Tracking frame by frame from Python: weights read once, notes told however it ends."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import av
import pytest
import torch
from PIL import Image
from torch import nn

import halftrack
from halftrack.data import DataError, SourceFrame, video_file
from halftrack.frames import Tracks
from halftrack.recipes import TrackingRecipe, load_recipe
from halftrack.report import VideoWriter

NO_TRACKS = Tracks(
    ids=torch.zeros(0, dtype=torch.int64),
    boxes_xyxy=torch.zeros(0, 4),
    scores=torch.zeros(0),
    labels=torch.zeros(0, dtype=torch.int64),
)


class SeesNothing:
    batch = 1

    def __init__(self, *_: object) -> None:
        self.seen = 0

    def steps(self, frames: Sequence[SourceFrame]) -> Iterator[Tracks]:
        for _ in frames:
            self.seen += 1
            yield NO_TRACKS

    def notes(self) -> list[str]:
        return [f"{self.seen} frames without a track"]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> TrackingRecipe:
    monkeypatch.setattr(TrackingRecipe, "video_tracker", lambda *_: SeesNothing)
    recipe = load_recipe("tracktor_tiny_sample")
    assert isinstance(recipe, TrackingRecipe)
    return recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "street").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48)).save(tmp_path / f"street/{number}.jpg")
    (tmp_path / "street/list.txt").touch()
    return tmp_path / "street"


def test_the_callers_load_is_asked_once_a_video(recipe: TrackingRecipe, folder: Path) -> None:
    read: list[int] = []

    def load() -> nn.Module:
        read.append(1)
        return nn.Linear(1, 1)

    for _ in range(2):
        steps = list(halftrack.track(recipe, folder, load=load, say=lambda _: None))
        assert [each.frame.frame_index for each, _ in steps] == [0, 1, 2]
    assert read == [1, 1]


@pytest.mark.parametrize("left_after", [1, 3])
def test_notes_are_told_of_a_video_that_is_left_too(
    recipe: TrackingRecipe, folder: Path, left_after: int
) -> None:
    told: list[str] = []
    steps = halftrack.track(recipe, folder, load=lambda: nn.Linear(1, 1), say=told.append)
    for _ in range(left_after):
        next(steps)
    assert told == []
    steps.close()
    assert told == [
        f"{folder}: 1 entries that are no frames passed over: list.txt",
        f"{left_after} frames without a track",
    ]


def test_a_damaged_first_frame_is_told_before_the_weights_are_read(
    recipe: TrackingRecipe, folder: Path
) -> None:
    content = (folder / "0.jpg").read_bytes()
    (folder / "0.jpg").write_bytes(content[: len(content) - 60])

    def load() -> nn.Module:
        raise AssertionError("weights were read")

    with pytest.raises(DataError, match=r"0\.jpg: image cannot be decoded"):
        halftrack.track(recipe, folder, load=load)


def test_the_first_frame_of_a_film_is_decoded_once_before_the_weights_are_read(
    recipe: TrackingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VideoWriter(tmp_path / "film.mp4", size=(48, 64), frame_rate=10) as film:
        film.write(torch.zeros((3, 48, 64), dtype=torch.uint8))
    begun: list[Path] = []
    decoded = video_file._decoded

    def counted(path: Path, allowed: str) -> Generator[tuple[av.VideoFrame, float | None]]:
        begun.append(path)
        return decoded(path, allowed)

    monkeypatch.setattr(video_file, "_decoded", counted)
    halftrack.track(recipe, tmp_path / "film.mp4", load=lambda: nn.Linear(1, 1))
    assert begun == [tmp_path / "film.mp4"]
