"""Videos with a text file of rows beside each are read as sequences."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import own_trees
import pytest
from small_trees import FRAMES, SIZE

from halftrack.data import DataError, open_video
from halftrack.data.own.contents import look_at
from halftrack.data.own.films import read_films
from halftrack.data.own.layouts import recognise


def test_films_are_counted_and_decoded(tmp_path: Path) -> None:
    own_trees.write_films(tmp_path)
    (found,) = recognise(tmp_path)
    first, second = read_films(found, None, decode=True)
    assert (first.name, second.name, first.size) == ("a", "b", SIZE)
    assert list(first.frame_numbers) == list(range(1, FRAMES + 1))
    (report,) = look_at(found).sets
    assert report.counts == {"videos": 2, "frames": 2 * FRAMES, "boxes": 2 * FRAMES}
    assert report.boxes_per_class == {"car": 2 * FRAMES}


def test_a_film_without_rows_or_with_too_many_is_a_problem(tmp_path: Path) -> None:
    own_trees.write_films(tmp_path)
    (found,) = recognise(tmp_path)
    (tmp_path / "b.txt").unlink()
    with (tmp_path / "a.txt").open("a") as table:
        table.write("99,1,5,5,20,20,1,3,1\n")
    report = look_at(found)
    told = [str(problem) for problem in report.problems]
    assert "a.txt: line 7" in told[0]
    assert "expected a frame of 1 to 6" in told[0]
    assert "b.txt: text file of MOT rows is missing" in told[1]
    with pytest.raises(DataError, match="line 7"):
        read_films(found, None)


def test_frames_of_a_container_that_does_not_say_how_many_are_counted(tmp_path: Path) -> None:
    own_trees.write_films(tmp_path)
    with av.open(tmp_path / "a.mkv", "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.height, stream.width = SIZE
        for number in range(FRAMES):
            pixels = np.full((*SIZE, 3), 20 * number, dtype=np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        film.mux(stream.encode())
    for name in ("a.mp4", "b.mp4", "b.txt"):
        (tmp_path / name).unlink()
    table = tmp_path / "a.txt"
    rows = table.read_text().splitlines()
    table.write_text("\n".join(rows[:2]))  # a film may go on after its last row
    assert open_video(tmp_path / "a.mkv").num_frames is None
    (found,) = recognise(tmp_path)
    (report,) = look_at(found).sets
    assert report.counts["frames"] == FRAMES
    assert report.sizes == {SIZE: FRAMES}
    table.write_text("\n".join([*rows, "20,1,5,5,20,20,1,3,1"]))
    (problem,) = look_at(found).problems
    assert "expected a frame of 1 to 6" in problem.reason


def test_two_films_of_one_name_are_a_problem(tmp_path: Path) -> None:
    own_trees.write_films(tmp_path)
    (tmp_path / "b.mp4").rename(tmp_path / "a.avi")
    (found,) = recognise(tmp_path)
    report = look_at(found)
    assert report.sets[0].counts["videos"] == 1
    (problem,) = report.problems
    assert "a is the name of" in problem.reason
    assert "rename one of the two" in problem.reason
