"""The objects that pairs show: tracks, stills' boxes and sequences, without what cannot be seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_pairs import SMALL, film, opened

from halftrack.data import DataError
from halftrack.data.sot import read_pair_sets
from halftrack.data.sot.pair_objects import read_lasot_objects
from halftrack.synthetic import SyntheticVideo, write_synthetic


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("objects"))


def test_no_pair_shows_a_frame_without_the_object(films: Path) -> None:
    objects = read_lasot_objects(films, "all")
    assert len(objects) == 4
    shown = {objects.path(box) for box in range(len(objects.frames))}
    absent = 0
    for truth in (films / "LaSOTBenchmark").glob("*/*/groundtruth.txt"):
        for number, line in enumerate(truth.read_text().split(), start=1):
            visible = line != "0,0,0,0"
            absent += not visible
            assert (f"{truth.parent}/img/{number:08d}.jpg" in shown) == visible
    assert absent > 0


def test_a_frame_flagged_absent_is_left_out_though_it_has_a_box(tmp_path: Path) -> None:
    write_synthetic(
        tmp_path / "sot",
        SyntheticVideo(layout="sot", train_videos=1, val_videos=1, frames=8, size=(72, 120)),
    )
    before = read_lasot_objects(tmp_path / "sot")
    folder = Path(before.path(0)).parents[1]
    hidden = folder / "full_occlusion.txt"
    flags = hidden.read_text().strip().split(",")
    first = int(Path(before.path(0)).stem) - 1
    hidden.write_text(",".join([*flags[:first], "1", *flags[first + 1 :]]))
    after = read_lasot_objects(tmp_path / "sot")
    assert [after.path(box) for box in range(len(after.frames))] == [
        before.path(box) for box in range(1, len(before.frames))
    ]


def test_sequences_left_out_are_in_no_pair(films: Path) -> None:
    config = replace(SMALL, training_sets=("lasot", "vid"), set_weights=(1, 1))
    lasot, vid = read_pair_sets(config, films)
    assert len(lasot) == 3
    names = (lasot.video_names[0], "sample_train_0001")
    fewer, vid_fewer = read_pair_sets(replace(config, sequences_left_out=names), films)
    assert len(fewer) == 2
    assert not any(f"/{names[0]}/" in fewer.path(box) for box in range(len(fewer.frames)))
    boxes = range(len(vid_fewer.frames))
    assert len(vid_fewer) < len(vid)
    assert not any(f"/{names[1]}/" in vid_fewer.path(box) for box in boxes)
    # What is kept keeps its boxes.
    kept = [box for box in range(len(vid.frames)) if f"/{names[1]}/" not in vid.path(box)]
    assert [vid_fewer.path(box) for box in boxes] == [vid.path(box) for box in kept]
    np.testing.assert_array_equal(vid_fewer.boxes_xyxy, vid.boxes_xyxy[kept])
    with pytest.raises(DataError, match="sequences_left_out has 'car-99'"):
        read_pair_sets(replace(config, sequences_left_out=("car-99",)), films)
    with pytest.raises(DataError, match=r"no object to learn from \(lasot\)"):
        opened(replace(SMALL, sequences_left_out=lasot.video_names), films)


def test_tracks_of_a_video_are_objects(films: Path) -> None:
    (vid,) = read_pair_sets(replace(SMALL, training_sets=("vid",)), films)
    for number in range(len(vid)):
        frames = vid.frames[vid.starts[number] : vid.starts[number + 1]]
        assert (np.diff(frames) > 0).all()
        name = vid.video_names[vid.video[number]]
        assert all(vid.files[frame].decode().startswith(f"{name}/") for frame in frames)


def test_coco_as_downloaded(tmp_path: Path) -> None:
    images = tmp_path / "coco/train2017"
    images.mkdir(parents=True)
    Image.new("L", (40, 30), 90).save(images / "1.jpg")
    boxes = [[2, 3, 10, 8], [20, 4, 12, 20], [0, 0, 40, 30], [5, 5, 0.2, 9]]
    rows = [
        {"id": i, "image_id": 7, "category_id": 1 + i % 2, "bbox": box, "iscrowd": int(i == 2)}
        for i, box in enumerate(boxes)
    ]
    content = {
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "kite"}],
        "images": [{"id": 7, "file_name": "1.jpg", "height": 30, "width": 40}],
        "annotations": rows,
    }
    file = tmp_path / "coco/annotations/instances_train2017.json"
    config = replace(SMALL, training_sets=("coco",))
    with pytest.raises(DataError, match=r"no COCO here: looked for .*instances_train2017"):
        opened(config, tmp_path)
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        opened(config, tmp_path)
    file.write_text(json.dumps(content))
    for root in (tmp_path, tmp_path / "coco"):
        (coco,) = read_pair_sets(config, root)
        # The crowd and the box thinner than a pixel are left out.
        assert coco.boxes_xyxy.tolist() == [[2, 3, 12, 11], [20, 4, 32, 24]]
        assert len(coco) == 2
    (batch, *_) = opened(config, tmp_path).batches(seed=0, epoch=0)
    assert batch.sample_ids[0] == "coco/1 + coco/1"


def test_bad_sequences_are_problems_and_hide_no_other(tmp_path: Path) -> None:
    write_synthetic(
        tmp_path / "sot",
        SyntheticVideo(layout="sot", train_videos=2, val_videos=1, frames=8, size=(72, 120)),
    )
    before = read_lasot_objects(tmp_path / "sot", "all")
    (tested,) = (tmp_path / "sot/LaSOTBenchmark/testing_set.txt").read_text().split()
    truths = sorted((tmp_path / "sot").glob("*/*/*/groundtruth.txt"))
    bad = [path for path in truths if path.parent.name in (tested, before.video_names[1])]
    for path in bad:
        path.write_text("1,2,3\n")
    objects = read_lasot_objects(tmp_path / "sot", "all")
    assert objects.video_names == (before.video_names[2],)
    assert sorted(Path(problem.file) for problem in objects.problems) == bad
    config = replace(SMALL, lasot_split="all")
    with pytest.raises(DataError, match=r"3 columns, expected 4.*\(1 more problems: see"):
        opened(config, tmp_path / "sot")
    skipped = opened(replace(config, on_bad_sample="skip"), tmp_path / "sot").skipped
    assert sorted(Path(problem.file) for problem in skipped.times) == bad
