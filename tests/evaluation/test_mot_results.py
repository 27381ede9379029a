from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftrack.evaluation import TrackRows, read_result_folder, read_results, write_results

GOLDEN = Path(__file__).parent.parent / "golden" / "evaluation" / "mot.json"
GOOD = "8,3,62.567,13.122,35.602,42.746,0.740,-1,-1,-1"


def rows(frames, ids, boxes, scores=None) -> TrackRows:
    return TrackRows(
        frame_numbers=np.asarray(frames, np.int64),
        ids=np.asarray(ids, np.int64),
        boxes_xyxy=np.asarray(boxes, np.float64).reshape(-1, 4),
        scores=np.full(len(ids), 0.5) if scores is None else np.asarray(scores, np.float64),
    )


def golden_files() -> dict[str, str]:
    files = json.loads(GOLDEN.read_text())["mot_result_files"]
    return {name: text for name, text in files.items() if name.startswith("MOT17")}


def test_a_row_is_mot_challenges_with_ids_from_1_and_corners_as_they_are(tmp_path):
    path = tmp_path / "S.txt"
    write_results(path, rows([1, 2], [0, 2049], [[0, 0, 10, 20.5], [-3.25, 1, 5, 7]], [1, 0.75]))
    assert path.read_text().splitlines() == [
        "1,1,0.000,0.000,10.000,20.500,1.000,-1,-1,-1",
        "2,2050,-3.250,1.000,8.250,6.000,0.750,-1,-1,-1",
    ]


@pytest.mark.parametrize("name", golden_files())
def test_writes_mmtrackings_files_but_for_the_names_of_tracks(name, tmp_path):
    text = golden_files()[name]
    (tmp_path / "theirs.txt").write_text(text)
    write_results(tmp_path / "ours.txt", read_results(tmp_path / "theirs.txt"))
    ours = (tmp_path / "ours.txt").read_text().splitlines()
    assert ours == [line.replace(".0,", ",", 1) for line in text.split("\n") if line]


def test_ids_may_be_written_as_fractions_and_count_from_0(tmp_path):
    path = tmp_path / "S.txt"
    path.write_text("1,3,0,0,5,5,1,-1,-1,-1\n1,4.0,0,0,5,5,1,-1,-1,-1\n\n 2, 0.0, 1, 2, 5, 5, -1\n")
    got = read_results(path)
    assert got.ids.tolist() == [2, 3, -1]
    assert got.frame_numbers.tolist() == [1, 1, 2]
    assert got.boxes_xyxy[2].tolist() == [1, 2, 6, 7]
    assert got.scores.tolist() == [1, 1, -1]
    assert (got.ids.dtype, got.frame_numbers.dtype) == (np.int64, np.int64)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 30))
def test_what_was_written_comes_back(seed, count, tmp_path_factory):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-50, 2000, (count, 2))
    written = rows(
        rng.integers(1, 1000, count),
        rng.permutation(10_000)[:count],
        np.concatenate([corners, corners + rng.uniform(0.001, 500, (count, 2))], axis=1),
        rng.uniform(size=count),
    )
    path = tmp_path_factory.mktemp("results") / "S.txt"
    write_results(path, written)
    got = read_results(path)
    assert got.ids.tolist() == written.ids.tolist()
    assert got.frame_numbers.tolist() == written.frame_numbers.tolist()
    # Both the corner and the size are rounded.
    np.testing.assert_allclose(got.boxes_xyxy, written.boxes_xyxy, atol=1.001e-3, rtol=0)
    np.testing.assert_allclose(got.scores, written.scores, atol=5.001e-4, rtol=0)


