"""MOTChallenge trees are read as downloaded, and malformed files are named with their line."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from halftrack.data import DataError
from halftrack.data.mot import LeftOutRows, learned_rows, read_mot

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    with tarfile.open(GOLDEN / "fake_data.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "fake_data"


def first_folder(fake: Path) -> Path:
    return fake / "MOT17/train/MOT17-02-FRCNN"


def test_the_root_may_be_the_folder_itself_and_an_error_names_both(fake: Path) -> None:
    outside, inside = read_mot(fake, "train"), read_mot(fake / "MOT17", "train")
    assert [each.folder for each in outside] == [each.folder for each in inside]
    with pytest.raises(DataError, match=r"no MOT20 here: looked for .*/MOT20/train or .*/train"):
        read_mot(fake, "train", benchmark="MOT20")


def test_where_only_train_is_there_its_splits_are_named(fake: Path) -> None:
    shutil.rmtree(fake / "MOT17" / "test")
    with pytest.raises(DataError, match=r"/test; .*/MOT17/train is there: its splits are .*half-v"):
        read_mot(fake, "test")


def test_the_folder_of_another_benchmark_is_not_taken_for_the_one_asked_for(fake: Path) -> None:
    with pytest.raises(DataError, match="no MOT20 here"):
        read_mot(fake / "MOT17", "train", benchmark="MOT20")


@pytest.mark.parametrize(
    ("detectors", "names"),
    [
        ("all", ["MOT17-02-FRCNN", "MOT17-04-DPM", "MOT17-04-FRCNN", "PETS09-S2L1"]),
        ("FRCNN", ["MOT17-02-FRCNN", "MOT17-04-FRCNN", "PETS09-S2L1"]),
        ("DPM", ["MOT17-04-DPM", "PETS09-S2L1"]),
        ("SDP", ["PETS09-S2L1"]),
    ],
)
def test_detectors_choose_among_the_copies(detectors: str, names: list[str], fake: Path) -> None:
    shutil.copytree(first_folder(fake), fake / "MOT17/train/PETS09-S2L1")
    assert [each.name for each in read_mot(fake, "train", detectors=detectors)] == names


@pytest.mark.parametrize("field", ["benchmark", "split", "detectors"])
def test_unknown_values_are_quoted_with_those_allowed(field: str, fake: Path) -> None:
    given = {"benchmark": "MOT17", "split": "train", "detectors": "all", field: "frcnn"}
    with pytest.raises(ValueError, match=rf"{field}='frcnn': expected one of '"):
        read_mot(fake, **given)


def test_half_train_and_half_val_part_the_frames(fake: Path) -> None:
    (whole, *_), (first, *_), (rest, *_) = (
        read_mot(fake, split, detections=True) for split in ("train", "half-train", "half-val")
    )
    assert (whole.frame_numbers, first.frame_numbers, rest.frame_numbers) == (
        range(1, 14),
        range(1, 8),
        range(8, 14),
    )
    for name in ("truth", "detections"):
        parts = [getattr(each, name) for each in (first, rest)]
        assert sum(map(len, parts)) == len(getattr(whole, name))
        for part, sequence in zip(parts, (first, rest), strict=True):
            assert set(part.frame_numbers) == set(sequence.frame_numbers)


def test_test_sequences_have_detections_and_no_truth(fake: Path) -> None:
    (sequence,) = read_mot(fake, "test", detections=True)
    assert sequence.truth is None
    assert sequence.size == (96, 160)
    rows = sequence.detections.in_frame(1)
    np.testing.assert_allclose(rows.boxes_xyxy[0], [76.93, 38.15, 113.72, 67.84])
    assert rows.scores.tolist() == [0.3509, 0.4159]
    with pytest.raises(DataError, match=r"gt.txt: ground truth is missing"):
        learned_rows(sequence)


def test_a_short_seqinfo_leaves_the_size_to_the_first_image(fake: Path) -> None:
    file = first_folder(fake) / "seqinfo.ini"
    file.write_text("[Sequence]\nname=renamed\nseqLength=13\n")
    sequence = read_mot(fake, "train")[0]
    assert (sequence.name, sequence.size) == ("MOT17-02-FRCNN", (96, 160))
    assert sequence.frame_rate == 30
    assert Path(sequence.path(13)).is_file()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"expected a section \[Sequence\], found none"),
        ("[Sequence]\nname=a\n", "seqLength is missing: the number of frames"),
        ("[Sequence]\nseqLength=many\n", "seqLength='many': expected a whole number of frames"),
        ("seqLength=3\n", r"cannot be read as a \[Sequence\]: File contains no section headers"),
    ],
)
def test_a_bad_seqinfo_is_named(text: str, reason: str, fake: Path) -> None:
    (first_folder(fake) / "seqinfo.ini").write_text(text)
    with pytest.raises(DataError, match=rf"MOT17-02-FRCNN/seqinfo.ini: {reason}"):
        read_mot(fake, "train")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2,1,70,51,forty,30,1,1,0.4", "'forty' is not a number"),
        ("2,1,70,51,47,30,1,1", "8 columns, the lines before it have 9"),
        ("14,1,70,51,47,30,1,1,0.4", "expected a frame of 1 to 13"),
        ("0,1,70,51,47,30,1,1,0.4", "expected a frame of 1 to 13"),
        ("2,1.5,70,51,47,30,1,1,0.4", "frame and id must be whole numbers"),
        ("2,1,nan,51,47,30,1,1,0.4", "a value is not finite"),
    ],
)
def test_a_bad_row_is_quoted_with_its_line(row: str, reason: str, fake: Path) -> None:
    file = first_folder(fake) / "gt/gt.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], row, *lines[3:]]))
    with pytest.raises(DataError, match=rf"gt.txt: line 4, '{row}': {reason}"):
        read_mot(fake, "train")


def test_rows_of_mot15_have_neither_class_nor_visibility(fake: Path) -> None:
    rows = ["1,1,10.5,10,20,30,1,-1,-1,-1", "1,2,50,10,20,30,0,-1,-1,-1", ""]
    (first_folder(fake) / "gt/gt.txt").write_text("\n".join(rows))
    (fake / "MOT17").rename(fake / "MOT15")
    truth = read_mot(fake, "train", benchmark="MOT15")[0].truth
    assert truth.flags.tolist() == [True, False]
    assert truth.classes.tolist() == [1, 1]
    assert truth.visibility.tolist() == [1, 1]
    assert truth.boxes_xyxy.tolist()[0] == [10.5, 10, 30.5, 40]


def test_what_is_not_learned_is_counted(fake: Path) -> None:
    rows = [
        "1,1,-10,-5,20,30,1,1,1",  # partly outside: kept, not clipped
        "1,2,10,10,20,30,0,1,1",
        "1,3,10,10,20,30,1,7,1",
        "1,4,10,10,20,30,1,3,1",
        "1,5,160,10,20,30,1,1,1",
        "1,6,10,10,0.9,30,1,1,1",
    ]
    (first_folder(fake) / "gt/gt.txt").write_text("\n".join(rows))
    sequence = read_mot(fake, "train")[0]
    learned, left_out = learned_rows(sequence)
    assert learned.boxes_xyxy.tolist() == [[-10, -5, 10, 25]]
    counts = {"ignored_classes": 1, "other_classes": 1, "outside": 1, "degenerate": 1}
    assert left_out == LeftOutRows(flagged=1, **counts)
    learned, left_out = learned_rows(sequence, flag_zero=True)
    assert learned.ids.tolist() == [1, 2]
    assert left_out == LeftOutRows(**counts)


def test_a_file_without_rows_is_a_sequence_without_people(fake: Path) -> None:
    (first_folder(fake) / "gt/gt.txt").write_text("\n")
    assert len(read_mot(fake, "train")[0].truth) == 0
