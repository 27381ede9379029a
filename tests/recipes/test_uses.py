"""Recipes that read a user's data are told with commands that these data need."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import own_trees
import pytest
import small_trees as trees
from small_trees import Tree, change_tree

from halftrack.data.mot import tables
from halftrack.data.own.contents import look_at
from halftrack.data.own.layouts import recognise
from halftrack.recipes.uses import lines_on_uses


def crowd() -> Tree:
    """MOT17 with ten people in frames enough for a ReID model to learn from."""
    tree = trees.mot("MOT17")
    for name in ("02", "04"):
        folder = f"MOT17/train/MOT17-{name}-FRCNN"
        tree |= trees.images(f"{folder}/img1", "{:06d}.jpg", range(1, 21))
        rows = [(n, k, 3 + 10 * k, 5, 12, 24, 1, 1, 0.8) for k in range(5) for n in range(1, 21)]
        tree[f"{folder}/gt/gt.txt"] = trees.lines(*rows)
        told = tree[f"{folder}/seqinfo.ini"] or b""
        tree[f"{folder}/seqinfo.ini"] = told.replace(b"seqLength=6", b"seqLength=20")
    return tree


CASES: dict[str, tuple[Callable[[], Tree], list[str]]] = {
    "VID": (
        trees.vid,
        [
            "halftrack train selsa_tiny_sample --data-root ROOT --classes from-data",
            "1x_imagenetvid --data-root ROOT --classes from-data --set data.training_sets=vid",
        ],
    ),
    "VID without lists": (own_trees.own_vid, ["--classes from-data --set data.key_frames=all"]),
    "MOT with a test set": (
        partial(trees.mot, "MOT17"),
        [
            "train faster-rcnn_tiny_sample --data-root ROOT --set data.training_split=half-train",
            "train faster-rcnn_r50_fpn_4e_mot17-half --data-root ROOT\n",
            "--detector DETECTOR.pth --reid REID.pth",
        ],
    ),
    "MOT with a crowd": (
        crowd,
        ["train reid_tiny_sample --data-root ROOT --set data.split=half-train"],
    ),
    "VID without a training part": (
        lambda: {path: told for path, told in trees.vid().items() if "train" not in path},
        ["eval selsa_tiny_sample --data-root ROOT --classes car,dog --checkpoint FILE\n"],
    ),
    "MOT15": (
        partial(trees.mot, "MOT15"),
        ["faster-rcnn_r50_fpn_4e_mot15-half --data-root ROOT\n"],
    ),
    "LaSOT": (
        trees.lasot,
        [
            "train siamese_rpn_tiny_sample --data-root ROOT\n",
            "--set data.training_sets=lasot --set 'data.set_weights=(1.0,)'",
        ],
    ),
    "OTB100": (trees.otb, ["eval siamese_rpn_tiny_sample --data-root ROOT --set benchmark=OTB100"]),
}


@pytest.mark.parametrize("name", CASES)
def test_commands_hold_the_settings_that_the_data_need(name: str, tmp_path: Path) -> None:
    tree, told = CASES[name]
    change_tree(tmp_path, {}, tree())
    found = [each for each in recognise(tmp_path) if each.benchmark != "VOT2018"]
    lines = "".join(f"{line}\n" for data in found for line in lines_on_uses(data, look_at(data)))
    lines = lines.replace(str(tmp_path), "ROOT")
    assert [each for each in told if each not in lines] == [], lines


def test_nobody_is_told_to_learn_from_fewer_individuals_than_a_batch_asks_for(
    tmp_path: Path,
) -> None:
    change_tree(tmp_path, {}, trees.mot("MOT17"))
    (found,) = recognise(tmp_path)
    report = look_at(found)
    assert report.sets[0].counts["individuals for ReID"] == 0
    assert not any("train re" in line for line in lines_on_uses(found, report))


@pytest.mark.parametrize("name", ["YOLO", "LaSOT without its list"])
def test_no_recipe_reads_what_is_to_be_split_first(name: str, tmp_path: Path) -> None:
    tree = own_trees.yolo() if name == "YOLO" else trees.lasot()
    change_tree(tmp_path, {}, {path: tree[path] for path in tree if "testing_set" not in path})
    (found,) = recognise(tmp_path)
    assert list(lines_on_uses(found, look_at(found))) == []


def test_the_report_tells_the_classes_and_no_table_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number, asked in (("people", b"1", False), ("cars", b"3", True)):
        tree = trees.mot("MOT17")
        for path in [each for each in tree if each.endswith("gt.txt")]:
            rows = [row.split(b",") for row in (tree[path] or b"").splitlines()]
            tree[path] = b"".join(b",".join([*row[:7], number, *row[8:]]) + b"\n" for row in rows)
        change_tree(tmp_path / name, {}, tree)
        (found,) = recognise(tmp_path / name)
        report = look_at(found)
        with monkeypatch.context() as patch:
            patch.setattr(tables, "read_text", None)
            lines = list(lines_on_uses(found, report))
        assert lines
        assert any("--classes from-data" in line for line in lines) == asked
