"""What a split divides, and why it would not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import own_trees
import pytest
import small_trees as trees
from small_trees import Tree, change_tree

from halftrack.data.own.contents import look_at
from halftrack.data.own.divisible import split_refusal
from halftrack.data.own.layouts import recognise


def part(tree: Callable[[], Tree], *without: str) -> Tree:
    return {path: told for path, told in tree().items() if not any(w in path for w in without)}


REFUSED: dict[str, tuple[Tree, str]] = {
    "DET alone": (part(trees.det, "/VID/"), "stills are for training beside ImageNet VID's"),
    "one video": (part(own_trees.own_vid, "/b/", "/val"), "takes two videos, here: 1"),
    "one sequence": (part(own_trees.sequences, "-04-"), "two sequences with ground truth, here: 1"),
    "no truth": (part(own_trees.sequences, "gt.txt"), "two sequences with ground truth, here: 0"),
    "one target": (part(trees.lasot, "testing_set", "dog", "-2"), "takes two sequences, here: 1"),
    "one image": (part(own_trees.yolo, "001", "002"), "takes two videos or images, here: 1"),
    "a box that is none": (
        own_trees.yolo() | {"labels/train/002.txt": b"van 0.5 0.5 0.2 0.2\n"},
        "its problems come first",
    ),
    "a broken file": ({"a.json": b'{"images": ['}, "its problems come first"),
    "GOT-10k": (part(trees.got10k, "coco"), "GOT-10k has parts of its own"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_divided_says_why(name: str, tmp_path: Path) -> None:
    tree, told = REFUSED[name]
    change_tree(tmp_path, {}, tree)
    (found,) = recognise(tmp_path)
    assert told in (split_refusal(found, look_at(found).sets[0]) or "")


def test_what_can_be_divided_has_no_reason_against_it(tmp_path: Path) -> None:
    change_tree(tmp_path, {}, own_trees.yolo())
    (found,) = recognise(tmp_path)
    assert split_refusal(found, look_at(found).sets[0]) is None
