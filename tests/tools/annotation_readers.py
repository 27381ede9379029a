"""The readers of ImageNet VID, DET, COCO and CocoVID, set up to be fuzzed: see ``fuzzing``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing import Reader, mutated_bytes, mutated_lines, mutated_tree

from halftrack.data import VideoIndex
from halftrack.data.index_cache import cached_index
from halftrack.data.mot import learned_rows
from halftrack.data.mot.coco_json import read_json as read_mot_json
from halftrack.data.parsed_video import ParsedVideo, assemble_index
from halftrack.data.problems import DataError
from halftrack.data.sot.coco_json import read_json as read_sot_json
from halftrack.data.sot.pair_objects import objects_of
from halftrack.data.vid.annotation_xml import XmlVideo, parse_video
from halftrack.data.vid.coco_vid import build_index
from halftrack.data.vid.imagenet_lists import (
    listed_stills,
    training_snippets,
    validation_snippets,
)

CLASSES = (("car", "n02958343"), ("dog", "n02084071"))
LABELS = {wnid: label for label, (_, wnid) in enumerate(CLASSES)}

_OBJECT = (
    "<object><trackid>{0}</trackid><name>n02958343</name><bndbox><xmax>40</xmax><xmin>5</xmin>"
    "<ymax>30</ymax><ymin>6</ymin></bndbox><occluded>0</occluded><generated>1</generated></object>"
)
XML = (
    '<?xml version="1.0" encoding="utf-8"?>\n<annotation><folder>a</folder><size><width>100</width>'
    f"<height>80</height></size>{_OBJECT.format(0)}{_OBJECT.format(1)}</annotation>"
)
_XML_STARTS = [
    XML.encode(),
    XML.partition("\n")[2].encode(),
    XML.replace("utf-8", "utf-16").encode("utf-16"),
    XML.replace("utf-8", "gb2312").replace(">a<", ">\u6c7d\u8f66<").encode("gb2312"),
]
_XML_TOKENS = [
    b"nan", b"inf", b"-1", b"1e999", b"</object>", b"<object>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b"&b;", b"&#0;", b"<![CDATA[", b"]]>", b'encoding="shift_jis"', b'encoding="x-foo"', b"<?xml",
    b'encoding="zip"', b'encoding="utf-7"',
    b"version https://git-lfs.github.com/spec/v1", b"<html>",
]  # fmt: skip

TREE: dict[str, Any] = {
    "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog", "encode_name": "n02084071"}],
    "videos": [{"id": 1, "name": "street"}, {"id": 2, "name": "park"}],
    "images": [
        {"id": 10 * v + f, "video_id": v, "frame_id": f, "file_name": f"{n}/{f}.JPEG",
         "width": 100, "height": 80}
        for v, n in ((1, "street"), (2, "park")) for f in range(2)
    ],
    "annotations": [
        {"id": 10 * v + f, "image_id": 10 * v + f, "category_id": v, "bbox": [5, 6, 35, 24.5],
         "instance_id": 1, "iscrowd": 0}
        for v in (1, 2) for f in range(2)
    ],
}  # fmt: skip
PEOPLE: dict[str, Any] = {
    **TREE,
    "categories": [{"id": 1, "name": "pedestrian"}, {"id": 2, "name": "car"}],
    "videos": [{"id": 1, "name": "street", "fps": 30}, {"id": 2, "name": "park"}],
    "images": [image | {"mot_frame_id": image["frame_id"] + 3} for image in TREE["images"]],
    "annotations": [
        each | {"visibility": 0.5, "mot_instance_id": 4, "mot_conf": 1.0, "mot_class_id": 1}
        for each in TREE["annotations"]
    ],
}
TARGETS: dict[str, Any] = {
    **TREE,
    "videos": [{"id": 1, "name": "a"}],
    "images": [
        image | {"file_name": f"a/img/{n + 1:08d}.jpg", "video_id": 1, "frame_id": n}
        for n, image in enumerate(TREE["images"])
    ],
    "annotations": [
        each | {"full_occlusion": False, "out_of_view": n == 2}
        for n, each in enumerate(TREE["annotations"])
    ],
}
STILLS = {
    "categories": TREE["categories"],
    "images": [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in range(3)],
    "annotations": [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [5, 6, 35, 24], "iscrowd": i % 2}
        for i in range(3)
    ],
}

_TRAINING = [f"train/0000/a 1 {key} 12" for key in (1, 5, 12)]
_VALIDATION = [f"val_0/{frame:06d} {frame + 1}" for frame in range(4)]


def must_be_usable(index: VideoIndex) -> None:
    """Whatever the file said, what is trained on is finite and inside of its image."""
    for problem in index.problems:
        assert len(problem.reason) < 1500
        assert "\n" not in str(problem)
    boxes = index.boxes_xyxy
    assert np.isfinite(boxes).all()
    assert (index.frame_sizes >= 1).all()
    frames = np.repeat(np.arange(index.num_frames), np.diff(index.box_starts))
    limit = np.tile(index.frame_sizes[frames][:, ::-1], 2)
    inside = boxes.clip(0, limit)
    assert (inside[:, 2:] - inside[:, :2] > 0).all()
    assert len(set(index.video_names)) == len(index.video_names) or -1 in index.track_ids
    objects = objects_of(index, "fuzzed")
    assert len(objects.frames) == int((~index.ignored).sum())
    index.training_keys(min_size=1)


def read_xml(content: bytes, folder: Path) -> None:
    (folder / "000000.xml").write_bytes(content)
    video = XmlVideo("a", str(folder), ("000000",), frozenset(), LABELS)
    must_be_usable(assemble_index([parse_video(video)], image_root=folder, classes=CLASSES))


def read_json(tree: Any, folder: Path) -> None:
    file = folder / "a.json"
    file.write_text(json.dumps(tree))
    must_be_usable(build_index(file, folder, CLASSES))


def read_json_bytes(content: bytes, folder: Path) -> None:
    (folder / "a.json").write_bytes(content)
    must_be_usable(build_index(folder / "a.json", folder, None))


def read_people(tree: Any, folder: Path) -> None:
    """Whatever the file said, boxes are finite and frames are those of the sequence."""
    (folder / "people.json").write_text(json.dumps(tree))
    for sequence in read_mot_json(folder / "people.json", folder, None):
        assert sequence.path(sequence.frame_numbers[-1])
        assert "/" not in sequence.name
        rows = sequence.truth
        if rows is not None:
            assert np.isfinite(rows.boxes_xyxy).all()
            assert set(rows.frame_numbers.tolist()) <= set(sequence.frame_numbers)
            assert ((rows.visibility >= 0) & (rows.visibility <= 1)).all()
            learned_rows(sequence)


def read_targets(tree: Any, folder: Path) -> None:
    (folder / "a/img").mkdir(parents=True, exist_ok=True)
    for number in range(1, 5):
        (folder / f"a/img/{number:08d}.jpg").touch()
    (folder / "targets.json").write_text(json.dumps(tree))
    for sequence in read_sot_json(folder / "targets.json", folder, None):
        assert len(sequence.absent) == len(sequence)
        assert (sequence.first_box_xyxy[2:] > sequence.first_box_xyxy[:2]).all()


def read_training_list(content: bytes, folder: Path) -> None:
    _tree(folder)
    (folder / "VID_train_15frames.txt").write_bytes(content)
    listed = training_snippets(folder, folder / "Annotations/VID", listed=True)
    assert sum(len(stems) for stems, _ in listed.snippets.values()) <= 10_000
    assert all(keys <= set(stems) for stems, keys in listed.snippets.values())


def read_validation_lists(content: bytes, folder: Path) -> None:
    _tree(folder)
    lists = folder / "ImageSets/VID"
    lists.mkdir(parents=True, exist_ok=True)
    for file in (lists / "val.txt", lists / "train_1.txt", folder / "VID_val_videos.txt"):
        file.write_bytes(content)
    annotations = folder / "Annotations/VID"
    refused = 0
    for read in (
        lambda: validation_snippets(folder, annotations),
        lambda: training_snippets(folder, annotations, listed=False),
        (lists / "val.txt").unlink,
        lambda: validation_snippets(folder, annotations),
    ):
        try:
            read()
        except DataError:
            refused += 1
    if refused:
        raise DataError("lists", f"{refused} of them were refused")


def read_stills_list(content: bytes, folder: Path) -> None:
    (folder / "DET_train_30classes.txt").write_bytes(content)
    listed_stills(folder)


def read_cache(content: bytes, folder: Path) -> None:
    """A damaged cache is built again: never an error, and never another index."""
    (folder / _cache_name(folder)).write_bytes(content)
    index = cached_index(key={}, fingerprint="f", build=_small_index, folder=folder)
    assert index.video_names == ("a",)
    np.testing.assert_array_equal(index.boxes_xyxy, [[5, 6, 40, 30]])
    assert index.frame_files.tolist() == [b"a/000000.JPEG"]


def _tree(folder: Path) -> None:
    if (folder / "Annotations").exists():
        return
    for name in ("train/0000/a", "val/val_0"):
        place = folder / "Annotations/VID" / name
        place.mkdir(parents=True)
        for frame in range(4):
            (place / f"{frame:06d}.xml").touch()
    (folder / "Annotations/VID/train/0000/a/000011.xml").touch()


def _small_index() -> VideoIndex:
    video = ParsedVideo(name="a")
    video.add_frame("a/000000.JPEG", height=80, width=100, is_key=True, source="a.xml")
    video.add_box((5, 6, 40, 30), label=0, track="0", source="a.xml")
    return assemble_index([video], image_root=Path("/nowhere"), classes=CLASSES)


def _cache_name(folder: Path) -> str:
    cached_index(key={}, fingerprint="f", build=_small_index, folder=folder)
    (file,) = folder.glob("index-*.npz")
    return file.name


def _cache_file() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return (Path(folder) / _cache_name(Path(folder))).read_bytes()


READERS = (
    Reader("VID XML", mutated_bytes(_XML_STARTS, _XML_TOKENS), read_xml),
    Reader("CocoVID tree", mutated_tree(TREE), read_json),
    Reader("CocoVID tree of people", mutated_tree(PEOPLE), read_people),
    Reader("CocoVID tree of targets", mutated_tree(TARGETS), read_targets),
    Reader("COCO tree", mutated_tree(STILLS), read_json),
    Reader(
        "CocoVID bytes",
        mutated_bytes([json.dumps(TREE).encode()], [b"NaN", b"[" * 5000, b"{", b"1e400", b'"id"']),
        read_json_bytes,
    ),
    Reader("VID_train_15frames.txt", mutated_lines(_TRAINING), read_training_list),
    Reader("VID val and train lists", mutated_lines(_VALIDATION), read_validation_lists),
    Reader("DET_train_30classes.txt", mutated_lines(_TRAINING), read_stills_list),
    Reader("cached index", mutated_bytes([_cache_file()], edits=2), read_cache),
)
