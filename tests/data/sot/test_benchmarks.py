"""Six benchmarks are read as downloaded, each with its own exceptions."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_trees as trees

from halftrack.data import DataError, Problem
from halftrack.data.sot import benchmarks, read_sot
from halftrack.data.tables.target_text import read_boxes
from halftrack.synthetic import SyntheticVideo, write_synthetic

GOLDEN = Path(__file__).parents[2] / "golden"
BOX = "10,20,30,40"


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def images(folder: Path, name: str, numbers: range) -> None:
    """Empty files: readers look whether images are there, not at them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / name.format(number)).touch()


def boxes(count: int, *, separator: str = ",") -> list[str]:
    return [separator.join(map(str, (10 + n, 20, 30, 40))) for n in range(count)]


@pytest.fixture
def lasot(tmp_path: Path) -> Path:
    with tarfile.open(GOLDEN / "fake_data.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    base = tmp_path / "fake_data/lasot/LaSOTBenchmark"
    write(base / "testing_set.txt", "airplane-1", "cat-3")
    return base


def test_lasot_agrees_with_mmtracking(lasot: Path) -> None:
    recorded = json.loads((GOLDEN / "evaluation/ope.json").read_text())
    sequences = read_sot(lasot, "LaSOT")
    assert [each.name for each in sequences] == ["airplane-1", "cat-3"]
    assert sum(map(len, sequences)) == recorded["lasot_len"]
    for sequence, name in zip(sequences, ("lasot_video0", "lasot_video1"), strict=True):
        np.testing.assert_array_equal(sequence.truth(), recorded[name]["bboxes"])
        assert (~sequence.absent).tolist() == recorded[name]["visible"]
        np.testing.assert_array_equal(sequence.first_box_xyxy, recorded[name]["bboxes"][0])
        assert sequence.attributes == frozenset()


def test_lasot_trains_on_what_is_not_listed_for_testing(lasot: Path) -> None:
    outside, inside = (read_sot(root, "LaSOT", "train") for root in (lasot.parent, lasot))
    assert [each.name for each in outside] == ["airplane-2", "zebra-10"]
    assert [each.folder for each in outside] == [each.folder for each in inside]


def test_a_split_without_sequences_names_the_others(lasot: Path) -> None:
    names = [folder.name for folder in lasot.glob("*/*-*") if folder.is_dir()]
    write(lasot / "testing_set.txt", *names)
    with pytest.raises(DataError, match=r"no sequence of LaSOT train here; other splits are 'test"):
        read_sot(lasot, "LaSOT", "train")


def test_lasots_list_must_be_complete(lasot: Path) -> None:
    write(lasot / "testing_set.txt", "cat-3", "cat-4", "cat-5")
    with pytest.raises(DataError, match=r"testing_set.txt: 2 of its 3 sequences are not here, cat"):
        read_sot(lasot, "LaSOT")
    (lasot / "testing_set.txt").unlink()
    with pytest.raises(DataError, match=r"testing_set.txt: file is missing"):
        read_sot(lasot, "LaSOT")


def test_lasots_list_may_be_that_of_mmtracking_s_converter(lasot: Path) -> None:
    (lasot / "testing_set.txt").unlink()
    converted = lasot.parents[1] / "converted/lasot/annotations/lasot_test_infos.txt"
    shutil.copytree(converted.parent, lasot.parent / "annotations")
    assert [each.name for each in read_sot(lasot.parent, "LaSOT")] == ["airplane-1", "cat-3"]
    assert [each.name for each in read_sot(lasot, "LaSOT", "train")] == ["airplane-2", "zebra-10"]
    infos = lasot.parent / "annotations/lasot_test_infos.txt"
    write(infos, "cat/cat-3/img,cat/cat-3/groundtruth.txt,1,8", "cat-4 1 8")
    with pytest.raises(DataError, match=r"test_infos.txt: line 2, 'cat-4 1 8': expected <vid"):
        read_sot(lasot, "LaSOT")
    write(infos, "cat/cat-4/img,cat/cat-4/groundtruth.txt,1,8")
    with pytest.raises(DataError, match=r"infos.txt: 1 of its 1 sequences are not here, cat-4"):
        read_sot(lasot, "LaSOT")


@pytest.mark.parametrize(
    ("tree", "benchmark", "lines"),
    [
        (
            trees.otb,
            "OTB100",
            [
                "Jogging/img,Jogging/groundtruth_rect.2.txt,1,6",
                "BlurCar3/img,BlurCar3/groundtruth_rect.txt,3,8",
            ],
        ),
        (
            trees.uav,
            "UAV123",
            ["data_seq/UAV123/bird1,anno/UAV123/bird1_2.txt,775,780"],
        ),
        (trees.trackingnet, "TrackingNet", ["TEST/frames/u,TEST/anno/u.txt,0,5"]),
        (
            trees.got10k,
            "GOT-10k",
            ["test/GOT-10k_Test_000002,test/GOT-10k_Test_000002/groundtruth.txt,1,6"],
        ),
        (trees.vot, "VOT2018", ["bag/color,bag/groundtruth.txt,1,6"]),
        (trees.lasot, "LaSOT", ["dog/dog-2/img,dog/dog-2/groundtruth.txt,1,6"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_list_of_mmtracking_chooses_among_the_sequences(
    tree: Callable[[], trees.Tree],
    benchmark: Any,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trees.change_tree(tmp_path, {}, tree())
    heading = "The format of each line in this txt is (video_path,annotation_path,start,end)"
    infos = write(tmp_path / "infos.txt", heading, *lines)
    read = []

    def reading(file: Path, **how: Any) -> Any:
        read.append(file)
        return read_boxes(file, **how)

    monkeypatch.setattr(benchmarks, "read_boxes", reading)
    chosen = read_sot(tmp_path, benchmark, infos=infos)
    assert sorted(read) == sorted(each.annotation for each in chosen)  # and nothing else
    splits: Any = ("train", "test") if benchmark == "LaSOT" else ("test",)
    there = [each for split in splits for each in read_sot(tmp_path, benchmark, split)]
    assert len(chosen) == len(lines) < len(there)
    for sequence, line in zip(chosen, lines, strict=True):
        _, annotation, first, last = line.split(",")
        assert str(sequence.annotation).endswith(annotation)
        assert sequence.numbers == range(int(first), int(last) + 1)
    write(infos, lines[0], lines[0])
    with pytest.raises(DataError, match=r"line 2, .*: is there before; list it once"):
        read_sot(tmp_path, benchmark, infos=infos)
    write(infos, f"{lines[0]}9")
    with pytest.raises(DataError, match=r"infos.txt: .*: frames \d+ to \d+, there are \d+ to \d+"):
        read_sot(tmp_path, benchmark, infos=infos)
    problems: list[Problem] = []
    for beside in ("../a/groundtruth.txt", "a/..", "a/g\0.txt", "/a/groundtruth.txt"):
        write(infos, f"a/img,{beside},1,6")
        with pytest.raises(
            DataError, match=r"infos.txt: line 1, .*expected <video path>,<annotati"
        ):
            read_sot(tmp_path, benchmark, infos=infos)
    write(infos, "a/img,a/groundtruth.txt,1,6", lines[0])
    assert len(read_sot(tmp_path, benchmark, infos=infos, problems=problems)) == 1
    assert [each.reason.partition(" in ")[0] for each in problems] == [
        "a/groundtruth.txt is of no sequence"
    ]


def test_lasots_attributes_are_those_of_its_kit(lasot: Path) -> None:
    att = lasot.parent / "annos/att"
    write(att / "airplane-1.txt", "0,1,0,0,0,1,0,0,1,0,0,0,1,0")
    write(att / "cat-3.txt", ",".join("0" * 14))
    first, second = read_sot(lasot, "LaSOT", attributes=att)
    assert first.attributes == {"POC", "ROT", "SV", "LR"}
    assert second.attributes == frozenset()
    write(att / "cat-3.txt", "0,1")
    with pytest.raises(DataError, match=r"cat-3.txt: 2 flags, expected 14"):
        read_sot(lasot, "LaSOT", attributes=att)


def test_otb_knows_its_exceptions(tmp_path: Path) -> None:
    base = tmp_path / "OTB100"
    for name, separator, file, first, count, name_of in [
        ("Basketball", ",", "groundtruth_rect.txt", 1, 3, "img/{:04d}.jpg"),
        ("Board", "\t", "groundtruth_rect.txt", 1, 3, "img/{:05d}.jpg"),
        ("David", "\t", "groundtruth_rect.txt", 300, 3, "img/{:04d}.jpg"),
        ("Human4", ",", "groundtruth_rect.1.txt", 1, 3, "img/{:04d}.jpg"),
        ("Human4", ",", "groundtruth_rect.2.txt", 1, 3, "img/{:04d}.jpg"),
        ("Jogging", " ", "groundtruth_rect.1.txt", 1, 3, "img/{:04d}.jpg"),
        ("Jogging", " ", "groundtruth_rect.2.txt", 1, 3, "img/{:04d}.jpg"),
        ("Tiger1", ",", "groundtruth_rect.txt", 6, 8, "img/{:04d}.jpg"),
    ]:
        write(base / name / file, *boxes(count, separator=separator))
        (base / name / "img").mkdir(exist_ok=True)
        # The videos go on after their sequences.
        images(base / name, name_of, range(first, first + count + 4))
    sequences = {each.name: each for each in read_sot(tmp_path, "OTB100")}
    assert list(sequences) == [
        *("Basketball", "Board", "David", "Human4-2", "Jogging-1", "Jogging-2", "Tiger1")
    ]
    assert {len(each) for each in sequences.values()} == {3}
    for name, ending in {
        "Basketball": "Basketball/img/0003.jpg",
        "Board": "Board/img/00003.jpg",
        "David": "David/img/0302.jpg",
        "Jogging-2": "Jogging/img/0003.jpg",
        "Tiger1": "Tiger1/img/0008.jpg",
    }.items():
        assert sequences[name].path(2).endswith(ending)
    assert sequences["Board"].truth()[1].tolist() == [11, 20, 41, 60]
    # Its first five boxes belong to frames before the first that is tracked.
    assert sequences["Tiger1"].first_box_xyxy.tolist() == [15, 20, 45, 60]
    assert not sequences["Tiger1"].absent.any()


@pytest.fixture
def uav(tmp_path: Path) -> Path:
    base = tmp_path / "UAV123"
    anno, video = base / "anno/UAV123", base / "data_seq/UAV123"
    write(anno / "bird1_1.txt", *boxes(3))
    write(anno / "bird1_2.txt", BOX, "NaN,NaN,NaN,NaN", BOX)
    write(anno / "car1_s.txt", *boxes(2))
    write(anno / "att/car1_s.txt", "1,0,0,0,0,0,0,0,0,0,0,1")
    images(video / "bird1", "{:06d}.jpg", range(1, 4))
    images(video / "bird1", "{:06d}.jpg", range(775, 778))
    images(video / "car1_s", "{:06d}.jpg", range(1, 3))
    return base


def test_uav_cuts_sequences_from_videos(uav: Path) -> None:
    first, second, third = read_sot(uav.parent, "UAV123")
    assert [each.name for each in (first, second, third)] == ["bird1_1", "bird1_2", "car1_s"]
    assert first.path(2).endswith("data_seq/UAV123/bird1/000003.jpg")
    assert second.path(0).endswith("data_seq/UAV123/bird1/000775.jpg")
    assert third.path(0).endswith("data_seq/UAV123/car1_s/000001.jpg")
    # MMTracking counts its NaN boxes too, so they are not absent.
    assert np.isnan(second.truth()[1]).all()
    assert not second.absent.any()
    assert (second.attributes, third.attributes) == (frozenset(), {"SV", "SOB"})
    with pytest.raises(DataError, match=r"bird1_1.txt: file is missing"):
        read_sot(uav, "UAV123", attributes=uav / "anno/UAV123/att")


def test_uav_has_no_other_parts(uav: Path) -> None:
    write(uav / "anno/UAV123/bird1_4.txt", BOX)
    with pytest.raises(DataError, match=r"bird1_4.txt: bird1 has sequences 1 to 3, not 4"):
        read_sot(uav, "UAV123")


def test_trackingnet_numbers_images_from_0_and_keeps_its_test_boxes(tmp_path: Path) -> None:
    base = tmp_path / "TrackingNet"
    for name, part, count in (("a", "TEST", 1), ("b", "TRAIN_2", 3), ("a", "TRAIN_10", 3)):
        write(base / part / f"anno/{name}.txt", *boxes(count))
        images(base / part / f"frames/{name}", "{}.jpg", range(11 if part == "TEST" else 3))
    (test,) = read_sot(tmp_path, "TrackingNet")
    assert len(test) == len(test.absent) == 11
    assert test.path(10).endswith("TEST/frames/a/10.jpg")
    assert test.boxes_xyxy is None
    assert test.first_box_xyxy.tolist() == [10, 20, 40, 60]
    with pytest.raises(DataError, match=r"only the first of 11 boxes is published"):
        test.truth()
    trained = read_sot(base, "TrackingNet", "train")
    assert [each.folder.parts[-3] for each in trained] == ["TRAIN_2", "TRAIN_10"]
    assert {len(each.truth()) for each in trained} == {3}


def test_got10k_marks_absence_and_keeps_its_test_boxes(tmp_path: Path) -> None:
    base = tmp_path / "GOT-10k"
    for split, count in (("val", 3), ("test", 1)):
        for number in (1, 2):
            folder = base / split / f"GOT-10k_{split.title()}_{number:06d}"
            write(folder / "groundtruth.txt", *boxes(count))
            images(folder, "{:08d}.jpg", range(1, 4))
        write(base / split / "list.txt", folder.name)
    write(base / "val/GOT-10k_Val_000002/absence.label", "0", "1", "0")
    (validated,) = read_sot(tmp_path, "GOT-10k", "val")
    assert validated.name == "GOT-10k_Val_000002"
    assert validated.absent.tolist() == [False, True, False]
    assert validated.path(0).endswith("GOT-10k_Val_000002/00000001.jpg")
    (tested,) = read_sot(tmp_path, "GOT-10k")
    assert (len(tested), tested.boxes_xyxy) == (3, None)
    write(tested.folder / "groundtruth.txt", *boxes(2))
    with pytest.raises(DataError, match=r"2 boxes for 3 images; expected one an image"):
        read_sot(tmp_path, "GOT-10k")


def test_vot_polygons_become_upright_boxes_of_their_area(tmp_path: Path) -> None:
    base = tmp_path / "VOT2018"
    write(base / "list.txt", "ants1", "bag")
    # Upright, and a square of side 10 * sqrt(2) on its corner, whose hull has twice its area.
    diamond = "60,40,70,50,60,60,50,50"
    write(base / "ants1/groundtruth.txt", "10,20,40,20,40,60,10,60", diamond)
    write(base / "bag/groundtruth.txt", *boxes(2))
    for name in ("ants1", "bag"):
        images(base / name / "color", "{:08d}.jpg", range(1, 3))
    ants, bag = read_sot(tmp_path, "VOT2018")
    side = 10 * 2**0.5
    expected = [[10, 20, 40, 60], [60 - side / 2, 50 - side / 2, 60 + side / 2, 50 + side / 2]]
    np.testing.assert_allclose(ants.truth(), expected)
    assert ants.path(1).endswith("ants1/color/00000002.jpg")
    assert bag.truth()[1].tolist() == [11, 20, 41, 60]
    write(base / "bag/groundtruth.txt", BOX, "1,2,3,4,5,6")
    with pytest.raises(DataError, match=r"line 2, '1,2,3,4,5,6': 6 columns, expected 4 or 8"):
        read_sot(tmp_path, "VOT2018")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"benchmark": "lasot"}, "benchmark='lasot': expected one of 'LaSOT', 'OTB100', "),
        ({"benchmark": "OTB100", "split": "train"}, "split='train': OTB100 has 'test'"),
        ({"split": "half-val"}, "split='half-val': LaSOT has 'train', 'test'"),
        (
            {"benchmark": "OTB100", "attributes": "att"},
            "attributes='att': known are those of LaSOT, UAV123, not of OTB100",
        ),
    ],
)
def test_unknown_values_are_quoted_with_those_allowed(given, reason, tmp_path) -> None:
    with pytest.raises(ValueError, match=reason):
        read_sot(tmp_path, **{"benchmark": "LaSOT", **given})


@pytest.mark.parametrize(
    ("benchmark", "split", "sign"),
    [
        ("LaSOT", "test", "LaSOTBenchmark/*/*/groundtruth.txt"),
        ("OTB100", "test", "otb100/data/*/groundtruth_rect*.txt"),
        ("TrackingNet", "train", "trackingnet/TRAIN*/anno"),
        ("GOT-10k", "val", "GOT-10k/val/*/groundtruth.txt"),
    ],
)
def test_where_a_tree_was_looked_for_is_said(benchmark, split, sign, tmp_path) -> None:
    with pytest.raises(DataError) as error:
        read_sot(tmp_path, benchmark, split)
    assert f"no {benchmark} here: looked for {tmp_path}" in str(error.value)
    assert f"{tmp_path}/{sign} or " in str(error.value)


def test_synthetic_video_reads_without_a_problem(tmp_path: Path) -> None:
    settings = SyntheticVideo(layout="sot", train_videos=1, val_videos=2, frames=9, size=(72, 120))
    films = write_synthetic(tmp_path / "films", settings)
    trained, tested = (read_sot(films, "LaSOT", split) for split in ("train", "test"))
    assert [len(each) for each in (*trained, *tested)] == [9] * 3
    assert any(each.absent.any() for each in tested)
    for each in tested:
        sides = each.truth()[:, 2:] - each.truth()[:, :2]
        assert (sides[~each.absent] > 0).all()


def test_what_is_wrong_with_single_sequences_can_be_noted(lasot: Path) -> None:
    write(lasot / "testing_set.txt", "airplane-1", "cat-3", "cat-4")
    write(lasot / "airplane/airplane-1/groundtruth.txt", BOX, "1,2,x,4")
    problems: list[Problem] = []
    assert [each.name for each in read_sot(lasot, "LaSOT", problems=problems)] == ["cat-3"]
    assert [Path(each.file).name for each in problems] == ["testing_set.txt", "groundtruth.txt"]
    problems.clear()
    write(lasot / "cat/cat-3/out_of_view.txt", "0,0")
    assert read_sot(lasot, "LaSOT", problems=problems) == ()
    assert "out_of_view.txt: 2 flags, expected 8" in str(problems[-1])
    with pytest.raises(DataError, match="1 of its 3 sequences"):
        read_sot(lasot, "LaSOT")


def test_a_part_that_uav_does_not_have_hides_no_other(uav: Path) -> None:
    file = write(uav / "anno/UAV123/bird1_4.txt", BOX)
    problems: list[Problem] = []
    assert len(read_sot(uav, "UAV123", problems=problems)) == 3
    assert [problem.file for problem in problems] == [str(file)]
