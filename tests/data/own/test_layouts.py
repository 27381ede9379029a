"""A layout is recognised by its folders, and a foreign one told with what is there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import own_trees
import pytest
import small_trees as trees
from small_trees import Tree, change_tree

from halftrack.data import DataError
from halftrack.data.own.layouts import recognise

CASES: dict[str, tuple[Callable[[], Tree], str, str, tuple[str, ...]]] = {
    "ImageNet VID": (trees.vid, "vid", "", ("train", "val")),
    "ImageNet DET": (trees.det, "vid", "", ("val", "det")),
    "ImageNet's folders alone": (own_trees.own_vid, "vid", "", ("train", "val")),
    "MOT15": (partial(trees.mot, "MOT15"), "mot", "MOT15", ("train", "test")),
    "MOT20": (partial(trees.mot, "MOT20"), "mot", "MOT20", ("train", "test")),
    "LaSOT": (trees.lasot, "sot", "LaSOT", ("test", "train")),
    "OTB100": (trees.otb, "sot", "OTB100", ("test",)),
    "UAV123": (trees.uav, "sot", "UAV123", ("test",)),
    "TrackingNet": (trees.trackingnet, "sot", "TrackingNet", ("train", "test")),
    "GOT-10k": (trees.got10k, "sot", "GOT-10k", ("val", "test")),
    "VOT2018": (trees.vot, "sot", "VOT2018", ("test",)),
    "sequences": (own_trees.sequences, "sequences", "MOT17", ()),
    "COCO": (own_trees.coco, "coco", "", ("own.json", "stills.json")),
    "YOLO": (own_trees.yolo, "yolo", "", ()),
}


@pytest.mark.parametrize("name", CASES)
def test_a_layout_is_recognised(name: str, tmp_path: Path) -> None:
    tree, kind, benchmark, parts = CASES[name]
    change_tree(tmp_path, {}, tree())
    found = recognise(tmp_path)
    assert (kind, benchmark, parts) in [(each.kind, each.benchmark, each.parts) for each in found]
    others = {each.benchmark for each in found if each.kind == "sot"} - {benchmark, "VOT2018"}
    assert not others, "text files of other benchmarks have the same names"


@pytest.mark.parametrize(
    ("below", "kind"),
    [("MOT17", "mot"), ("MOT17/train", "mot"), ("MOT17/train/MOT17-02-FRCNN", "sequences")],
)
def test_the_folder_of_a_data_set_is_as_good_as_the_one_above(
    below: str, kind: str, tmp_path: Path
) -> None:
    change_tree(tmp_path, {}, trees.mot("MOT17"))
    (found,) = recognise(tmp_path / below)
    assert found.kind == kind
    if kind == "mot":
        assert found.root == found.place == tmp_path / "MOT17"


def test_several_data_sets_of_one_root_are_all_told(tmp_path: Path) -> None:
    change_tree(tmp_path, {}, trees.vid() | trees.mot("MOT17") | trees.lasot())
    assert [each.kind for each in recognise(tmp_path)] == ["vid", "mot", "sot"]


def test_a_json_file_is_data_too(tmp_path: Path) -> None:
    change_tree(tmp_path, {}, own_trees.coco())
    (found,) = recognise(tmp_path / "annotations/own.json")
    assert (found.kind, found.parts) == ("coco", ("own.json",))


def test_a_foreign_folder_is_told_with_what_is_there(tmp_path: Path) -> None:
    change_tree(tmp_path, {}, {f"data/{path}": told for path, told in trees.vot().items()})
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError) as caught:
        recognise(tmp_path)
    assert "holds 'data', 'notes.txt', which is no known layout" in str(caught.value)
    assert f"{tmp_path / 'data'} does: check that" in str(caught.value)
    with pytest.raises(DataError, match="VOT2018 does: check that"):
        recognise(tmp_path / "data/VOT2018/bag")


@pytest.mark.parametrize(
    ("name", "told"),
    [("none", "no such file or folder"), ("a.txt", "file of no known"), ("empty", "is empty")],
)
def test_what_is_no_data_is_refused(name: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=told):
        recognise(tmp_path / name)
