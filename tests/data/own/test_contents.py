"""Data of one's own are counted and judged by the functions that train and test."""

from __future__ import annotations

import builtins
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import own_trees
import pytest
import small_trees as trees
from small_trees import FRAMES, Tree, change_tree

from halftrack.data.check import DataReport
from halftrack.data.own.contents import look_at
from halftrack.data.own.layouts import recognise
from halftrack.data.tables import coco_records


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def report_of(root: Path, tree: Tree) -> DataReport:
    change_tree(root, {}, tree)
    (found,) = recognise(root)
    return look_at(found, decode=True)


CASES: dict[str, tuple[Callable[[], Tree], list[str]]] = {
    "ImageNet's folders": (
        own_trees.own_vid,
        [f"train vid: 2 videos, {2 * FRAMES} frames", "sizes: 64x48 (12)", "tram 12, van 12"],
    ),
    "MOT17": (lambda: trees.mot("MOT17"), ["MOT17 half-train: 2 videos", "pedestrian"]),
    "LaSOT": (trees.lasot, ["LaSOT test: 2 sequences", "LaSOT train: 2 sequences"]),
    "sequences": (own_trees.sequences, ["sequences: 2 videos", "pedestrian"]),
    "COCO": (own_trees.coco, ["own.json: 2 videos", "stills.json: 12 stills", "car 12, dog 12"]),
    "YOLO": (own_trees.yolo, ["images: 3 stills", "van 1, tram 2", "1 images without a text file"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_there_is_counted(name: str, tmp_path: Path) -> None:
    tree, told = CASES[name]
    report = report_of(tmp_path, tree())
    lines = "\n".join(report.lines())
    assert report.ok, lines
    assert [each for each in told if each not in lines] == [], lines


FAULTS: dict[str, tuple[Callable[[], Tree], str, bytes | None, str]] = {
    "a broken XML file": (
        own_trees.own_vid,
        "ILSVRC/Annotations/VID/train/shard/a/000002.xml",
        b"<annotation>",
        "000002.xml: malformed XML",
    ),
    "a broken table": (
        own_trees.sequences,
        "MOT17-02-FRCNN/gt/gt.txt",
        b"1,1,5,5,20,20,1,1,1\n1,2,5,5,x,20,1,1,1\n",
        "gt.txt: line 2, '1,2,5,5,x,20,1,1,1': 'x' is not a number",
    ),
    "no ground truth": (
        own_trees.sequences,
        "MOT17-02-FRCNN/gt/gt.txt",
        None,
        "gt.txt: ground truth is missing",
    ),
    "images that are elsewhere": (
        own_trees.coco,
        "pictures/train/video0/000000.JPEG",
        None,
        "own.json: its first image, 'train/video0/000000.JPEG', is neither below",
    ),
    "a line of text": (
        own_trees.yolo,
        "labels/train/001.txt",
        b"1 0.5 0.5 0.2 0.2\nvan 0.5 0.5 0.2 0.2\n",
        "001.txt: line 2, 'van 0.5 0.5 0.2 0.2': class 'van'",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_told_with_file_and_line(name: str, tmp_path: Path) -> None:
    tree, path, content, told = FAULTS[name]
    damaged = tree()
    if content is None:
        del damaged[path]
    else:
        damaged[path] = content
    report = report_of(tmp_path, damaged)
    assert any(told in str(problem) for problem in report.problems), report.lines()


@pytest.mark.parametrize("name", ["/etc/passwd", "a" * 5000, "a" * 300, "a\0b", 7])
def test_a_first_image_that_cannot_be_hides_no_folder(name: object, tmp_path: Path) -> None:
    tree = own_trees.coco()
    tables = json.loads(tree["annotations/own.json"] or b"")
    tables["images"][0]["file_name"] = name
    tree["annotations/own.json"] = json.dumps(tables).encode()
    del tree["annotations/stills.json"]
    report = report_of(tmp_path, tree)
    told = [str(problem) for problem in report.problems]
    assert told
    assert all("file_name" in each or "a" * 40 in each for each in told), told


def test_an_annotation_without_any_class_is_told(tmp_path: Path) -> None:
    tree = own_trees.own_vid()
    for path in tree:
        if path.endswith(".xml"):
            tree[path] = (
                b"<annotation><size><width>64</width><height>48</height></size></annotation>"
            )
    (problem,) = report_of(tmp_path, tree).problems
    assert "no object with a class" in problem.reason


def test_a_json_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_tree(tmp_path, {}, own_trees.coco())
    (found,) = recognise(tmp_path)
    parsed = []
    read = coco_records.read_content

    def counting(file: Path, **how: Any) -> bytes:
        parsed.append(file.name)
        return read(file, **how)

    monkeypatch.setattr(coco_records, "read_content", counting)
    assert look_at(found).ok
    assert parsed == ["own.json", "stills.json"]


READ_ONCE: dict[str, tuple[Callable[[], Tree], set[str]]] = {
    "VID": (trees.vid, {"xml", "JPEG"}),
    "VID to test on alone": (
        lambda: {path: told for path, told in trees.vid().items() if "train" not in path},
        {"xml", "JPEG"},
    ),
    "DET": (trees.det, {"xml", "JPEG"}),
    "MOT17": (lambda: trees.mot("MOT17"), {"txt", "ini", "jpg"}),
    "sequences": (own_trees.sequences, {"txt", "ini", "jpg"}),
}


@pytest.mark.parametrize("name", READ_ONCE)
def test_each_file_is_opened_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, endings = READ_ONCE[name]
    opened = opens(tree(), tmp_path, monkeypatch)
    told = {path: count for path, count in opened.items() if path.rpartition(".")[2] in endings}
    assert {path.rpartition(".")[2] for path in told} == endings
    assert {path: count for path, count in told.items() if count > 1} == {}


def test_the_first_image_of_a_target_is_looked_at_for_its_size_and_as_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opens(trees.lasot(), tmp_path, monkeypatch)
    images = {path: count for path, count in opened.items() if path.endswith(".jpg")}
    assert {path.endswith("00000001.jpg"): count for path, count in images.items()} == {
        True: 2,
        False: 1,
    }


def opens(tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a look at a tree opens each of its files."""
    change_tree(root, {}, tree)
    (found,) = recognise(root)
    opened: Counter[str] = Counter()
    real = builtins.open

    def counting(file: Any, *args: Any, **how: Any) -> Any:
        opened[str(file)] += 1
        return real(file, *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", counting)
        report = look_at(found)
    assert report.ok, report.lines()
    return Counter({path: count for path, count in opened.items() if str(root) in path})


def test_images_are_found_beside_what_systems_leave(tmp_path: Path) -> None:
    tree = own_trees.coco()
    left = {f".{n:03d}/a": b"" for n in range(60)} | {f"annotations/._{n}.json": b"" for n in "ab"}
    report = report_of(tmp_path, tree | left)
    assert report.ok, report.lines()


LINKS: dict[str, tuple[Callable[[], Tree], str]] = {
    "VID's list to test on": (trees.vid, "ILSVRC/ImageSets/VID/val.txt"),
    "VID's list to train on": (trees.vid, "ILSVRC/Lists/VID_train_15frames.txt"),
    "truth of MOT17": (lambda: trees.mot("MOT17"), "MOT17/train/MOT17-02-FRCNN/gt/gt.txt"),
    "LaSOT's list": (trees.lasot_infos, "LaSOTBenchmark/testing_set.txt"),
    "YOLO's boxes": (own_trees.yolo, "labels/train/002.txt"),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_leads_nowhere_is_not_taken_for_no_file(name: str, tmp_path: Path) -> None:
    tree, path = LINKS[name]
    change_tree(tmp_path, {}, {each: told for each, told in tree().items() if each != path})
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).symlink_to("elsewhere")
    (found,) = recognise(tmp_path)
    problems = look_at(found).problems
    assert any(f"{path}: " in str(each) and "leads nowhere" in str(each) for each in problems)
