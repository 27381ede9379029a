"""Output files of one video never replace another's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from halftrack.report.output_names import claim_name

ENDINGS = (".txt", ".mp4")


def test_a_second_video_of_a_name_is_numbered_and_the_first_keeps_it(tmp_path: Path) -> None:
    a, b, c = (str(tmp_path / folder / "clip.mp4") for folder in "abc")
    for _ in range(2):  # a later run of the same videos finds its own files
        assert [claim_name(tmp_path, "clip", each, ENDINGS) for each in (a, b, c)] == [
            *("clip", "clip-2", "clip-3")
        ]
        (tmp_path / "clip.txt").write_text("tracks")


@pytest.mark.parametrize("there", ["clip.txt", "clip.mp4", "clip.txt.partial"])
def test_files_of_an_unknown_video_are_left_alone(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("somebody's")
    assert claim_name(tmp_path, "clip", "a/clip.mp4", ENDINGS) == "clip-2"


def test_another_folder_of_results_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "clip.csv").write_text("")
    assert claim_name(tmp_path, "clip", "a/clip.mp4", ENDINGS) == "clip"


def test_videos_at_the_same_time_get_names_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(
            pool.map(lambda n: claim_name(tmp_path, "clip", f"{n}/clip.mp4", ENDINGS), range(40))
        )
    assert len(set(names)) == 40
