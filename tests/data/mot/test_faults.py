"""Ground truth and detections that cannot be meant are refused with line and likely mistake.

Each row is a story: what converters, spreadsheets and copied files leave behind. Whatever training
or scoring would stop at, ``data check`` lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halftrack.data import DataError
from halftrack.data.check import check
from halftrack.data.mot import (
    FrameBatches,
    MotDetectionConfig,
    MotSequence,
    MotSequences,
    ReIDDataConfig,
    read_mot,
)

WIDTH, HEIGHT, FRAMES = 160, 120, 10
CONFIG = MotDetectionConfig(training_split="train", test_split="train", image_scale=(80, 60))
Rows = list[list[str]]

# Two people who walk, a car, an occluder that is not evaluated, a static person.
GOOD = [
    [str(f), str(i), str(x + f * step), str(y), str(w), str(h), flag, kind, seen]
    for f in range(1, FRAMES + 1)
    for i, x, y, w, h, step, flag, kind, seen in (
        (1, 10, 20, 20, 50, 1, "1", "1", "1.0"),
        (2, 110, 40, 12, 40, -2, "1", "1", "0.5"),
        (3, 60, 60, 40, 25, 1, "1", "3", "1.0"),
        (4, 100, 10, 12, 24, -1, "0", "11", "0.4"),
        (5, 30, 70, 18, 40, 1, "1", "7", "0.9"),
    )
]
ONLY_PEOPLE = [row for row in GOOD if row[7] == "1"]


def sequence_folder(root: Path, name: str = "MOT17-90-FRCNN", benchmark: str = "MOT17") -> Path:
    folder = root / benchmark / "train" / name
    for part in ("img1", "gt", "det"):
        (folder / part).mkdir(parents=True)
    for frame in range(1, FRAMES + 1):
        grey = np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
        Image.fromarray(grey).save(folder / f"img1/{frame:06d}.jpg")
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={name}\nimDir=img1\nframeRate=25\nseqLength={FRAMES}\n"
        f"imWidth={WIDTH}\nimHeight={HEIGHT}\nimExt=.jpg\n"
    )
    write(folder / "gt/gt.txt", GOOD)
    write(folder / "det/det.txt", [[*row[:1], "-1", *row[2:6], "0.9"] for row in GOOD])
    return folder


def write(file: Path, rows: Rows) -> None:
    file.write_text("".join(",".join(row) + "\n" for row in rows))


def changed(row: int, column: int, value: str, rows: Rows = GOOD) -> Rows:
    return [
        [value if (r, c) == (row, column) else cell for c, cell in enumerate(cells)]
        for r, cells in enumerate(rows)
    ]


def every(tail: Callable[[list[str]], list[str]], rows: Rows = GOOD) -> Rows:
    return [tail(row) for row in rows]


def corners(row: list[str]) -> list[str]:
    left, top, width, height = map(float, row[2:6])
    return [*row[:4], f"{left + width:g}", f"{top + height:g}", *row[6:]]


def read(root: Path, **fields: str) -> MotSequence:
    return read_mot(root, "train", **fields)[0]  # type: ignore[arg-type]


CLASSES = [1, 1, 3, 11, 7] * FRAMES
SAME: dict[str, Rows] = {
    "nine columns": GOOD,
    "a tenth column of -1": every(lambda row: [*row, "-1"]),
    "a tenth column of 0 beside shares of visibility": every(lambda row: [*row, "0"]),
    "whole numbers written as fractions": every(
        lambda row: [f"{row[0]}.0", f"{row[1]}.0", *row[2:7], f"{row[7]}.0", row[8]]
    ),
    "exponents": every(lambda row: [*row[:2], f"{float(row[2]):e}", *row[3:]]),
    "spaces around": every(lambda row: [f" {cell} " for cell in row]),
    "sorted by object": sorted(GOOD, key=lambda row: (int(row[1]), int(row[0]))),
}


@pytest.mark.parametrize("story", SAME)
def test_classes_are_read_whatever_stands_behind_them(story: str, tmp_path: Path) -> None:
    write(sequence_folder(tmp_path) / "gt/gt.txt", SAME[story])
    truth = read(tmp_path).truth
    assert truth is not None
    order = np.lexsort((truth.ids, truth.frame_numbers))
    assert truth.classes[order].tolist() == CLASSES
    assert truth.visibility[order].tolist() == [1, 0.5, 1, 0.4, 0.9] * FRAMES
    assert truth.flags[order].tolist() == [True, True, True, False, True] * FRAMES


PEOPLE: dict[str, Rows] = {
    "ten columns, three of them -1": every(lambda row: [*row[:7], "-1", "-1", "-1"]),
    "seven columns": every(lambda row: row[:7]),
}


@pytest.mark.parametrize("story", PEOPLE)
def test_rows_without_a_class_are_people_and_counted(story: str, tmp_path: Path) -> None:
    write(sequence_folder(tmp_path) / "gt/gt.txt", PEOPLE[story])
    sequence = read(tmp_path)
    assert sequence.truth is not None
    assert set(sequence.truth.classes.tolist()) == {1}
    assert sequence.odd["rows without a class, read as pedestrians"] == len(GOOD)
    sequence_folder(tmp_path, "PETS", "MOT15")
    write(tmp_path / "MOT15/train/PETS/gt/gt.txt", PEOPLE[story])
    assert "rows without a class, read as pedestrians" not in read(tmp_path, benchmark="MOT15").odd


def test_mot15_has_world_coordinates_in_the_place_of_classes(tmp_path: Path) -> None:
    folder = sequence_folder(tmp_path, "PETS", "MOT15")
    world = every(lambda row: [*row[:7], "-8.7", "2.25", "0"])
    write(folder / "gt/gt.txt", world)
    truth = read(tmp_path, benchmark="MOT15").truth
    assert truth is not None
    assert set(truth.classes.tolist()) == {1}
    folder.parents[1].rename(tmp_path / "MOT17")
    told = "line 1, .*: the columns 8 to 10 hold -8.7, 2.25, 0; expected class .*benchmark=MOT15"
    with pytest.raises(DataError, match=told):
        read(tmp_path)


REFUSED: dict[str, tuple[Rows, str]] = {
    "VisDrone": (
        every(lambda row: [*row[:7], "4", str(int(row[0]) % 2), str(int(row[1]) % 3)]),
        "line 1, .*: the columns 8 to 10 hold 4, 1, 1; expected .*VisDrone's truncation",
    ),
    "VisDrone, everything in sight": (
        every(lambda row: [*row[:7], "4", "0", "0"]),
        "line 1, .*: the columns 8 to 10 hold 4, 0, 0",
    ),
    "class and visibility -1": (
        every(lambda row: [*row[:7], "-1", "-1"]),
        "line 1, .*: class -1 in column 8, allowed are 1 to 13",
    ),
    "class 0, counted from 0": (changed(3, 7, "0"), "line 4, .*: class 0 in column 8"),
    "class 14": (changed(7, 7, "14"), "line 8, .*: class 14 in column 8"),
    "half a class": (changed(7, 7, "1.5"), "line 8, .*: class 1.5 in column 8"),
    "visibility in percent": (changed(2, 8, "80"), "line 3, .*: visibility 80 in column 9"),
    "a negative visibility": (changed(2, 8, "-1"), "line 3, .*: visibility -1 in column 9"),
    "a score in the flag's place": (
        changed(4, 6, "0.93"),
        "line 5, .*: flag 0.93 in column 7, allowed are 0 .* scores?|a score there",
    ),
    "flag -1": (changed(4, 6, "-1"), "line 5, .*: flag -1 in column 7"),
    "detections in the place of truth": (
        every(lambda row: [row[0], "-1", *row[2:6], "0.9"]),
        "line 1, .*: a negative id: .* is this a det.txt",
    ),
    "a visibility that is rounded to 1 where it is told": (
        changed(2, 8, "1.0000001"),
        "line 3, .*: visibility 1.0000001 in column 9",
    ),
    "digits of another script": (changed(2, 1, "\u0661"), "line 3, .*: '\u0661' is not a number"),
    "tabs": ([["\t".join(row)] for row in GOOD], "line 1, .*: expected columns separated by comm"),
    "decimal commas": (
        [[";".join(row).replace(".", ",")] for row in GOOD],
        "line 1, .*: '1;1;11;20;20;50;1;1;1' is not a number",
    ),
    "a truth value": (changed(2, 6, "True"), "line 3, .*: 'True' is not a number"),
    "1e400": (changed(2, 4, "1e400"), "line 3, .*: a value is not finite"),
    "a comma at the end": (every(lambda row: [*row, ""]), "line 1, .*: '' is not a number"),
    "eight columns": (every(lambda row: row[:8]), "8 columns; expected frame, id, left"),
    "twelve columns": (every(lambda row: [*row, "0", "0", "0"]), "12 columns; expected frame"),
    "a row twice": (
        [*GOOD, GOOD[0]],
        "line 51, .*: object 1 is in frame 1 a second time, the same row as in line 1",
    ),
    "an object at two places at once": (
        changed(1, 1, "1"),
        "line 2, .*: object 1 is in frame 1 a second time, another box of it is in line 1",
    ),
    "a negative width": (changed(5, 4, "-12"), "line 6, .*: width -12 and height 50, allowed is"),
    "a negative height": (changed(6, 5, "-1"), "line 7, .*: width 12 and height -1, allowed is 0"),
    "corners": (
        every(corners),
        "line .*: the columns 3 to 6 look like x1, y1, x2, y2; expected left, top, width, height",
    ),
    "corners of one person in the middle": (
        every(corners, [row for row in GOOD if row[1] == "3"]),
        "look like x1, y1, x2, y2",
    ),
    "corners of one who walks in the upper left": (
        every(
            corners,
            [[str(f), "1", str(5 + 3 * f), "5", "8", "20", "1", "1", "1"] for f in range(1, 11)],
        ),
        "look like x1, y1, x2, y2",
    ),
    "a box of NaN": (changed(5, 2, "nan"), "line 6, .*: a value is not finite"),
    "an infinite box": (changed(5, 5, "inf"), "line 6, .*: a value is not finite"),
    "a box beyond float32": (changed(5, 2, "1e30"), "line 6, .*: a coordinate is beyond 1e"),
    "frame 0, counted from 0": (changed(0, 0, "0"), "line 1, .*: expected a frame of 1 to 10"),
    "a frame behind the last": (changed(9, 0, "11"), "expected a frame of 1 to 10, seqLength"),
    "half an id": (changed(9, 1, "1.5"), "line 10, .*: frame and id must be whole numbers"),
    "a huge id": (changed(9, 1, "1e300"), "line 10, .*: expected an id of at most"),
    "an underscore": (changed(9, 2, "1_0"), "line 10, .*: '1_0' is not a number"),
    "a header": ([["frame", "id", "x", "y", "w", "h", "f", "c", "v"], *GOOD], "'frame' is not a"),
    "semicolons": ([[";".join(row)] for row in GOOD], "expected columns separated by commas"),
    "nobody in it": ([], "nothing|none of its 0 rows"),
    "cars only": ([row for row in GOOD if row[7] == "3"], "none of its 10 rows in the frames 1"),
}


@pytest.mark.parametrize("story", REFUSED)
def test_what_stops_training_or_scoring_is_listed_by_data_check(story: str, tmp_path: Path) -> None:
    rows, reason = REFUSED[story]
    file = sequence_folder(tmp_path) / "gt/gt.txt"
    write(file, rows)
    with pytest.raises(DataError, match=reason) as caught:
        MotSequences.open(CONFIG, tmp_path, scored=True)
    assert caught.value.file == str(file)
    assert len(str(caught.value)) < len(str(file)) + 420
    with pytest.raises(DataError):
        FrameBatches.open(CONFIG, tmp_path)
    report = check(tmp_path, CONFIG, tracked=True)
    assert any(re.search(reason, problem.reason) for problem in report.problems)
    assert not report.ok


@pytest.mark.parametrize("story", ["a row twice", "corners", "class 0, counted from 0"])
def test_skipping_leaves_the_sequence_out_and_lists_it(story: str, tmp_path: Path) -> None:
    sequence_folder(tmp_path)
    bad = sequence_folder(tmp_path, "MOT17-91-FRCNN")
    write(bad / "gt/gt.txt", REFUSED[story][0])
    skipping = replace(CONFIG, on_bad_sample="skip")
    batches = FrameBatches.open(skipping, tmp_path)
    assert [each.name for each in batches.sequences] == ["MOT17-90-FRCNN"]
    opened = MotSequences.open(skipping, tmp_path, scored=True)
    assert opened.names == ("MOT17-90-FRCNN",)
    for ledger in (batches.skipped, opened.skipped):
        assert [problem.file for problem in ledger.times] == [str(bad / "gt/gt.txt")]
    write(tmp_path / "MOT17/train/MOT17-90-FRCNN/gt/gt.txt", REFUSED[story][0])
    with pytest.raises(DataError, match="no sequence is left"):
        FrameBatches.open(skipping, tmp_path)


def test_what_looks_odd_is_counted_in_every_report(tmp_path: Path) -> None:
    folder = sequence_folder(tmp_path)
    rows = [
        *ONLY_PEOPLE,
        ["1", "8", "-5", "20", "10", "30", "1", "1", "1"],
        ["2", "8", "20", "20", "300", "30", "1", "1", "1"],
        ["3", "8", "20", "20", "0", "30", "1", "1", "1"],
    ]
    write(folder / "gt/gt.txt", rows)
    expected = {
        "boxes that leave their image": 2,
        "boxes larger than their image": 1,
        "boxes without area": 1,
        "sequences of one class only": 1,
    }
    assert read(tmp_path).odd == expected
    (report,) = check(tmp_path, CONFIG).sets
    assert report.odd == expected
    assert report.problems == ()
    assert "odd: 2 boxes that leave their image" in FrameBatches.open(CONFIG, tmp_path).notes[0]
    (note,) = MotSequences.open(CONFIG, tmp_path).notes
    assert note.startswith("odd, but used: 2 boxes that leave their image, 1 boxes larger")


DETECTIONS = {
    "no area": (["1", "-1", "5", "5", "0", "10", "0.9"], None),
    "outside": (["1", "-1", "500", "5", "10", "10", "0.9"], None),
    "outside by a hair": (["1", "-1", "-10", "5", "10.0000001", "10", "0.9"], None),
    "negative": (["1", "-1", "5", "5", "-4", "10", "0.9"], "width -4 and height 10, allowed is"),
    "NaN": (["1", "-1", "nan", "5", "4", "10", "0.9"], "a value is not finite"),
    "a confidence of NaN": (["1", "-1", "5", "5", "4", "10", "nan"], "a value is not finite"),
    "beyond float32": (["1", "-1", "5", "5", "1e39", "10", "0.9"], "a coordinate is beyond"),
    "in no frame": (["77", "-1", "5", "5", "4", "10", "0.9"], "expected a frame of 1 to 10"),
}


@pytest.mark.parametrize("story", DETECTIONS)
def test_detections_that_are_no_boxes_reach_no_operation(story: str, tmp_path: Path) -> None:
    row, reason = DETECTIONS[story]
    folder = sequence_folder(tmp_path)
    config = replace(CONFIG, public=True)
    whole = len(next(iter(MotSequences.open(config, tmp_path)[0].frames())).public_xyxy)
    with (folder / "det/det.txt").open("a") as stream:
        stream.write(",".join(row) + "\n")
    report = check(tmp_path, config)
    if reason is not None:
        with pytest.raises(DataError, match=rf"det.txt: line 51, .*: {reason}"):
            MotSequences.open(config, tmp_path)
        assert any(reason in problem.reason for problem in report.problems)
        return
    frame = next(iter(MotSequences.open(config, tmp_path)[0].frames()))
    assert len(frame.public_xyxy) == whole
    sides = frame.public_xyxy[:, 2:] - frame.public_xyxy[:, :2]
    assert (sides > 0).all()
    what = "public detections without area in their image, left out (det.txt)"
    assert report.sets[0].odd[what] == 1
    assert report.ok


def test_corners_of_detections_are_told(tmp_path: Path) -> None:
    folder = sequence_folder(tmp_path)
    write(folder / "det/det.txt", [[*corners(row)[:6], "0.9"] for row in GOOD])
    with pytest.raises(DataError, match=r"det.txt: line .* look like x1, y1, x2, y2"):
        MotSequences.open(replace(CONFIG, public=True), tmp_path)


LENGTHS = {
    "too short": (9, "000010.jpg: there is an image of frame 10, but seqLength=9"),
    "too long": (11, "000011.jpg: image of the last frame is missing, but seqLength=11"),
    "a trillion": (10**12, "seqinfo.ini: seqLength='1000000000000': expected a whole number"),
}


@pytest.mark.parametrize("story", LENGTHS)
@pytest.mark.parametrize("truth", [True, False])
def test_a_wrong_length_is_told_with_and_without_truth(
    story: str, truth: bool, tmp_path: Path
) -> None:
    length, reason = LENGTHS[story]
    folder = sequence_folder(tmp_path)
    write(folder / "gt/gt.txt", [row for row in GOOD if int(row[0]) <= 9])
    if not truth:
        (folder / "gt/gt.txt").unlink()
    text = (folder / "seqinfo.ini").read_text()
    (folder / "seqinfo.ini").write_text(text.replace("seqLength=10", f"seqLength={length}"))
    with pytest.raises(DataError, match=reason):
        read_mot(tmp_path, "train")
    assert any(re.search(reason, str(problem)) for problem in check(tmp_path, CONFIG).problems)


def test_results_can_be_scored_where_no_image_was_downloaded(tmp_path: Path) -> None:
    folder = sequence_folder(tmp_path)
    for image in (folder / "img1").iterdir():
        image.unlink()
    assert len(MotSequences.open(CONFIG, tmp_path, scored=True)) == 1


def test_truth_of_only_some_sequences_is_told_before_anything_is_tracked(tmp_path: Path) -> None:
    sequence_folder(tmp_path)
    (sequence_folder(tmp_path, "MOT17-91-FRCNN") / "gt/gt.txt").unlink()
    with pytest.raises(DataError, match=r"MOT17-91-FRCNN/gt/gt.txt: ground truth is missing here"):
        MotSequences.open(CONFIG, tmp_path, scored=True)
    assert not check(tmp_path, CONFIG).ok


def test_folders_of_archives_and_servers_are_passed_over(tmp_path: Path) -> None:
    folder = sequence_folder(tmp_path)
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", "._MOT17-90-FRCNN"):
        (folder.parent / name).mkdir()
    assert [each.name for each in read_mot(tmp_path, "train")] == [folder.name]


def test_too_few_individuals_are_a_problem_of_the_check(tmp_path: Path) -> None:
    sequence_folder(tmp_path)
    config = ReIDDataConfig(min_crops=5, identities_per_batch=64)
    report = check(tmp_path, config)
    assert any("identities_per_batch=64 asks for more" in each.reason for each in report.problems)
    report = check(tmp_path, replace(config, min_crops=500, max_crops=1000))
    assert any("no individual with min_crops=500" in each.reason for each in report.problems)
