"""MOT's CocoVID files say what the raw tree says, and a mistake in one is told by its place."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halftrack.data import DataError
from halftrack.data.check import check
from halftrack.data.mot import (
    FrameBatches,
    MotDetectionConfig,
    MotSequences,
    ReIDDataConfig,
    read_crops,
    read_mot,
)

FILES = {
    part: f"annotations/{part}_cocoformat.json"
    for part in ("train", "half-train", "half-val", "test")
}
CONFIG = MotDetectionConfig(image_scale=(160, 96), crop_size=(64, 64), min_size=8)


@pytest.fixture
def fake(fake_data: Path) -> Path:
    """MOT17 with what mot2coco made of it, in the places where MMTracking has both."""
    shutil.copytree(fake_data / "converted/MOT17/annotations", fake_data / "MOT17/annotations")
    return fake_data


def edit(fake: Path, change: Callable[[dict[str, Any]], None], part: str = "half-val") -> None:
    file = fake / "MOT17" / FILES[part]
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("split", ["train", "half-train", "half-val"])
def test_the_file_and_the_raw_tree_give_the_same_sequences(split: Any, fake: Path) -> None:
    raw, read = read_mot(fake, split), read_mot(fake, "train", json=FILES[split])
    assert len(raw) == len(read) > 0
    for one, other in zip(raw, read, strict=True):
        for name in ("name", "folder", "frame_numbers", "size", "frame_rate"):
            assert getattr(one, name) == getattr(other, name)
        assert [one.path(n) for n in one.frame_numbers] == [
            other.path(n) for n in other.frame_numbers
        ]
        assert one.truth is not None
        assert other.truth is not None
        people = one.truth.select(one.truth.classes == 1)
        orders = [np.lexsort((rows.ids, rows.frame_numbers)) for rows in (people, other.truth)]
        for each in fields(people):
            if each.name != "ids":  # numbered anew: which boxes share one is what counts
                mine, theirs = getattr(people, each.name), getattr(other.truth, each.name)
                np.testing.assert_array_equal(mine[orders[0]], theirs[orders[1]])
        pairs = zip(people.ids[orders[0]], other.truth.ids[orders[1]], strict=True)
        assert len(set(pairs)) == len(np.unique(people.ids)) == len(np.unique(other.truth.ids))


def test_a_detector_learns_and_is_scored_on_the_same_frames(fake: Path) -> None:
    named = replace(CONFIG, training_json=FILES["half-train"], test_json=FILES["half-val"])
    one, other = (FrameBatches.open(config, fake) for config in (CONFIG, named))
    assert one.num_samples == other.num_samples > 0
    for index in range(one.num_samples):
        first, second = (each.sample(seed=0, epoch=0, index=index) for each in (one, other))
        np.testing.assert_array_equal(first.image.numpy(), second.image.numpy())
        # The file's rows are sorted otherwise.
        assert sorted(first.boxes_xyxy.tolist()) == sorted(second.boxes_xyxy.tolist())
    tested = MotSequences.open(named, fake, threads=0, scored=True)
    assert [len(each) for each in tested] == [
        len(each) for each in MotSequences.open(CONFIG, fake, threads=0)
    ]
    report = check(fake, named, tracked=True)
    assert report.problems == ()
    assert [each.name for each in report.sets] == [
        f"MOT17 {FILES[part]}" for part in ("half-train", "half-val")
    ]


def test_public_boxes_are_those_of_its_frames(fake: Path) -> None:
    for source in (True, fake / "MOT17/annotations/half-val_detections.pkl"):
        raw = read_mot(fake, "half-val", detections=source)
        read = read_mot(fake, "train", detections=source, json=FILES["half-val"])
        for one, other in zip(raw, read, strict=True):
            assert one.detections is not None
            assert other.detections is not None
            np.testing.assert_array_equal(one.detections.boxes_ltwh, other.detections.boxes_ltwh)


def test_a_test_set_without_annotations_has_no_truth(fake: Path) -> None:
    sequences = read_mot(fake, "test", json=FILES["test"])
    assert sequences
    assert all(each.truth is None for each in sequences)


def test_public_boxes_go_by_the_names_of_the_file_s_images(fake: Path) -> None:
    def longer(name: str) -> str:
        folder, _, image = name.rpartition("/")
        return f"{folder}/00{image}"

    pickled = fake / "MOT17/annotations/half-val_detections.pkl"
    raw = read_mot(fake, "half-val", detections=pickled)

    def change(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["file_name"] = longer(image["file_name"])

    edit(fake, change)
    boxes = pickle.loads(pickled.read_bytes())["det_bboxes"]
    renamed = {longer(name): given for name, given in boxes.items()}
    pickled.write_bytes(pickle.dumps({"det_bboxes": renamed}))
    read = read_mot(fake, "train", detections=pickled, json=FILES["half-val"])
    for one, other in zip(raw, read, strict=True):
        assert one.detections is not None
        assert other.detections is not None
        np.testing.assert_array_equal(one.detections.boxes_ltwh, other.detections.boxes_ltwh)
        number = one.frame_numbers[-1]
        assert one.image_name(number) == f"{one.name}/img1/{number:06d}.jpg"
        assert one.sample_id(number) == f"{one.name}/img1/{number:06d}"
        assert other.image_name(number) == f"{one.name}/img1/{number:08d}.jpg"
        assert other.sample_id(number) == f"{one.name}/img1/{number:08d}"


def test_a_run_is_told_apart_by_the_images_that_the_file_names(fake: Path) -> None:
    named = replace(CONFIG, training_json=FILES["half-val"], test_json=FILES["half-val"])

    def facts() -> list[Any]:
        tested = MotSequences.open(named, fake, threads=0)
        return [FrameBatches.open(named, fake).facts(), tested.facts()]

    def change(content: dict[str, Any]) -> None:
        one, other, *_ = content["images"]
        one["file_name"], other["file_name"] = other["file_name"], one["file_name"]

    before = facts()
    assert facts() == before
    edit(fake, change)
    for was, now in zip(before, facts(), strict=True):
        (old,), (new,) = was.values(), now.values()
        assert {name for name in old if old[name] != new[name]} == {"ground truth"}


def test_facts_of_a_raw_tree_are_those_that_checkpoints_hold(fake: Path) -> None:
    learned, tested = FrameBatches.open(CONFIG, fake), MotSequences.open(CONFIG, fake, threads=0)
    assert learned.facts()["MOT17 half-train"]["ground truth"] == "56ed51aee4ff5cfe"
    assert tested.facts()["MOT17 half-val"]["ground truth"] == "df1446bd50503a5d"
    crops = read_crops(ReIDDataConfig(min_crops=2), fake)
    assert crops.facts()["ground truth"] == "1cce95fbde7deeda"


def test_names_of_images_are_free_and_people_may_be_called_person(fake: Path) -> None:
    folder = fake / "MOT17/train/MOT17-02-FRCNN/img1"
    shutil.copy(folder / "000008.jpg", folder.parent / "one frame.jpg")

    def change(content: dict[str, Any]) -> None:
        first = min(content["images"], key=lambda image: image["id"])
        first["file_name"] = "MOT17-02-FRCNN/one frame.jpg"
        content["categories"] = [{"id": 1, "name": "Person"}, {"id": 2, "name": "car"}]
        for annotation in content["annotations"]:
            annotation["category_id"] = 1 + (annotation["image_id"] != first["id"])

    edit(fake, change)
    first, *others = read_mot(fake, "train", json=FILES["half-val"])
    assert Path(first.path(8)).name == "one frame.jpg"
    assert first.truth is not None
    assert set(first.truth.frame_numbers) == {8}
    assert first.odd["objects of other categories, left out"] > 0
    assert all(each.truth is not None and len(each.truth) == 0 for each in others)


def test_boxes_without_a_track_or_an_id_are_objects_of_their_own(fake: Path) -> None:
    counted = read_mot(fake, "train", json=FILES["half-val"])

    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            del annotation["id"], annotation["instance_id"]

    edit(fake, change)
    for one, other in zip(counted, read_mot(fake, "train", json=FILES["half-val"]), strict=True):
        assert one.truth is not None
        assert other.truth is not None
        assert sorted(other.truth.ids) == list(range(1, len(one.truth) + 1))
        assert other.odd["boxes without a track"] == len(one.truth)


def test_a_flag_that_is_null_is_as_if_it_were_not_there(fake: Path) -> None:
    flags = (None, 0, 0.0, 1, 1.0)

    def change(content: dict[str, Any]) -> None:
        first = min(content["videos"], key=lambda video: video["name"])
        own = {each["id"] for each in content["images"] if each["video_id"] == first["id"]}
        people = [each for each in content["annotations"] if each["image_id"] in own]
        content["annotations"] = people[: len(flags)]
        for annotation, flag in zip(people, flags, strict=False):
            annotation["mot_conf"] = flag

    edit(fake, change)
    first, *_ = read_mot(fake, "train", json=FILES["half-val"])
    assert first.truth is not None
    assert first.truth.flags.tolist() == [True, False, False, True, True]


def test_ids_that_are_used_again_are_counted_once_for_the_file(fake: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"][:3]:
            annotation["id"] = 7

    edit(fake, change)
    report = check(fake, replace(CONFIG, test_json=FILES["half-val"]), tracked=True)
    assert report.problems == ()
    assert report.sets[-1].odd["annotation ids used again"] == 2


def rename(content: dict[str, Any]) -> None:
    content["videos"][0]["name"] = "a/b"


def shift(content: dict[str, Any]) -> None:
    content["images"][0]["mot_frame_id"] = 99


def repeat(content: dict[str, Any]) -> None:
    first = content["annotations"][0]
    content["annotations"].append({**first, "id": 10**6, "bbox": [0, 0, 9, 9]})


def share(content: dict[str, Any]) -> None:
    content["images"][1]["file_name"] = content["images"][0]["file_name"]


def resize(content: dict[str, Any]) -> None:
    content["images"][1]["width"] = 161


def put(table: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[table][0].update(values)


def corners(content: dict[str, Any]) -> None:
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x, y, x + width, y + height]


WRONG = {
    "a name with a slash": (rename, "expected a video with a name without /"),
    "a frame that is missing": (shift, "is frame 9, expected 100"),
    "an object twice in a frame": (repeat, "its object has a box in this frame already"),
    "a file twice": (share, "is the file of another image too"),
    "sizes that change": (resize, "sizes may not change within a sequence"),
    "corners": (corners, "its bbox, as those of others, looks like x1, y1, x2, y2"),
    "a rate": (put("videos", fps="30"), "fps is '30', expected frames a second"),
    "a class": (put("annotations", mot_class_id=14), "mot_class_id is 14, allowed are 1 to 13"),
    "a flag": (put("annotations", mot_conf="0"), "mot_conf is '0', expected 0 or 1"),
    "a confidence": (put("annotations", mot_conf=0.5), "mot_conf is 0.5, expected 0 or 1"),
    "a share": (put("annotations", visibility=2), "visibility is 2, allowed are 0 to 1"),
    "a category": (put("annotations", category_id=9), "category_id 9 is not in categories"),
    "a negative width": (put("annotations", bbox=[1, 1, -4, 4]), "width -4 and height 4"),
    "a path that leads out": (put("images", file_name="../a.jpg"), "expected a path below"),
    "a huge image": (put("images", width=10**6), "expected 1 to 100000 pixels"),
    "an image twice": (lambda c: c["images"].append(c["images"][0]), "id 63 comes twice"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_and_the_check_lists_it(name: str, fake: Path) -> None:
    change, told = WRONG[name]
    edit(fake, change)
    with pytest.raises(DataError) as caught:
        read_mot(fake, "train", json=FILES["half-val"])
    assert told in str(caught.value)
    assert "half-val_cocoformat.json" in caught.value.file
    problems = check(fake, replace(CONFIG, test_json=FILES["half-val"]), tracked=True).problems
    assert any(told in problem.reason for problem in problems)


def test_a_file_that_is_missing_is_named(fake: Path) -> None:
    with pytest.raises(DataError, match=r"annotations/mine.json: annotation file is missing"):
        read_mot(fake, "train", json="annotations/mine.json")
