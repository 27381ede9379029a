"""Pictures and films of data of one's own, with ground truth and with results."""

from __future__ import annotations

from pathlib import Path

import own_trees
import pytest
import small_trees as trees
from PIL import Image
from small_trees import FRAMES, SIZE, change_tree

from halftrack.data import open_video
from halftrack.data.own.layouts import recognise
from halftrack.errors import UserError
from halftrack.report.data_pictures import show_data


def test_pictures_are_spread_over_each_video(tmp_path: Path) -> None:
    change_tree(tmp_path / "data", {}, own_trees.sequences())
    (found,) = recognise(tmp_path / "data")
    files = show_data([found], tmp_path / "out", frames=2, videos=1)[found]
    name = found.place / "MOT17-02-FRCNN"
    assert [file.name for file in files] == [f"{name.name}_{n:06d}.png" for n in (1, FRAMES)]
    drawn, plain = Image.open(files[0]), Image.open(name / "img1/000001.jpg")
    assert drawn.size == plain.size == SIZE[::-1]
    assert drawn.tobytes() != plain.tobytes()


def test_a_film_of_films_has_all_frames(tmp_path: Path) -> None:
    own_trees.write_films(tmp_path)
    (found,) = recognise(tmp_path)
    files = show_data([found], tmp_path / "out", film=True)[found]
    assert [file.name for file in files] == ["a.mp4", "b.mp4"]
    assert sum(1 for _ in open_video(files[0])) == FRAMES


def test_results_are_drawn_with_ground_truth_in_white(tmp_path: Path) -> None:
    change_tree(tmp_path / "data", {}, trees.vot())
    (found,) = recognise(tmp_path / "data/VOT2018")
    results = tmp_path / "results"
    results.mkdir()
    with pytest.raises(UserError, match=r"no result file of a video here, expected .*\.txt"):
        show_data([found], tmp_path / "out", results=results)
    name = "bag"
    (results / f"{name}.txt").write_text("1,1,30,30\n" * FRAMES)
    (file,) = show_data([found], tmp_path / "out", results=results, frames=1)[found]
    assert file.name == f"{name}_000001.png"
    assert (255, 255, 255) in Image.open(file).get_flattened_data()


def test_several_data_sets_have_a_folder_each_and_results_of_one_are_enough(tmp_path: Path) -> None:
    data, results, out = tmp_path / "data", tmp_path / "results", tmp_path / "out"
    change_tree(data, {}, trees.mot("MOT17") | trees.lasot())
    found = recognise(data)
    drawn = show_data(found, out, frames=1, videos=1)
    folders = [file.parent.name for files in drawn.values() for file in files]
    assert folders == ["MOT17", "LaSOTBenchmark_LaSOT"]
    results.mkdir()
    (results / "MOT17-02-FRCNN.txt").write_text("1,1,5,5,20,20,1,-1,-1,-1\n")
    compared = show_data(found, out, results=results, frames=1)
    assert [len(files) for files in compared.values()] == [1, 0]


def test_two_videos_of_one_name_are_both_drawn(tmp_path: Path) -> None:
    tree = own_trees.sequences()
    parts = {f"{part}/{path}": told for path, told in tree.items() for part in ("train", "test")}
    change_tree(tmp_path / "data", {}, parts)
    (found,) = recognise(tmp_path / "data")
    files = show_data([found], tmp_path / "out", frames=1)[found]
    names = [f"MOT17-{n}-FRCNN{again}_000001.png" for again in ("", "_2") for n in ("02", "04")]
    assert [file.name for file in files] == names
