"""Words of a command as videos: patterns, pictures of one folder, cameras, streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from halftrack.cli.videos import find_videos
from halftrack.errors import UserError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4", "x/1.jpg", "x/2.jpg", "y/1.jpg", "odd[1].mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "videos"),
    [
        (["a.mp4", "x", "a.mp4", "./a.mp4"], [Path("a.mp4"), Path("x")]),
        (["[ab].mp4"], [Path("a.mp4"), Path("b.mp4")]),
        (["odd[1].mp4"], [Path("odd[1].mp4")]),
        (["x/*.jpg", "y/1.jpg"], [(Path("x/1.jpg"), Path("x/2.jpg")), Path("y/1.jpg")]),
        (["x/1.jpg", "x", "y", "y/*"], [Path("x"), Path("y")]),
        (["?"], [Path("x"), Path("y")]),
        (["0", "rtsp://camera/1"], ["0", "rtsp://camera/1"]),
    ],
)
def test_words_are_videos(here: Path, words: list[str], videos: list[object]) -> None:
    assert find_videos(words) == videos


def test_a_number_that_names_a_folder_is_no_camera(here: Path) -> None:
    (here / "7").mkdir()
    assert find_videos(["7"]) == [Path("7")]


def test_what_fits_nothing_is_an_error(here: Path) -> None:
    with pytest.raises(UserError, match=r"VIDEO '\*\.avi': no file or folder fits"):
        find_videos(["a.mp4", "*.avi"])
