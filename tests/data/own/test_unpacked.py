"""Files that recipes read are written of data that come otherwise."""

from __future__ import annotations

from pathlib import Path

import own_trees
import pytest
from small_trees import FRAMES, SIZE, change_tree

from halftrack.data import DataError
from halftrack.data.own.unpacked import add_seqinfo, tables_of, unpack_film, write_json
from halftrack.data.own.yolo import read_yolo
from halftrack.data.tables.seqinfo import read_seqinfo
from halftrack.data.vid import read_coco_vid


def test_a_film_is_unpacked_with_its_rows_and_names(tmp_path: Path) -> None:
    own_trees.write_films(tmp_path)
    (tmp_path / "labels.txt").write_text("van\n")
    unpack_film(tmp_path / "a.mp4", tmp_path / "out")
    assert len(list((tmp_path / "out/img1").iterdir())) == FRAMES
    info = read_seqinfo(tmp_path / "out/seqinfo.ini")
    assert (info.num_frames, info.size, info.frame_rate) == (FRAMES, SIZE, 10)
    assert (tmp_path / "out/gt/gt.txt").read_text() == (tmp_path / "a.txt").read_text()
    assert (tmp_path / "out/gt/labels.txt").read_text() == "van\n"
    with pytest.raises(DataError, match="no image here"):
        add_seqinfo(tmp_path)


def test_boxes_of_yolo_are_the_same_in_json(tmp_path: Path) -> None:
    change_tree(tmp_path, {}, own_trees.yolo())
    index = read_yolo(tmp_path)
    tables = tables_of(index)
    write_json(tmp_path / "all.json", tables, tables["images"])
    read = read_coco_vid(tmp_path / "all.json", image_root=tmp_path, classes=None)
    assert read.boxes_xyxy.tolist() == index.boxes_xyxy.tolist()
    assert [name for name, _ in read.classes] == ["van", "tram"]
    write_json(tmp_path / "one.json", tables, tables["images"][:1])
    one = read_coco_vid(tmp_path / "one.json", image_root=tmp_path, classes=None)
    assert (one.num_frames, len(one.labels)) == (1, 2)
    assert one.problems == ()
