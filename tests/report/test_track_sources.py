"""Tracks of two videos of one name do not replace each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from halftrack.errors import UserError
from halftrack.report.track_sources import SOURCES, check_unclaimed, claim


def test_a_video_replaces_its_own_tracks_alone(tmp_path: Path) -> None:
    files = [tmp_path / "clip.txt", tmp_path / "clip.jsonl"]
    first, second = tmp_path / "a" / "clip.mp4", tmp_path / "b" / "clip.mp4"
    check_unclaimed(tmp_path, "clip", first, files)
    claim(tmp_path, "clip", first)
    files[1].write_text("{}\n")
    check_unclaimed(tmp_path, "clip", first, files)
    with pytest.raises(UserError, match=r"clip.jsonl is there already, of .*/a/clip.mp4; the trac"):
        check_unclaimed(tmp_path, "clip", second, files)
    check_unclaimed(tmp_path, "other", second, [tmp_path / "other.txt"])


@pytest.mark.parametrize("content", [None, "", "[1]", '{"clip": 3}', "{" * 10_000])
def test_files_of_which_nothing_is_known_are_kept(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / SOURCES).write_text(content)
    (tmp_path / "clip.txt").write_text("1\n")
    with pytest.raises(UserError, match="not known to be of this video"):
        check_unclaimed(tmp_path, "clip", tmp_path / "clip.mp4", [tmp_path / "clip.txt"])
    claim(tmp_path, "clip", tmp_path / "clip.mp4")
    check_unclaimed(tmp_path, "clip", tmp_path / "clip.mp4", [tmp_path / "clip.txt"])
