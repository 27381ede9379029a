"""Annotations of VID, DET, COCO and CocoVID that cannot be meant are refused with their place.

Each row is a story: something that converters, merging scripts, editors or downloads leave behind.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_readers import CLASSES, LABELS, STILLS, TREE, XML
from PIL import Image

from halftrack.data import DataError, VideoIndex
from halftrack.data.check import check
from halftrack.data.parsed_video import assemble_index
from halftrack.data.vid import TrainingClips, VidDataConfig
from halftrack.data.vid.annotation_xml import XmlVideo, parse_video
from halftrack.data.vid.coco_vid import read_coco_vid
from halftrack.data.vid.imagenet_lists import (
    listed_stills,
    training_snippets,
    validation_snippets,
)
from halftrack.data.vid.videos import TestVideos
from halftrack.synthetic import SYNTHETIC_CLASSES, SyntheticVideo, write_synthetic

BOX = [[5, 6, 40, 30]]


def declared(encoding: str, folder: str = "a") -> str:
    return XML.replace("utf-8", encoding).replace(">a<", f">{folder}<")


ENCODINGS: dict[str, tuple[bytes, str | None]] = {
    "UTF-8": (XML.encode(), None),
    "UTF-8 with a byte order mark": (XML.encode("utf-8-sig"), None),
    "no declaration": (XML.partition("\n")[2].encode(), None),
    "UTF-16 with a byte order mark": (declared("utf-16").encode("utf-16"), None),
    "UTF-16, big endian": (b"\xfe\xff" + declared("utf-16").encode("utf-16-be"), None),
    "UTF-16 declared by a program that wrote UTF-8": (declared("utf-16").encode(), None),
    "UTF-32 with a byte order mark": (declared("utf-32").encode("utf-32"), None),
    "Latin 1": (declared("iso-8859-1", "caf\u00e9").encode("latin-1"), None),
    "Windows, west": (declared("windows-1252", "\u20ac").encode("cp1252"), None),
    "Windows, Cyrillic": (declared("windows-1251", "\u0434\u0430").encode("cp1251"), None),
    "Chinese Windows": (declared("gb2312", "\u6c7d\u8f66").encode("gb2312"), None),
    "Chinese, newer characters": (declared("GB2312", "\u9555").encode("gb18030"), None),
    "Big5": (declared("big5", "\u8eca").encode("big5"), None),
    "Japanese": (declared("Shift_JIS", "\u8eca").encode("cp932"), None),
    "Japanese Unix": (declared("euc-jp", "\u8eca").encode("euc-jp"), None),
    "Korean": (declared("euc-kr", "\ucc28").encode("euc-kr"), None),
    "an unknown encoding": (declared("x-foo").encode(), "encoding 'x-foo' is unknown"),
    "an encoding of bytes": (declared("zip").encode(), "encoding 'zip' is unknown"),
    "an encoding of domains": (declared("idna").encode(), "encoding 'idna' is unknown"),
    "another encoding than declared": (
        declared("euc-kr").replace(">a<", ">\u00ff<").encode("latin-1"),
        "is not in its encoding, cp949",
    ),
    "Latin 1 undeclared": (
        XML.partition("\n")[2].replace(">a<", ">caf\u00e9<").encode("latin-1"),
        "names no encoding and is not UTF-8 .byte 0xe9 at",
    ),
    "cut off": (XML.encode()[:-20], "malformed XML: unclosed token"),
    "empty": (b"", "annotation is an empty file"),
    "blank": (b"\n \n", "annotation is an empty file"),
    "zeros, as after a crash": (b"\0" * 300, "malformed XML"),
    "a Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "Git LFS pointer.* `git lfs pull`",
    ),
    "a web page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
    "an XHTML page": (b"<html xmlns='x'></html>", "is a web page"),
    "entities that name each other": (
        b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>' + XML.encode(),
        "declares XML entities",
    ),
    "the same in UTF-16": (
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]>' + XML.partition("\n")[2]).encode("utf-16"),
        "declares XML entities",
    ),
}


def parsed(folder: Path, *contents: bytes | str) -> VideoIndex:
    """The index of a video of which each frame has one of these annotations."""
    stems = tuple(f"{number:06d}" for number in range(len(contents)))
    for stem, content in zip(stems, contents, strict=True):
        content = content.encode() if isinstance(content, str) else content
        (folder / f"{stem}.xml").write_bytes(content)
    video = XmlVideo("a", str(folder), stems, frozenset(), LABELS)
    return assemble_index([parse_video(video)], image_root=folder, classes=CLASSES)


def one_problem(index: VideoIndex, file: Path, reason: str) -> None:
    (problem,) = index.problems
    assert problem.file == str(file)
    assert re.search(reason, problem.reason), problem.reason


@pytest.mark.parametrize("story", ENCODINGS)
def test_xml_is_read_in_its_encoding_or_named(story: str, tmp_path: Path) -> None:
    content, reason = ENCODINGS[story]
    index = parsed(tmp_path, content)
    if reason is None:
        assert index.problems == ()
        assert index.boxes_xyxy.tolist() == BOX * 2
    else:
        one_problem(index, tmp_path / "000000.xml", reason)
        assert index.num_frames == 0


VALUES = {
    "width NaN": ("<width>100<", "<width>nan<", "image width is nan, expected a whole number"),
    "height infinite": ("<height>80<", "<height>inf<", "image height is inf"),
    "width 0": ("<width>100<", "<width>0<", "image width is 0"),
    "height negative": ("<height>80<", "<height>-80<", "image height is -80"),
    "width beyond any image": ("<width>100<", "<width>1e30<", "image width is 1e.30"),
    "half a pixel": ("<width>100<", "<width>100.5<", "image width is 100.5"),
    "width with an underscore": ("<width>100<", "<width>1_00<", "'1_00' is not a number"),
    "no size": ("<width>100</width>", "", "has no <size/width>"),
    "no class": ("<name>n02958343</name>", "", "an <object> has no <name>"),
    "an empty class": ("<name>n02958343</name>", "<name> </name>", "an <object> has no <name>"),
    "a box of NaN": ("<xmin>5<", "<xmin>nan<", "is not finite"),
    "an infinite box": ("<xmax>40<", "<xmax>inf<", "is not finite"),
    "finite in double precision alone": ("<xmax>40<", "<xmax>1e39<", "reaches beyond 1e.06"),
    "inside out": ("<xmin>5<", "<xmin>50<", "is inverted: expected x1 <= x2"),
    "far outside": (
        "<xmax>40</xmax><xmin>5</xmin>",
        "<xmax>940</xmax><xmin>905</xmin>",
        "lies outside the 100x80 image",
    ),
    "a coordinate twice": ("<xmin>5<", "<xmin>1</xmin><xmin>5<", "<bndbox> has a part twice"),
    "two boxes of an object": (
        "</bndbox>",
        "</bndbox><bndbox><xmin>1</xmin></bndbox>",
        "<object> has <bndbox> 2 times",
    ),
    "a decimal comma": ("<xmin>5<", "<xmin>5,5<", "'5,5' is not a number"),
    "text for a number": ("<ymax>30<", f"<ymax>{'x' * 500}<", r"'x+'?\.\.\. is not a number"),
}


@pytest.mark.parametrize("story", VALUES)
def test_a_value_that_cannot_be_is_a_problem_of_its_file(story: str, tmp_path: Path) -> None:
    old, new, reason = VALUES[story]
    assert old in XML
    index = parsed(tmp_path, XML.replace(old, new, 1))
    one_problem(index, tmp_path / "000000.xml", reason)
    assert len(index.problems[0].reason) < 200


@pytest.mark.parametrize("tag", ["Object", "OBJECT", "objects"])
def test_an_object_under_another_name_is_not_passed_over(tag: str, tmp_path: Path) -> None:
    index = parsed(tmp_path, XML.replace("object>", f"{tag}>"))
    assert {each.reason for each in index.problems} == {f"<{tag}> in the place of <object>"}
    assert len(index.labels) == 0


# Box, what becomes of it: "kept", or the count that it is left out under.
EDGES: dict[str, tuple[tuple[float, float, float, float], str]] = {
    "inside": ((5, 6, 40, 30), "kept"),
    "reaching out": ((-20, -20, 40, 30), "kept"),
    "around the whole image": ((-5, -5, 105, 85), "kept"),
    "a strip one sees": ((99, 6, 140, 30), "kept"),
    "a strip that float32 loses": ((100 * 0.99999999, 6, 140, 30), "vanishing_boxes"),
    "a strip that scaling loses": ((99.9999, 6, 140, 30), "vanishing_boxes"),
    "touching on the right": ((100, 6, 140, 30), "vanishing_boxes"),
    "touching below": ((5, 80, 40, 95), "vanishing_boxes"),
    "touching on the left": ((-30, 6, 0, 30), "vanishing_boxes"),
    "touching above, rounded": ((5, -30, 40, 1e-9), "vanishing_boxes"),
    "counted from 1 at the border": ((100.5, 6, 140, 30), "vanishing_boxes"),
    "narrower than a pixel": ((5, 6, 5.5, 30), "degenerate_boxes"),
    "no width": ((5, 6, 5, 30), "degenerate_boxes"),
    "no height": ((5, 6, 40, 6), "degenerate_boxes"),
    "no area at all": ((0, 0, 0, 0), "degenerate_boxes"),
}


@pytest.mark.parametrize("story", EDGES)
@pytest.mark.parametrize("layout", ["xml", "json"])
def test_a_box_without_area_in_its_image_is_left_out_and_counted(
    story: str, layout: str, tmp_path: Path
) -> None:
    (x1, y1, x2, y2), fate = EDGES[story]
    if layout == "xml":
        corners = f"<xmax>{x2!r}</xmax><xmin>{x1!r}</xmin><ymax>{y2!r}</ymax><ymin>{y1!r}</ymin>"
        old = "<xmax>40</xmax><xmin>5</xmin><ymax>30</ymax><ymin>6</ymin>"
        index = parsed(tmp_path, XML.replace(old, corners, 1))
    else:
        tree = copy.deepcopy(STILLS)
        tree["annotations"][0]["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        index = read_tree(tmp_path, tree)
    assert index.problems == ()
    counts = {name: getattr(index, name) for name in ("vanishing_boxes", "degenerate_boxes")}
    assert counts == {name: int(name == fate) for name in counts}
    whole = 2 if layout == "xml" else 3
    assert len(index.labels) == whole - (fate != "kept")
    sides = np.float32([100, 80] * 2)
    for scale in (np.float32(1000 / 100), np.float32(1 / 7)):
        scaled = (index.boxes_xyxy * scale).clip(0, sides * scale)
        assert (scaled[:, 2:] > scaled[:, :2]).all()


def test_sizes_may_not_change_within_a_sequence(tmp_path: Path) -> None:
    other = XML.replace("<width>100<", "<width>101<")
    index = parsed(tmp_path, XML, other, XML)
    reason = "a/000001.JPEG is annotated as 101x80, but a/000000.JPEG as 100x80: sizes may not"
    one_problem(index, tmp_path / "000001.xml", reason)
    assert index.frame_files.tolist() == [b"a/000000.JPEG", b"a/000002.JPEG"]
    tree = copy.deepcopy(TREE)
    tree["images"][1]["height"] = 40
    (problem,) = read_tree(tmp_path, tree).problems
    assert "street/1.JPEG is annotated as 100x40, but street/0.JPEG as 100x80" in problem.reason
    # Stills are sequences of one.
    tree = copy.deepcopy(STILLS)
    tree["images"][1]["height"] = 90
    assert read_tree(tmp_path, tree).problems == ()


def test_what_is_odd_but_usable_is_counted(tmp_path: Path) -> None:
    untracked = XML.replace("<trackid>0</trackid>", "").replace("<trackid>1<", "<trackid> <")
    twice = XML.replace("<trackid>1<", "<trackid>0<").replace("<xmin>5<", "<xmin>6<", 1)
    large = XML.replace("<xmin>5<", "<xmin>-300<", 1)
    index = parsed(tmp_path, untracked, twice, large)
    assert index.problems == ()
    assert index.odd == {
        "boxes equal to another of their class and image": 1,
        "boxes of videos without a track": 2,
        "boxes whose track is in their frame already": 1,
        "boxes larger than their image": 1,
        "boxes, all of the class car": 6,
    }
    assert index.track_ids.tolist() == [-1, -1, 0, 0, 0, 1]


def read_tree(folder: Path, tree: Any) -> VideoIndex:
    file = folder / "a.json"
    file.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return read_coco_vid(file, image_root=folder, classes=CLASSES)


def joined(**changes: int) -> dict[str, Any]:
    """A file and its like, as a script joins them; ``changes`` are added to the second's ids."""
    whole, second = copy.deepcopy(TREE), copy.deepcopy(TREE)
    for table in ("videos", "images", "annotations"):
        for record in second[table]:
            for key in ("id", "video_id", "image_id"):
                owner = {"id": table, "video_id": "videos", "image_id": "images"}[key]
                if key in record:
                    record[key] += changes.get(owner, 0)
            for key in ("name", "file_name"):
                if key in record:
                    record[key] = f"second/{record[key]}"
        whole[table] += second[table]
    return whole


