"""``lasot_test.json`` of MMTracking says what LaSOT's own files say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halftrack.data import DataError
from halftrack.data.check import check_sot
from halftrack.data.sot import read_sot

FILE = "converted/lasot/annotations/lasot_test.json"


def test_the_file_and_the_raw_tree_give_the_same_sequences(fake_data: Path) -> None:
    root = fake_data / "lasot"
    for part in ("test", "train"):
        infos = fake_data / f"converted/lasot/annotations/lasot_{part}_infos.txt"
        raw = read_sot(root, "LaSOT", infos=infos)
        read = read_sot(root, "LaSOT", infos=infos.with_name(f"lasot_{part}.json"))
        assert len(raw) == len(read) == 2
        for one, other in zip(raw, read, strict=True):
            assert (one.name, one.numbers) == (other.name, other.numbers)
            assert one.path(3) == other.path(3)
            np.testing.assert_array_equal(one.truth(), other.truth())
            assert one.absent.tolist() == other.absent.tolist()


def change(file: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_the_first_box_alone_may_be_published(fake_data: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in (1, 7)]

    change(fake_data / FILE, edit)
    for sequence in read_sot(fake_data / "lasot", "LaSOT", infos=fake_data / FILE):
        assert sequence.boxes_xyxy is None
        assert len(sequence) in (6, 8)
        assert not sequence.absent.any()


def test_ids_that_are_used_again_are_counted_once_for_the_file(fake_data: Path) -> None:
    change(fake_data / FILE, lambda content: content["annotations"][1].update(id=1))
    report = check_sot(fake_data / "lasot", "LaSOT", infos=fake_data / FILE)
    assert report.problems == ()
    assert report.odd["annotation ids used again"] == 1


def put(table: str, place: int = 0, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[table][place].update(values)


def drop(content: dict[str, Any]) -> None:
    del content["annotations"][2]


def second(content: dict[str, Any]) -> None:
    content["annotations"].append({**content["annotations"][1], "id": 99})


WRONG = {
    "a box that is missing": (drop, "5 boxes for 6 images; expected one an image"),
    "two boxes": (second, "has 2 boxes, expected one target"),
    "two objects": (put("annotations", 1, instance_id=7), "2 objects .instance_id., expected one"),
    "a name": (put("images", 1, file_name="airplane/airplane-1/img/x.jpg"), "expected the image"),
    "no number": (put("images", file_name="airplane/airplane-1/img/x.jpg"), "expected a number"),
    "a path": (put("images", file_name="../img/1.jpg"), "expected a path below the data set"),
    "a box": (put("annotations", 1, bbox=[1, 1, -2, 4]), "width -2 and height 4"),
    "the first box": (put("annotations", bbox=[1, 1, 0, 0]), "no tracker can start from the first"),
    "an image": (put("images", height=-1), "height is not a number of pixels"),
    "an order": (put("images", frame_id="a"), "has no order and is left out"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_and_other_sequences_are_kept(name: str, fake_data: Path) -> None:
    edit, told = WRONG[name]
    change(fake_data / FILE, edit)
    with pytest.raises(DataError, match=told):
        read_sot(fake_data / "lasot", "LaSOT", infos=fake_data / FILE)
    problems: list[Any] = []
    (kept,) = read_sot(fake_data / "lasot", "LaSOT", infos=fake_data / FILE, problems=problems)
    assert kept.name == "cat-3"
    assert len(problems) == 1
