"""A split leaves its source as it is, keeps videos whole, and gives a tree that recipes read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import own_trees
import pytest
import small_trees as trees
from small_trees import FRAMES, Tree, change_tree

from halftrack.data.own.contents import look_at
from halftrack.data.own.layouts import recognise
from halftrack.data.own.split import split_data
from halftrack.errors import UserError
from halftrack.recipes.uses import lines_on_uses


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def without_seqinfo() -> Tree:
    return {path: told for path, told in own_trees.sequences().items() if "seqinfo" not in path}


def without_list() -> Tree:
    return {path: told for path, told in trees.lasot().items() if "testing_set" not in path}


CASES: dict[str, tuple[Callable[[], Tree], str, int, str]] = {
    "ImageNet VID": (own_trees.own_vid, ".", 4, "train selsa_tiny_sample"),
    "MOT17": (partial(trees.mot, "MOT17"), ".", 2, "train faster-rcnn_tiny_sample"),
    "sequences": (without_seqinfo, ".", 2, "train faster-rcnn_tiny_sample"),
    "LaSOT": (trees.lasot, ".", 4, "train siamese_rpn_tiny_sample"),
    "LaSOT without its list": (without_list, ".", 4, "train siamese_rpn_tiny_sample"),
    "CocoVID": (own_trees.coco, "annotations/own.json", 2, "train selsa_tiny_sample"),
    "stills": (own_trees.coco, "annotations/stills.json", 2, "data.training_sets=det"),
    "YOLO": (own_trees.yolo, ".", 3, "data.training_sets=det"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_parts_are_read_and_the_source_is_as_it_was(name: str, tmp_path: Path) -> None:
    tree, below, count, command = CASES[name]
    source, out = tmp_path / "source", tmp_path / "out"
    change_tree(source, {}, tree())
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    (found,) = recognise(source / below)
    split = split_data(found, out, share=0.3)
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before
    assert not set(split.train) & set(split.val)
    assert len(split.train) + len(split.val) == count
    (parts,) = recognise(out)
    report = look_at(parts)
    assert report.ok, report.lines()
    assert any(command in line for line in lines_on_uses(parts, report))


def test_boxes_that_cannot_be_read_are_not_left_out_in_silence(tmp_path: Path) -> None:
    tree = own_trees.yolo() | {
        "labels/train/002.txt": b"1 0.5 0.5 0.2 0.2\nvan 0.5 0.5 0.2 0.2\n" * 2
    }
    change_tree(tmp_path / "source", {}, tree)
    (found,) = recognise(tmp_path / "source")
    with pytest.raises(UserError, match=r"002.txt: line 2.*'van'.*; 1 more: see .halftrack data"):
        split_data(found, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_films_become_sequences_of_images(tmp_path: Path) -> None:
    source, out = tmp_path / "films", tmp_path / "out"
    source.mkdir()
    own_trees.write_films(source)
    (found,) = recognise(source)
    split = split_data(found, out)
    assert sorted((*split.train, *split.val)) == ["a", "b"]
    (parts,) = recognise(out)
    trained, tested = look_at(parts, decode=True).sets
    assert trained.counts["frames"] == tested.counts["frames"] == FRAMES
    assert trained.boxes_per_class == tested.boxes_per_class == {"car": FRAMES}
    assert not trained.problems + tested.problems


def test_the_choice_is_of_the_seed_alone_and_of_the_share_asked_for(tmp_path: Path) -> None:
    change_tree(tmp_path / "source", {}, trees.lasot())
    (found,) = recognise(tmp_path / "source")
    splits = [
        split_data(found, tmp_path / f"out{number}", share=share, seed=seed)
        for number, (share, seed) in enumerate([(0.5, 1), (0.5, 1), (0.5, 2), (0.99, 1)])
    ]
    assert splits[0] == splits[1] != splits[2]
    assert [len(each.val) for each in splits] == [2, 2, 2, 3]


def test_frames_of_a_video_stay_together_though_they_are_stills(tmp_path: Path) -> None:
    tree = {f"images/clip{c}_{n}.jpg": trees.image(n) for c in "ab" for n in range(3)}
    tree |= {"labels/clipa_0.txt": b"0 0.5 0.5 0.25 0.5\n"}
    change_tree(tmp_path / "source", {}, tree)
    (found,) = recognise(tmp_path / "source")
    split = split_data(found, tmp_path / "out")
    assert sorted((*split.train, *split.val)) == ["images/clipa_", "images/clipb_"]


def test_copies_of_a_video_stay_together(tmp_path: Path) -> None:
    tree = own_trees.sequences()
    copies = {path.replace("-FRCNN", "-SDP"): told for path, told in tree.items()}
    change_tree(tmp_path / "source", {}, tree | copies)
    (found,) = recognise(tmp_path / "source")
    split = split_data(found, tmp_path / "out")
    assert sorted((*split.train, *split.val)) == ["MOT17-02", "MOT17-04"]
    (kept,) = split.train
    names = sorted(folder.name for folder in (tmp_path / "out/MOT17/train").iterdir())
    assert names == [f"{kept}-FRCNN", f"{kept}-SDP"]


TWICE: dict[str, tuple[Tree, str]] = {
    "LaSOT": (
        {f"{kind}/001/groundtruth.txt": b"1,1,9,9\n" for kind in ("car", "dog")}
        | {f"{kind}/001/img/00000001.jpg": trees.image(1) for kind in ("car", "dog")},
        "'001'",
    ),
    "MOTChallenge": (
        {f"{part}/a/gt/gt.txt": b"1,1,5,5,9,9,1,1,1\n" for part in ("train", "test")},
        "'a'",
    ),
    "videos": ({"a.mp4": b"", "a.avi": b"", "a.txt": b""}, "'a'"),
    "ImageNet VID": (
        {
            f"Annotations/VID/train/{name}/000000.xml": b"<annotation></annotation>"
            for name in ("a/b", "a_b")
        },
        "'train_a_b'",
    ),
}


@pytest.mark.parametrize("name", TWICE)
def test_names_that_stand_twice_are_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    tree, told = TWICE[name]
    change_tree(tmp_path / "source", {}, tree)
    (found,) = recognise(tmp_path / "source")
    with pytest.raises(UserError, match=rf"would both be called {told}.*rename one"):
        split_data(found, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_after_a_split_that_failed_the_same_command_is_tried_again(tmp_path: Path) -> None:
    tree, out = without_seqinfo(), tmp_path / "out"
    lost = {path: told for path, told in tree.items() if "-04-FRCNN/img1" in path}
    change_tree(tmp_path / "source", {}, {path: tree[path] for path in tree.keys() - lost.keys()})
    (found,) = recognise(tmp_path / "source")
    with pytest.raises(UserError, match="no image here"):
        split_data(found, out)
    assert list(out.iterdir()) == []
    change_tree(tmp_path / "source", {}, lost)
    (out / ".unfinished/MOT17").mkdir(parents=True)  # as a split that was killed leaves it
    split_data(found, out)
    assert [entry.name for entry in out.iterdir()] == ["MOT17"]


def test_stills_of_imagenet_det_stay_for_training(tmp_path: Path) -> None:
    change_tree(tmp_path / "source", {}, trees.det() | trees.vid())
    (found,) = recognise(tmp_path / "source")
    split_data(found, tmp_path / "out")
    (parts,) = recognise(tmp_path / "out")
    assert parts.parts == ("train", "val", "det")
    report = look_at(parts)
    assert report.ok, report.lines()
    assert [each.name for each in report.sets] == ["train vid", "train det", "val vid"]


def test_what_systems_leave_in_folders_is_no_part(tmp_path: Path) -> None:
    tree = without_seqinfo()
    left = {f"{path.rpartition('/')[0]}/._0.jpg": b"" for path in tree if path.endswith(".jpg")}
    left |= {"@eaDir/gt/gt.txt": b"", "MOT17-02-FRCNN/.DS_Store": b""}
    change_tree(tmp_path / "source", {}, tree | left)
    (found,) = recognise(tmp_path / "source")
    split = split_data(found, tmp_path / "out")
    assert sorted((*split.train, *split.val)) == ["MOT17-02", "MOT17-04"]
    assert not list((tmp_path / "out").glob("MOT17/*/*/.DS_Store"))
    (parts,) = recognise(tmp_path / "out")
    assert look_at(parts).ok


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    change_tree(tmp_path / "source", {}, trees.otb() | own_trees.coco())
    (otb,) = recognise(tmp_path / "source/OTB100")
    with pytest.raises(UserError, match="OTB100 has parts of its own"):
        split_data(otb, tmp_path / "out")
    (coco,) = recognise(tmp_path / "source/annotations")
    with pytest.raises(UserError, match=r"holds own\.json, stills\.json: name one"):
        split_data(coco, tmp_path / "out")
    with pytest.raises(UserError, match="is not empty"):
        split_data(coco, tmp_path / "source")
    one = {path: told for path, told in own_trees.sequences().items() if "-02-" in path}
    change_tree(tmp_path / "one", {}, one)
    (found,) = recognise(tmp_path / "one")
    with pytest.raises(UserError, match="takes two sequences with ground truth, here: 1"):
        split_data(found, tmp_path / "out")
    assert not (tmp_path / "out").exists()
