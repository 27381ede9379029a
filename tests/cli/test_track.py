"""``halftrack track``: several videos in a call, and what is said at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from halftrack.recipes import load_recipe


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "selsa.pth"
    torch.save({"state_dict": load_recipe("selsa_tiny_sample").build_model().state_dict()}, file)
    return file


def test_several_videos_of_one_name_have_files_of_their_own(
    halftrack, weights: Path, tmp_path: Path, capsys
) -> None:
    folders = [tmp_path / part / "street" for part in ("a", "b")]
    for length, folder in enumerate(folders, start=2):
        folder.mkdir(parents=True)
        for number in range(length):
            Image.new("RGB", (64, 48)).save(folder / f"{number}.jpg")
    words = ["--recipe", "selsa_tiny_sample", "--checkpoint", weights, "--out", tmp_path / "out"]
    words += ["--set", "data.test_references=2", "--set", "data.image_scale=(64, 48)"]
    assert halftrack("track", folders[0], f"{tmp_path}/?/street/*.jpg", *words) == 0
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
