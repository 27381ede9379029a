"""``halftrack track``: several videos in a call, and what is said at the end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from halftrack.recipes import load_recipe
from halftrack.recipes.kinds.recipe import Recipe
from halftrack.report import window as module


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "selsa.pth"
    torch.save({"state_dict": load_recipe("selsa_tiny_sample").build_model().state_dict()}, file)
    return file


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two videos of one name, of two and three frames."""
    folders = [tmp_path / part / "street" for part in ("a", "b")]
    for length, folder in enumerate(folders, start=2):
        folder.mkdir(parents=True)
        for number in range(length):
            Image.new("RGB", (64, 48)).save(folder / f"{number}.jpg")
    return folders


@pytest.fixture
def words(weights: Path, tmp_path: Path) -> list[object]:
    """The words behind the videos."""
    words = ["--recipe", "selsa_tiny_sample", "--checkpoint", weights, "--out", tmp_path / "out"]
    return [*words, "--set", "data.test_references=2", "--set", "data.image_scale=(64, 48)"]


def test_several_videos_of_one_name_have_files_of_their_own_and_share_the_weights(
    halftrack, folders: list[Path], words: list[object], tmp_path: Path, capsys, monkeypatch
) -> None:
    read: list[object] = []
    load_model = Recipe.load_model

    def load(self: Recipe, *given: object, **how: object) -> torch.nn.Module:
        read.append(given)
        return load_model(self, *given, **how)

    monkeypatch.setattr(Recipe, "load_model", load)
    assert halftrack("track", folders[0], f"{tmp_path}/?/street/*.jpg", *words) == 0
    assert len(read) == 1
    told = capsys.readouterr().out
    assert " detections in 2 frames, " in told
    assert " detections in 3 frames, " in told
    assert told.count(" frames/s") == 2
    endings = ("csv", "jsonl", "mp4", "txt")
    names = sorted(file.name for file in (tmp_path / "out").glob("[!.]*"))
    assert names == [
        *(f"street-2.{ending}" for ending in endings),
        *(f"street.{ending}" for ending in endings),
    ]


def test_a_wrong_video_is_told_before_the_first_is_tracked(
    halftrack, folders: list[Path], words: list[object], tmp_path: Path, capsys
) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    assert halftrack("track", folders[0], tmp_path / "text.mp4", *words) == 2
    assert "text.mp4: cannot be opened as a video" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_closing_the_window_ends_all_videos(
    halftrack, folders: list[Path], words: list[object], monkeypatch, capsys
) -> None:
    class Closed:
        closed = True

        def __init__(self, _: str) -> None:
            pass

        def show(self, *_: object) -> None:
            pass

    monkeypatch.setattr(module, "Window", Closed)
    assert halftrack("track", *folders, *words, "--show") == 0
    told = capsys.readouterr().out
    assert "street: the window was closed at frame 1" in told
    assert " detections in 1 frames, " in told
    assert told.endswith("videos left out: 1\n")


def test_without_a_window_nothing_is_computed(
    halftrack, folders: list[Path], words: list[object], tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    assert halftrack("track", *folders, *words, "--show") == 2
    assert "--show needs tkinter" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
