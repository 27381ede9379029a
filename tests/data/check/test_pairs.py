"""What a recipe of pairs reads is counted, and each thing wrong with it named with its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from halftrack.data.check import DataReport, check, check_sot
from halftrack.data.sot import PairDataConfig, read_pair_sets
from halftrack.synthetic import SYNTHETIC_CLASSES, SyntheticVideo, write_synthetic

CONFIG = PairDataConfig(
    training_sets=("lasot", "vid", "coco"), set_weights=(1, 1, 1), vid_classes=SYNTHETIC_CLASSES
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sequences to learn from and one to test on, two videos, and COCO with two stills."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "data"
    for layout in ("sot", "vid"):
        settings = SyntheticVideo(
            layout=layout, train_videos=2, val_videos=1, frames=8, size=(72, 120)
        )
        write_synthetic(root, settings)
    images = root / "coco/train2017"
    images.mkdir(parents=True)
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (40, 30)).save(images / name)
    boxes = [[2, 3, 10, 8], [20, 4, 12, 20], [0, 0, 40, 30], [5, 5, 0.2, 9], [1, 1, 9, 9]]
    content = {
        "categories": [{"id": 1, "name": "person"}],
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 30, "width": 40} for i in (1, 2)],
        "annotations": [
            {"id": i, "image_id": 1 + (i == 4), "category_id": 1, "bbox": box, "iscrowd": i == 2}
            for i, box in enumerate(boxes)
        ],
    }
    annotations = root / "coco/annotations"
    annotations.mkdir()
    (annotations / "instances_train2017.json").write_text(json.dumps(content))
    return root


def test_a_good_tree_is_counted(data: Path) -> None:
    report = check(data, CONFIG, decode=True)
    assert report.ok, report.lines()
    lasot, vid, coco = report.sets
    assert [each.name for each in report.sets] == ["train lasot", "train vid", "train coco"]
    assert coco.counts == {"stills": 2, "objects": 3, "boxes": 3}
    assert {what: n for what, n in coco.left_out.items() if n} == {
        "boxes under one pixel": 1,
        "crowds": 1,
    }
    (objects,) = read_pair_sets(replace(CONFIG, training_sets=("vid",), set_weights=(1,)), data)
    assert vid.counts == {
        "videos": 2,
        "frames": 16,
        "objects": len(objects),
        "boxes": len(objects.frames),
    }
    assert (lasot.counts["videos"], lasot.counts["frames"], lasot.counts["objects"]) == (2, 16, 2)
    assert lasot.counts["boxes"] + sum(lasot.left_out.values()) == 16
    assert "  left out: 1 boxes under one pixel, 1 crowds" in report.lines()
    assert report.lines()[-1] == "images were decoded; all is well"


def test_a_missing_set_hides_no_other(data: Path) -> None:
    (data / "coco/annotations/instances_train2017.json").unlink()
    report = check(data, CONFIG)
    lasot, vid, coco = report.sets
    assert not lasot.problems
    assert not vid.problems
    assert not coco.counts
    assert "no COCO here: looked for" in str(coco.problems[0])
    assert "train coco: could not be read" in report.lines()
    assert not report.ok


def test_only_images_that_a_pair_may_show_are_looked_for(data: Path) -> None:
    gone = data / "coco/train2017/1.jpg"
    gone.unlink()
    truths = sorted((data / "LaSOTBenchmark").glob("*/*/groundtruth.txt"))
    flagged = next(
        path.parent
        for path in truths
        if path.parent.name not in (data / "LaSOTBenchmark/testing_set.txt").read_text()
    )
    (flagged / "out_of_view.txt").write_text("0,0,0,1,0,0,0,0")
    (flagged / "img/00000004.jpg").unlink()
    problems = check(data, CONFIG).problems
    assert [(each.file, each.reason) for each in problems] == [(str(gone), "image is missing")]
    (flagged / "img/00000003.jpg").write_bytes(b"")
    assert "image is an empty file" in str(check(data, CONFIG).sets[0].problems[0])


def test_an_undecodable_image_is_found_by_decoding_alone(data: Path) -> None:
    image = data / "coco/train2017/2.jpg"
    image.write_bytes(image.read_bytes()[:200])
    assert check(data, CONFIG).ok
    (problem,) = check(data, CONFIG, decode=True).problems
    assert problem.file == str(image)
    assert "image cannot be decoded" in problem.reason


def test_every_malformed_sequence_is_named(data: Path) -> None:
    base = data / "LaSOTBenchmark"
    tested = (base / "testing_set.txt").read_text()
    truths = sorted(base.glob("*/*/groundtruth.txt"))
    trained = [str(path) for path in truths if path.parent.name not in tested]
    for path in trained:
        Path(path).write_text("1,2,3\n")
    lasot = check(data, CONFIG).sets[0]
    assert [problem.file for problem in lasot.problems[:2]] == trained
    assert lasot.problems[2].reason == "no object to learn from"


def test_a_video_to_leave_out_that_is_nowhere_is_a_problem(data: Path) -> None:
    config = replace(CONFIG, sequences_left_out=("sample_train_0001", "car-99"))
    *sets, named = check(data, config).sets
    assert sets[1].left_out["objects of videos left out"] > 0
    assert [problem.reason for problem in named.problems] == [
        "sequences_left_out has 'car-99', which is not in lasot, vid, coco"
    ]
    # Where a set is not there it may be the one that has the video.
    (data / "coco/annotations/instances_train2017.json").unlink()
    assert len(check(data, config).sets) == 3


def test_the_sequences_of_a_benchmark_are_counted(data: Path) -> None:
    report = check_sot(data, "LaSOT", decode=True)
    assert report.name == "LaSOT test"
    assert not report.problems
    absent = report.counts.get("absent frames", 0)
    assert (report.counts["sequences"], report.counts["frames"]) == (1, 8)
    assert report.counts["boxes"] == 8 - absent
    (truth,) = (
        path
        for path in (data / "LaSOTBenchmark").glob("*/*/groundtruth.txt")
        if path.parent.name in (data / "LaSOTBenchmark/testing_set.txt").read_text()
    )
    gone = truth.parent / "img/00000004.jpg"
    gone.unlink()
    (problem,) = check_sot(data, "LaSOT").problems
    assert problem.file == str(gone)


def test_a_benchmark_that_is_not_there_is_a_problem(data: Path) -> None:
    report = check_sot(data, "OTB100")
    assert not report.counts
    assert "no OTB100 here: looked for" in str(report.problems[0])
    assert DataReport(sets=(report,), decoded=False).lines()[:2] == [
        "OTB100 test: could not be read",
        "  problems: 1",
    ]


def test_what_a_benchmark_does_not_tell_is_not_counted(tmp_path: Path) -> None:
    folder = tmp_path / "TrackingNet/TEST"
    (folder / "anno").mkdir(parents=True)
    (folder / "anno/abc.txt").write_text("1,2,30,40\n")
    (folder / "frames/abc").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (60, 60)).save(folder / f"frames/abc/{number}.jpg")
    report = check_sot(tmp_path, "TrackingNet", decode=True)
    assert report.counts == {"sequences": 1, "frames": 3, "boxes": 1}
    assert not report.problems