def changed(table: str, place: int, **values: Any) -> dict[str, Any]:
    tree = copy.deepcopy(TREE)
    for key, value in values.items():
        if value is ...:
            del tree[table][place][key]
        else:
            tree[table][place][key] = value
    return tree


def without(table: str, place: int) -> dict[str, Any]:
    tree = copy.deepcopy(TREE)
    del tree[table][place]
    return tree


def all_images(**values: Any) -> dict[str, Any]:
    tree = copy.deepcopy(TREE)
    for image in tree["images"]:
        image.update(values)
    return tree


def corners() -> dict[str, Any]:
    tree = copy.deepcopy(TREE)
    for annotation in tree["annotations"]:
        annotation["bbox"] = [50, 50, 90, 75]
    return tree


# The tree, the first problem, and how many boxes and frames are left.
TREES: dict[str, tuple[Any, str | None, tuple[int, int]]] = {
    "good": (TREE, None, (4, 4)),
    "joined with care": (joined(videos=10, images=100, annotations=100), None, (8, 8)),
    "ids as whole floats, as pandas writes them": (
        changed("annotations", 0, image_id=10.0), None, (4, 4)),
    "joined, image ids from the start": (
        joined(videos=10), "images: id 10 comes twice .'street/0.JPEG' and 'second/street", (0, 0)),
    "joined, video ids from the start": (
        joined(images=100), "videos: id 1 comes twice .'street' and 'second/street'", (0, 0)),
    "joined with itself": (
        {**TREE, "annotations": TREE["annotations"] * 2},
        "annotations: id 10 is there twice, alike", (4, 4)),
    "category id twice": (
        {**TREE, "categories": [*TREE["categories"], {"id": 1, "name": "kite"}]},
        "categories: id 1 comes twice .'car' and 'kite'", (2, 4)),
    "category name twice": (
        {**TREE, "categories": [*TREE["categories"], {"id": 3, "name": "car"}]},
        "categories: 'car' has ids 1 and 3", (4, 4)),
    "category that is not there": (
        changed("annotations", 0, category_id=9),
        "category_id 9 .1 times. is not in categories", (3, 4)),
    "category as text": (
        changed("annotations", 0, category_id="1"), "category_id '1' .1 times", (3, 4)),
    "no category": (changed("annotations", 0, category_id=...), "category_id None", (3, 4)),
    "annotation of no image": (
        without("images", 1),
        "annotations: image_id 11 of id 11 is not in images$", (3, 3)),
    "image id as text": (
        changed("annotations", 0, image_id="10"),
        "image_id '10' .* is not in images, but 10 is: write ids alike", (3, 4)),
    "ids as text in images": (
        changed("images", 0, id="10"), "id 11 of 'street/1.JPEG' is a number, those", (0, 1)),
    "image id of 5000 digits": (
        changed("annotations", 0, image_id="9" * 5000), "image_id '9+... of id 10 is not", (3, 4)),
    "category id that is long text": (
        changed("categories", 1, id="x" * 3000), "categories: id 'x+... of 'dog' is text", (2, 4)),
    "image id true": (changed("images", 1, id=True), "id True of .* neither number nor", (3, 3)),
    "image without an id": (changed("images", 1, id=...), "images: id None of", (3, 3)),
    "image of no video": (
        without("videos", 1), "images: video_id 2 of 'park/0.JPEG' and 1 more is not in", (2, 2)),
    "images of videos, no videos": (
        {**TREE, "videos": []}, "3 more have a video_id, but the file lists no videos", (0, 0)),
    "video without images": (
        {**TREE, "videos": [*TREE["videos"], {"id": 3, "name": "x"}]}, "'x' has no images", (4, 4)),
    "two videos of one name": (
        changed("videos", 1, name="street"),
        "videos: id 2, left out with its images: 'street' is the name of 1 too", (2, 2)),
    "video without a name": (changed("videos", 1, name=...), "name is None", (2, 2)),
    "video named after another place": (
        changed("videos", 1, name="../x"), "name is '../x', expected a path below", (2, 2)),
    "video id as text": (
        changed("images", 0, video_id="1"), "video_id '1' .*, but 1 is: write ids alike", (3, 3)),
    "one file for two images": (
        changed("images", 1, file_name="street/0.JPEG"),
        "street/0.JPEG is the file of image 10 too", (3, 3)),
    "frame ids all 0": (
        all_images(frame_id=0),
        "'street' has no order and is left out: .*frame_id 0 is that of 'street/0", (0, 0)),
    "no frame ids": (
        changed("images", 1, frame_id=...), "frame_id is None, expected a whole number", (2, 2)),
    "frame id as text": (changed("images", 1, frame_id="1"), "frame_id is '1'", (2, 2)),
    "frame id of a half": (changed("images", 1, frame_id=0.5), "frame_id is 0.5", (2, 2)),
    "width NaN": (changed("images", 1, width=float("nan")), "width is nan", (3, 3)),
    "height infinite": (changed("images", 1, height=float("inf")), "height is inf", (3, 3)),
    "width 0": (changed("images", 1, width=0), "image width is 0", (3, 3)),
    "width beyond any image": (changed("images", 1, width=10**9), "width is 1e.09", (3, 3)),
    "width of 400 digits": (changed("images", 1, width=10**400), "images: id 11: ", (3, 3)),
    "width as text": (changed("images", 1, width="100"), "width is '100'", (3, 3)),
    "no height": (changed("images", 1, height=...), "height is None", (3, 3)),
    "no file": (changed("images", 1, file_name=...), "file_name is None", (3, 3)),
    "file elsewhere": (changed("images", 1, file_name="/etc/x"), "file_name is '/etc/x'", (3, 3)),
    "file with a NUL": (changed("images", 1, file_name="a\0b"), "file_name is 'a", (3, 3)),
    "file that is no text": (changed("images", 1, file_name="\ud800"), "is no text", (3, 3)),
    "bbox of three": (changed("annotations", 0, bbox=[1, 2, 3]), "annotation 10 of street", (3, 4)),
    "bbox of text": (changed("annotations", 0, bbox=["1", 2, 3, 4]), "bbox is", (3, 4)),
    "no bbox": (changed("annotations", 0, bbox=...), "bbox is None, expected .x, y,", (3, 4)),
    "bbox of NaN": (changed("annotations", 0, bbox=[1, 2, float("nan"), 4]), "not finite", (3, 4)),
    "bbox of 400 digits": (
        changed("annotations", 0, bbox=[1, 2, 10**400, 4]), "beyond any image", (3, 4)),
    "negative width": (changed("annotations", 0, bbox=[30, 2, -9, 4]), "is inverted", (3, 4)),
    "crowd as text": (
        changed("annotations", 0, iscrowd="0"), "iscrowd is '0', expected 0 or 1", (3, 4)),
    "ignored as text": (
        changed("annotations", 0, ignore="false"), "ignore is 'false', expected 0 or 1", (3, 4)),
    "crowd of two": (changed("annotations", 0, iscrowd=2), "iscrowd is 2, expected 0", (3, 4)),
    "crowd true": (changed("annotations", 0, iscrowd=True), None, (4, 4)),
    "a category named null": (
        changed("categories", 1, name=None), "id 2: has the name None, expected text", (2, 4)),
    "a category named by a number": (
        changed("categories", 1, name=7), "id 2: has the name 7, expected text", (2, 4)),
    "a category without a name": (changed("categories", 1, name=...), "id 2: no name", (2, 4)),
    "corners for sizes": (corners(), "4 of 4 boxes leave their image, and read as x1, y1", (4, 4)),
    "track as a list": (changed("annotations", 0, instance_id=[1]), "instance_id is", (3, 4)),
    "a list entry that is none": (
        {**TREE, "images": [*TREE["images"], 7]}, "images: entry 4 is 7, not an object", (4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("story", TREES)
def test_identifiers_lead_to_one_thing_or_are_told(story: str, tmp_path: Path) -> None:
    tree, reason, left = TREES[story]
    index = read_tree(tmp_path, tree)
    if reason is None:
        assert index.problems == ()
    else:
        assert index.problems
        assert index.problems[0].file == str(tmp_path / "a.json")
        assert re.search(reason, index.problems[0].reason), index.problems[0].reason
    assert (len(index.labels), index.num_frames) == left


FILES = {
    "no JSON": ("{", "not JSON: "),
    "empty": ("", "not JSON: "),
    "a list": ("[]", "not CocoVID: an object with categories"),
    "no images": ('{"categories": []}', "not CocoVID: images is missing"),
    "images by name": ('{"categories": [], "images": {}}', "images is {}, not a list"),
    "a table twice": (
        json.dumps(TREE)[:-1] + ', "images": []}', "it has 'images' 2 times"),
    "a field twice": (
        json.dumps(TREE).replace('"bbox"', '"bbox": [0, 0, 9, 9], "bbox"', 1),
        "the object with id 10 has 'bbox' 2 times"),
    "a field of a video twice": (
        json.dumps(TREE).replace('"name": "street"', '"name": "a", "name": "street"', 1),
        "the object with id 1 has 'name' 2 times"),
    "nested without end": ("[" * 100_000, "not JSON that can be read"),
    "a number of 5000 digits": (
        json.dumps(TREE).replace('"width": 100', f'"width": {"9" * 5000}', 1), "not JSON that can"),
    "a Git LFS pointer": ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "a web page": ("<!DOCTYPE html>\n<html></html>", "is a web page"),
}  # fmt: skip


@pytest.mark.parametrize("story", FILES)
def test_a_file_that_is_no_annotation_is_refused_in_one_line(story: str, tmp_path: Path) -> None:
    content, reason = FILES[story]
    with pytest.raises(DataError, match=reason) as raised:
        read_tree(tmp_path, content)
    assert raised.value.file == str(tmp_path / "a.json")
    assert "\n" not in str(raised.value)


def test_a_missing_file_or_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="annotation file is missing"):
        read_coco_vid(tmp_path / "a.json", image_root=tmp_path, classes=CLASSES)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_coco_vid(tmp_path, image_root=tmp_path, classes=CLASSES)


def test_what_is_odd_in_a_json_file_is_counted(tmp_path: Path) -> None:
    tree = joined(videos=10, images=100)
    tree["annotations"][0] |= {"ignore": 1}
    index = read_tree(tmp_path, tree)
    assert index.problems == ()
    assert (index.flagged_objects, len(index.labels)) == (1, 7)
    assert index.odd["annotation ids used again"] == 4
    again = copy.deepcopy(STILLS)
    again["images"].append({**again["images"][0], "id": 9})
    index = read_tree(tmp_path, again)
    assert (index.problems, index.odd["stills listed again"]) == ((), 1)
    again["images"][-1]["width"] = 50
    (problem,) = read_tree(tmp_path, again).problems
    assert "0.jpg is the file of image 0 too" in problem.reason


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Two training snippets and one to validate on, four annotations each."""
    for name in ("train/0/a", "train/0/b", "val/v"):
        folder = tmp_path / "Annotations/VID" / name
        folder.mkdir(parents=True)
        for frame in range(4):
            (folder / f"{frame:06d}.xml").touch()
    (tmp_path / "ImageSets/VID").mkdir(parents=True)
    return tmp_path


# Lines, the problem if there is one, and the lengths of the snippets that are left.
TRAINING = {
    "good": (["train/0/a 1 1 4", "train/0/a 1 3 4", "train/0/b 1 4 4"], None, [4, 4]),
    "blank lines and a byte order mark": (["\ufefftrain/0/a 1 1 4", "", " "], None, [4]),
    "a line twice": (["train/0/a 1 1 4"] * 2, "line 2 says again what line 1 says", [4]),
    "two lengths": (
        ["train/0/a 1 1 4", "train/0/a 1 2 3"], "line 2: 'train/0/a' has 3 frames, but 4 in", [4]),
    "a huge number of frames": (
        ["train/0/a 1 1 1000000000000", "train/0/b 1 1 4"], "at most 100000 are allowed", [4]),
    "a number of many digits": (["train/0/a 1 1 " + "9" * 5000], "at most 100000 are", []),
    "many more frames than there are": (
        ["train/0/a 1 1 99999"], "line 1: 99999 frames, but .*train/0/a holds 4 annotations", []),
    "a few frames missing": (["train/0/a 1 1 9"], None, [9]),
    "a snippet that is not there": (["train/0/x 1 1 4"], "0/x: cannot be listed: No such", []),
    "key frame 0": (["train/0/a 1 0 4"], "line 1: frame 0 is not one of 1 to 4", []),
    "key frame behind the end": (["train/0/a 1 5 4"], "frame 5 is not one of 1 to 4", []),
    "negative": (["train/0/a 1 -1 4"], "line 1 is .*, not '<snippet> 1 <frame> <frames>'", []),
    "without the 1": (["train/0/a 2 4", "train/0/b 1 1 4"], None, [4, 4]),
    "without the 1, behind the end": (["train/0/a 5 4"], "frame 5 is not one of 1 to 4", []),
    "two words": (["train/0/a 4"], "not '<snippet> 1 <frame> <frames>'", []),
    "commas": (["train/0/a,1,1,4"], "not '<snippet> 1 <frame> <frames>'", []),
    "a path elsewhere": (["../../etc 1 1 4"], "line 1: '../../etc' is no path below", []),
    "an absolute path": (["/etc 1 1 4"], "line 1: '/etc' is no path below", []),
    "a NUL": (["train/0/a\0 1 1 4"], "is no path below", []),
}  # fmt: skip


@pytest.mark.parametrize("story", TRAINING)
def test_lines_of_the_training_list(story: str, lists: Path) -> None:
    lines, reason, lengths = TRAINING[story]
    file = lists / "VID_train_15frames.txt"
    file.write_text("\n".join(lines) + "\n")
    listed = training_snippets(lists, lists / "Annotations/VID", listed=True)
    assert [len(stems) for stems, _ in listed.snippets.values()] == lengths
    told = [str(problem) for problem in listed.problems]
    if reason is None:
        assert not told
    else:
        assert len(told) == 1
        assert re.search(reason, told[0]), told
        assert len(told[0]) < 400


# The list's name, its lines, the problem, and how many snippets are left.
OTHERS = {
    "val.txt, good": ("val.txt", ["v/000000 1", "v/000001 2"], None, 1),
    "val.txt, a frame twice": (
        "val.txt", ["v/000000 1", "v/000000 2"], "line 2 names v/000000 again, as line 1 does", 1),
    "val.txt, out of order": (
        "val.txt", ["v/000001 1", "v/000000 2"], "frame 000000 stands behind 000001", 1),
    "val.txt, no folder": ("val.txt", ["000001 1"], "not '<snippet>/<frame> <number>'", 0),
    "a video twice": (
        "VID_val_videos.txt", ["val/v 1 0 4"] * 2, "line 2 names 'val/v' again, as line 1 does", 1),
    "a video that is not there": ("VID_val_videos.txt", ["val/w 1 0 4"], "cannot be listed", 0),
    "a snippet twice in one class": (
        "train_1.txt", ["0/a 1", "0/a 1"], "line 2 names '0/a' again, as line 1 does", 1),
    "an empty folder": ("train_1.txt", ["0/c 1"], "no annotation ...xml. in this folder", 0),
}  # fmt: skip


@pytest.mark.parametrize("story", OTHERS)
def test_lines_of_the_other_lists(story: str, lists: Path) -> None:
    name, lines, reason, left = OTHERS[story]
    (lists / "Annotations/VID/train/0/c").mkdir()
    (lists / "ImageSets/VID" / name).write_text("\n".join(lines))
    annotations = lists / "Annotations/VID"
    if name.startswith("train"):
        listed = training_snippets(lists, annotations, listed=False)
    else:
        listed = validation_snippets(lists, annotations)
    assert len(listed.snippets) == left
    told = [str(problem) for problem in listed.problems]
    assert len(told) == (reason is not None)
    if reason is not None:
        assert re.search(reason, told[0]), told


def test_a_list_that_is_no_text_is_refused(lists: Path) -> None:
    for content, reason in (
        (b"train/0/a 1 1 4\n\xff\n", "line 2 is not UTF-8 text"),
        ("train/0/a 1 1 4".encode("utf-16"), "line 1 is not UTF-8 text"),
        (b"<html>\n", "list is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "list is a Git LFS pointer"),
    ):
        (lists / "VID_train_15frames.txt").write_bytes(content)
        with pytest.raises(DataError, match=reason):
            training_snippets(lists, lists / "Annotations/VID", listed=True)


def test_stills_that_the_published_list_names_twice_stay_and_are_counted(lists: Path) -> None:
    (lists / "DET_train_30classes.txt").write_text("train/a 1\ntrain/b 1\ntrain/a 1\n../x 1\n")
    listed = listed_stills(lists)
    assert listed.stills == ["train/a", "train/b", "train/a"]
    assert listed.odd == {"stills listed again": 1}
    assert "line 4: '../x' is no path below" in listed.problems[0].reason


def test_clutter_beside_annotations_is_passed_over(lists: Path) -> None:
    for name in ("val/._v", "val/.ipynb_checkpoints", "val/__MACOSX"):
        (lists / "Annotations/VID" / name).mkdir()
    (lists / "Annotations/VID/val/v/._000000.xml").touch()
    listed = validation_snippets(lists, lists / "Annotations/VID")
    assert {name: len(stems) for name, (stems, _) in listed.snippets.items()} == {"val/v": 4}


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settings = SyntheticVideo(layout="vid", train_videos=1, val_videos=1, frames=8, size=(64, 96))
    write_synthetic(tmp_path / "data", settings)
    return tmp_path / "data"


CONFIG = VidDataConfig(
    classes=SYNTHETIC_CLASSES, training_sets=("vid",), image_scale=(96, 64), key_frames="all"
)


def halve(file: Path) -> None:
    picture = Image.open(file)
    picture.resize((picture.width // 2, picture.height // 2)).save(file)


def lay_on_its_side(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(file).transpose(Image.Transpose.ROTATE_90).save(file, exif=exif.tobytes())


def crop(file: Path) -> None:
    picture = Image.open(file)
    picture.crop((0, 0, 96, 50)).save(file)


PIXELS = {
    "halved": (halve, "image is 48x32, but 96x64 in its annotation: it was resized to 0.5"),
    "on its side": (lay_on_its_side, r"image is 64x96, but 96x64 .*orientation tag \(6\)"),
    "cropped": (crop, "image is 96x50, but 96x64 in its annotation: it was cropped"),
}


@pytest.mark.parametrize("story", PIXELS)
def test_pixels_of_another_size_stop_training_testing_and_checks(story: str, film: Path) -> None:
    change, reason = PIXELS[story]
    for split in ("train", "val"):
        file = min((film / "ILSVRC/Data/VID" / split).rglob("000003.JPEG"))
        change(file)
        for decode in (False, True):
            told = [p for p in check(film, CONFIG, decode=decode).problems if p.file == str(file)]
            with pytest.raises(DataError, match=reason):
                raise DataError(told[0].file, told[0].reason)
    with pytest.raises(DataError, match=reason):
        for _ in TrainingClips.open(CONFIG, film).batches(seed=0, epoch=0):
            pass
    with pytest.raises(DataError, match=reason):
        list(TestVideos.open(CONFIG, film)[0].frames())
    skipping = replace(CONFIG, on_bad_sample="skip")
    videos = TestVideos.open(skipping, film)
    assert len(list(videos[0].frames())) == 7
    clips = TrainingClips.open(skipping, film)
    assert len(list(clips.batches(seed=0, epoch=0))) == len(clips)
    assert len(videos.skipped) == len(clips.skipped) == 1


def test_skipping_and_checking_work_on_every_fault_of_an_annotation(film: Path) -> None:
    bad = sorted((film / "ILSVRC/Annotations/VID/train").rglob("*.xml"))[:6]
    contents = [ENCODINGS[story][0] for story in ("an unknown encoding", "empty", "a web page")]
    contents += [XML.replace(*VALUES[story][:2], 1).encode() for story in ("width NaN", "no size")]
    contents += [b"\xff" * 50]
    for file, content in zip(bad, contents, strict=True):
        file.write_bytes(content)
    report = check(film, CONFIG)
    assert [problem.file for problem in report.sets[0].problems] == [str(file) for file in bad]
    with pytest.raises(DataError, match="5 more problems: see"):
        TrainingClips.open(CONFIG, film)
    clips = TrainingClips.open(replace(CONFIG, on_bad_sample="skip"), film)
    assert (len(clips), len(clips.skipped)) == (2, 6)


def test_a_set_that_cannot_be_read_hides_no_other(film: Path) -> None:
    config = replace(CONFIG, training_sets=("vid", "det"))
    report = check(film, config)
    assert [each.name for each in report.sets] == ["train vid", "train det", "val vid"]
    (problem,) = report.problems
    assert "DET_train_30classes.txt" in str(problem)
    with pytest.raises(DataError, match="no ImageNet here"):
        check(film / "ILSVRC/Data", config)


def test_classes_that_no_box_has_are_told_before_training_and_testing(film: Path) -> None:
    strange = replace(CONFIG, classes=(("unicorn", "n00000001"),))
    with pytest.raises(DataError, match="no key frame with a box of the classes asked for"):
        TrainingClips.open(strange, film)
    with pytest.raises(DataError, match=r"no box of the classes asked for \(unicorn\) to score"):
        TestVideos.open(strange, film)
    reasons = [problem.reason for problem in check(film, strange).problems]
    assert len(reasons) == 2