LINES = {
    "too few columns": ("8,3,1,2,3,4", "line 1: '8,3,1,2,3,4' has 6 columns, expected 7 to 10"),
    "too many columns": (GOOD + ",7", "has 11 columns, expected 7 to 10"),
    "another separator": (GOOD.replace(",", " "), "has 1 columns, expected 7 to 10: frame,id"),
    "a word in the second line": (
        f"{GOOD}\n9,three,1,2,3,4,1,-1,-1,-1",
        "line 2: '9,three,1,2.*'three' is not a number, expected numbers",
    ),
    "an underscore": ("8,3,1,2,1_0,4,1", "'1_0' is not a number, expected numbers"),
    "digits of another script": ("8,3,1,2,\u0661,4,1", "'\u0661' is not a number, expected"),
    "a NaN box": ("8,3,nan,2,3,4,1,-1,-1,-1", "has a box or score that is not finite"),
    "an infinite box": ("8,3,1,2,inf,4,1,-1,-1,-1", "has a box or score that is not finite"),
    "no width": ("8,3,1,2,0,4,1,-1,-1,-1", "has width 0 and height 4, allowed is above 0"),
    "a negative height": ("8,3,1,2,3,-4,1,-1,-1,-1", "has width 3 and height -4, allowed"),
    "frame 0": ("0,3,1,2,3,4,1,-1,-1,-1", "has frame number '0', allowed are 1, 2"),
    "half a frame": ("1.5,3,1,2,3,4,1,-1,-1,-1", "has frame number '1.5', allowed are 1, 2"),
    "a frame that is NaN": ("nan,3,1,2,3,4,1,-1,-1,-1", "has frame number 'nan'"),
    "detections, which have no id": (
        "1,-1,1,2,3,4,1,-1,-1,-1",
        "has id '-1', allowed are whole.*is this a det.txt",
    ),
    "half an id": ("1,2.5,1,2,3,4,1,-1,-1,-1", "has id '2.5', allowed are whole numbers from 0"),
    "an id twice in one frame": (
        f"{GOOD}\n9,3,1,2,3,4,1,-1,-1,-1\n{GOOD}",
        "line 3: '8,3,62.567.*has id 3 a second time in frame 8, first in line 1",
    ),
    "a frame beyond numbers": ("1e300,3,1,2,3,4,1", "has frame number '1e300', allowed are 1, 2"),
    "a box beyond images": ("8,3,1e30,2,3,4,1", "has a box beyond 1e.06 pixels"),
    "an id beyond numbers": ("8,1e300,1,2,3,4,1", "has id '1e300', allowed are whole numbers"),
    "a web page": ("<!DOCTYPE html><p>404", "result file is a web page"),
    "a Git LFS pointer": ("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    "not text": ("\x00\x89PNG", "has 1 columns, expected 7 to 10"),
}


@pytest.mark.parametrize(("text", "told"), LINES.values(), ids=LINES.keys())
def test_what_cannot_be_read_is_told_with_file_and_line(text, told, tmp_path):
    path = tmp_path / "S.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=told) as caught:
        read_results(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_in_another_encoding_says_so(tmp_path):
    path = tmp_path / "S.txt"
    path.write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(ValueError, match=r"S\.txt: line 1 is not UTF-8 text: save the result file"):
        read_results(path)


BOX = [0, 0, 5, 5]
UNWRITABLE = {
    "frame 0": (rows([0], [0], [BOX]), r"track row 0 \(frame 0, id 0\).* allowed are 1, 2"),
    "a width of nothing": (
        rows([1], [4], [[3, 0, 3.0004, 5]]),
        r"track row 0 \(frame 1, id 4\) has the box .*above 0 with three decimals",
    ),
    "an id twice in one frame": (rows([1, 1], [4, 4], [BOX, BOX]), "not the first of this id"),
    "a NaN box": (rows([1], [4], [[0, 0, np.nan, 1]]), "allowed are finite numbers"),
    "a NaN score": (rows([1], [4], [BOX], [np.nan]), "has score nan"),
}


@pytest.mark.parametrize(("bad", "told"), UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_what_could_not_be_read_back_is_not_written(bad, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        write_results(tmp_path / "S.txt", bad)
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_found_nothing_hands_in_an_empty_file(tmp_path):
    write_results(tmp_path / "S.txt", rows([], [], []))
    assert (tmp_path / "S.txt").read_bytes() == b""


@pytest.mark.parametrize("text", ["", "\n  \n", "\ufeff"])
def test_a_file_without_rows_is_a_tracker_that_found_nothing(text, tmp_path):
    (tmp_path / "S.txt").write_text(text, encoding="utf-8")
    got = read_results(tmp_path / "S.txt")
    assert (len(got), got.boxes_xyxy.shape, got.ids.dtype) == (0, (0, 4), np.int64)


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path):
    (tmp_path / "S.txt").mkdir()
    for name in ("S.txt", "T.txt"):
        with pytest.raises(ValueError, match=rf"{name}: result file (is missing|cannot be read)"):
            read_results(tmp_path / name)


def test_a_folder_gives_the_sequences_asked_for_and_names_the_rest(tmp_path):
    for name in ("A", "B", "pedestrian_summary"):
        (tmp_path / f"{name}.txt").write_text(GOOD)
    got = read_result_folder(tmp_path, ["B", "A"])
    assert list(got.results) == ["B", "A"]
    assert got.results["A"].ids.tolist() == [2]
    assert got.extra == ("pedestrian_summary.txt",)


def test_a_missing_sequence_is_told_with_what_is_there(tmp_path):
    for name in ("A", "a_note"):
        (tmp_path / f"{name}.txt").write_text(GOOD)
    told = "has no B.txt, C.txt; there are A.txt of the 3 expected and, not asked for, a_note.txt"
    with pytest.raises(ValueError, match=told):
        read_result_folder(tmp_path, ["A", "B", "C"])
    with pytest.raises(ValueError, match=r"nowhere is not a folder; expected one with A.txt"):
        read_result_folder(tmp_path / "nowhere", ["A"])


def test_a_broken_file_of_a_folder_is_named(tmp_path):
    (tmp_path / "A.txt").write_text(GOOD)
    (tmp_path / "B.txt").write_text("x")
    with pytest.raises(ValueError, match=r"B.txt, line 1: 'x' has 1 columns"):
        read_result_folder(tmp_path, ["A", "B"])


def test_rows_know_how_many_they_are():
    two = rows([1, 2], [0, 0], [BOX, BOX])
    assert len(two) == 2
    assert len(replace(two, ids=two.ids[:0])) == 0
