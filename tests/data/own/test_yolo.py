"""YOLO's text files: shares become pixels, names are found, and what cannot be is told by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import own_trees
import pytest
from small_trees import change_tree, lines

from halftrack.data import DataError
from halftrack.data.own.yolo import read_yolo


def test_boxes_and_polygons_become_pixels(tmp_path: Path) -> None:
    change_tree(tmp_path, {}, own_trees.yolo())
    index = read_yolo(tmp_path)
    assert index.classes == (("van", ""), ("tram", ""))
    assert index.num_frames == 3
    assert index.labels.tolist() == [0, 1, 1]
    expected = [[24, 12, 40, 36], [8, 12, 24, 36], [16, 12, 48, 36]]
    np.testing.assert_allclose(index.boxes_xyxy, expected)
    assert index.path(1) == str(tmp_path / "images/train/001.jpg")


@pytest.mark.parametrize(
    ("file", "content", "names"),
    [
        ("data.yaml", b"names: ['van', tram]\n", ["van", "tram"]),
        ("data.yml", b"names:\n  1: tram\n  0: van\nval: x\n", ["van", "tram"]),
        ("classes.txt", b"van\ntram\n", ["van", "tram"]),
        ("data.yaml", b"train: images\n", ["0", "1"]),
    ],
)
def test_names_of_classes(file: str, content: bytes, names: list[str], tmp_path: Path) -> None:
    tree = own_trees.yolo()
    del tree["data.yaml"]
    change_tree(tmp_path, {}, tree | {file: content})
    assert [name for name, _ in read_yolo(tmp_path).classes] == names


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("data.yaml", b"names: [van, van]\n", "'van' is the name of the classes 0 and 1"),
        ("classes.txt", b"van\ntram\n\nvan\n", "'van' is the name of the classes 0 and 2"),
        ("data.yaml", b"names: [van\n", "line 1: names has no closing ]"),
        ("labels/classes.txt", b"tram\nvan\n", "class 0 is 'tram', but 'van' in"),
        ("data.yaml", "names: [van, tram]\n".encode("utf-16"), "line 1 is not UTF-8 text"),
        ("data.yaml", None, "cannot be read: Is a directory"),
        ("labels/train/002.txt", None, "cannot be read: Is a directory"),
    ],
)
def test_files_that_cannot_be_meant_are_a_problem(
    file: str, content: bytes | None, told: str, tmp_path: Path
) -> None:
    change_tree(tmp_path, {}, own_trees.yolo() | {file: content})
    (problem,) = read_yolo(tmp_path).problems
    assert problem.file == str(tmp_path / file)
    assert told in problem.reason


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("2 0.5 0.5 0.2 0.2", "class 2, 0 to 1 have a name"),
        ("-1 0.5 0.5 0.2 0.2", "class '-1'"),
        ("0 0.5 0.5 0.2", "3 values behind the class"),
        ("0 0.5 0.5 1_0 0.2", "'1_0' is not a number"),
        ("0 0.5 0.5 0.\u0662 0.2", "'0.\u0662' is not a number"),
        ("0 0.5 0.5 nan 0.2", "outside its image"),
        ("0 24 12 40 36", "the box reaches outside its image"),
        ("0 0.9 0.5 0.5 0.2", "the box reaches outside its image"),
    ],
)
def test_a_line_that_cannot_be_meant_is_a_problem(line: str, told: str, tmp_path: Path) -> None:
    change_tree(tmp_path, {}, own_trees.yolo() | {"labels/train/000.txt": lines(line)})
    (problem,) = read_yolo(tmp_path).problems
    assert problem.file == str(tmp_path / "labels/train/000.txt")
    assert problem.reason.startswith(f"line 1, '{line}'")
    assert told in problem.reason


def test_of_keypoints_the_box_before_them_is_read(tmp_path: Path) -> None:
    tree = own_trees.yolo()
    tree["data.yaml"] = (tree["data.yaml"] or b"") + b"kpt_shape: [3, 2]\n"
    tree["labels/train/001.txt"] = lines("1 0.5 0.5 0.25 0.5 0.1 0.1 0.9 0.9 0.5 0.5")
    change_tree(tmp_path, {}, tree)
    index = read_yolo(tmp_path)
    assert index.problems == ()
    assert index.boxes_xyxy[-1].tolist() == [24, 12, 40, 36]


def test_names_and_keypoints_may_be_told_in_the_folder_above(tmp_path: Path) -> None:
    tree = own_trees.yolo()
    above = (tree.pop("data.yaml") or b"") + b"kpt_shape: [3, 2]\n"
    tree["labels/train/001.txt"] = lines("1 0.5 0.5 0.25 0.5 0.1 0.1 0.9 0.9 0.5 0.5")
    change_tree(tmp_path / "mine", {}, tree)
    change_tree(tmp_path, {}, {"data.yaml": above, "of_others.yaml": b"names: [broken"})
    index = read_yolo(tmp_path / "mine")
    assert index.problems == ()
    assert index.classes == (("van", ""), ("tram", ""))
    assert index.boxes_xyxy[-1].tolist() == [24, 12, 40, 36]


def test_a_list_that_is_empty_or_broken_hides_no_other(tmp_path: Path) -> None:
    change_tree(tmp_path, {}, own_trees.yolo() | {"classes.txt": b"\n", "b.yaml": b"names: [x"})
    index = read_yolo(tmp_path)
    assert index.classes == (("van", ""), ("tram", ""))
    assert [problem.file for problem in index.problems] == [str(tmp_path / "b.yaml")]


def test_boxes_of_an_image_that_is_not_there_are_a_problem(tmp_path: Path) -> None:
    change_tree(tmp_path, {}, own_trees.yolo() | {"labels/train/9.txt": b"0 0.5 0.5 0.2 0.2\n"})
    (problem,) = read_yolo(tmp_path).problems
    assert "no image of this name" in problem.reason


def test_boxes_that_are_of_two_images_are_a_problem(tmp_path: Path) -> None:
    tree = own_trees.yolo()
    for name in ("000", "002"):  # the second has no text file
        tree[f"images/train/{name}.jpeg"] = tree[f"images/train/{name}.jpg"]
    change_tree(tmp_path, {}, tree)
    (problem,) = read_yolo(tmp_path).problems
    assert problem.file == str(tmp_path / "labels/train/000.txt")
    assert problem.reason.startswith("is the text file of '000.jpeg' and of '000.jpg': rename one")


def test_without_an_image_there_is_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="no image"):
        read_yolo(tmp_path)
