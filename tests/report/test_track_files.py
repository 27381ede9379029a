"""Track files: what a row says, and that nothing half-written has the final name."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from halftrack.evaluation import read_results
from halftrack.evaluation.sot_results import read_boxes
from halftrack.frames import Tracks
from halftrack.report import JsonLinesWriter, MotTextWriter
from halftrack.report.track_files import BoxTextWriter, CsvWriter, VidTextWriter


def some_tracks(*ids: int) -> Tracks:
    return Tracks(
        ids=torch.tensor(ids, dtype=torch.int64),
        boxes_xyxy=torch.tensor([[10.1, 20.25 + i, 50.0, 90.0 + i] for i in ids]).reshape(-1, 4),
        scores=torch.full((len(ids),), 0.9),
        labels=torch.zeros(len(ids), dtype=torch.int64),
    )


def test_mot_rows_have_ids_from_1_on_and_corners_as_they_are(tmp_path: Path) -> None:
    with MotTextWriter(tmp_path / "02.txt") as file:
        file.write(1, some_tracks(0, 7))
        file.write(2, some_tracks())
        file.write(3, some_tracks(7))
    assert (tmp_path / "02.txt").read_text().splitlines() == [
        "1,1,10.100,20.250,39.900,69.750,0.900,-1,-1,-1",
        "1,8,10.100,27.250,39.900,69.750,0.900,-1,-1,-1",
        "3,8,10.100,27.250,39.900,69.750,0.900,-1,-1,-1",
    ]


def test_mot_rows_of_detections_have_no_id(tmp_path: Path) -> None:
    with MotTextWriter(tmp_path / "det.txt") as file:
        file.write(1, some_tracks(-1))
    assert (tmp_path / "det.txt").read_text().startswith("1,-1,10.100,19.250,39.900,69.750,0.900")


def test_mot_text_is_what_the_evaluation_reads(tmp_path: Path) -> None:
    with MotTextWriter(tmp_path / "02.txt") as file:
        file.write(1, some_tracks(0, 2049))
    rows = read_results(tmp_path / "02.txt")
    assert rows.ids.tolist() == [0, 2049]
    assert np.allclose(rows.boxes_xyxy, some_tracks(0, 2049).boxes_xyxy, atol=1e-3)


def test_json_lines_have_a_line_for_every_frame(tmp_path: Path) -> None:
    with JsonLinesWriter(tmp_path / "02.jsonl") as file:
        file.write(1, some_tracks(3))
        file.write(2, some_tracks())
    lines = (tmp_path / "02.jsonl").read_text().splitlines()
    track = {"id": 3, "box_xyxy": [10.1, 23.25, 50.0, 93.0], "score": 0.9, "label": 0}
    assert [json.loads(line) for line in lines] == [
        {"frame": 1, "tracks": [track]},
        {"frame": 2, "tracks": []},
    ]


def test_a_table_has_a_header_and_a_row_for_every_box(tmp_path: Path) -> None:
    with CsvWriter(tmp_path / "02.csv", ["person, standing"]) as file:
        file.write(1, some_tracks(), 0.0)
        file.write(2, some_tracks(3), 0.04)
    with (tmp_path / "02.csv").open(newline="") as table:
        (row,) = csv.DictReader(table)
    assert row == {
        "frame": "2",
        "time": "0.0400",
        "id": "3",
        "score": "0.9000",
        "label": "0",
        "x1": "10.100",
        "y1": "23.250",
        "x2": "50.000",
        "y2": "93.000",
        "class": "person, standing",
    }


def test_text_of_one_object_is_what_its_kits_read(tmp_path: Path) -> None:
    with BoxTextWriter(tmp_path / "car-1.txt") as file:
        file.write(1, some_tracks(0))
        file.write(2, some_tracks(5))
    expected = torch.cat([some_tracks(0).boxes_xyxy, some_tracks(5).boxes_xyxy])
    assert np.allclose(read_boxes(tmp_path / "car-1.txt"), expected, atol=1e-3)


def test_text_of_detections_counts_frames_and_classes_from_1(tmp_path: Path) -> None:
    with VidTextWriter(tmp_path / "02.txt") as file:
        file.write(1, some_tracks())
        file.write(2, some_tracks(-1))
    assert (tmp_path / "02.txt").read_text() == "2 1 0.9000 10.10 19.25 50.00 89.00\n"


@pytest.mark.parametrize("writer", [MotTextWriter, JsonLinesWriter])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_after_an_error_what_was_done_is_kept_as_partial_and_said(
    tmp_path: Path,
    writer: type[MotTextWriter | JsonLinesWriter],
    error: type[BaseException],
) -> None:
    path = tmp_path / "02.txt"
    path.write_text("an older run")

    def run() -> None:
        with writer(path) as file:
            file.write(1, some_tracks(0))
            assert path.read_text() == "an older run"
            raise error

    with pytest.raises(error) as caught:
        run()
    assert path.read_text() == "an older run"
    assert len((tmp_path / "02.txt.partial").read_text().splitlines()) == 1
    assert caught.value.__notes__ == [
        f"1 frames were written until then; they are in {path}.partial"
    ]


def test_a_whole_file_replaces_an_older_one_and_leaves_no_partial(tmp_path: Path) -> None:
    (tmp_path / "02.txt").write_text("an older run")
    with MotTextWriter(tmp_path / "02.txt"):
        pass
    assert (tmp_path / "02.txt").read_text() == ""
    assert list(tmp_path.iterdir()) == [tmp_path / "02.txt"]


def test_frames_out_of_order_are_refused(tmp_path: Path) -> None:
    with MotTextWriter(tmp_path / "02.txt") as file:
        with pytest.raises(ValueError, match=r"02.txt: frame number 0 cannot come after 0"):
            file.write(0, some_tracks())
        file.write(4, some_tracks())
        with pytest.raises(ValueError, match=r"number 4 cannot come after 4; allowed are rising"):
            file.write(4, some_tracks())


@pytest.mark.parametrize("writer", [MotTextWriter, JsonLinesWriter])
@pytest.mark.parametrize("name", ["box", "score"])
def test_values_that_are_not_finite_are_refused_by_frame_and_track(
    tmp_path: Path, writer: type[MotTextWriter | JsonLinesWriter], name: str
) -> None:
    tracks = some_tracks(3, 5)
    (tracks.boxes_xyxy[1] if name == "box" else tracks.scores)[1] = float("nan")
    with (
        writer(tmp_path / "02.txt") as file,
        pytest.raises(ValueError, match=rf"in frame 6 track 5 has the {name} .*nan"),
    ):
        file.write(6, tracks)


def test_a_file_in_no_folder_or_not_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot write .*there is no folder .*nowhere"):
        MotTextWriter(tmp_path / "nowhere" / "02.txt")
    with pytest.raises(ValueError, match=r"it is a folder, expected a file's name"):
        JsonLinesWriter(tmp_path)
    with pytest.raises(ValueError, match=r"02.txt is not open: write inside a with block"):
        MotTextWriter(tmp_path / "02.txt").write(1, some_tracks())


def test_times_are_kept_in_both_files(tmp_path: Path) -> None:
    with MotTextWriter(tmp_path / "a.txt") as text, JsonLinesWriter(tmp_path / "a.jsonl") as lines:
        for number, time in enumerate((0.0, 0.02, 0.6), start=1):
            text.write(number, some_tracks(0), time)
            lines.write(number, some_tracks(0), time)
    rows = (tmp_path / "a.txt").read_text().splitlines()
    assert [row.split(",")[-1] for row in rows] == ["0.0000", "0.0200", "0.6000"]
    assert len(read_results(tmp_path / "a.txt").ids) == 3
    read = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [each["time"] for each in read] == [0.0, 0.02, 0.6]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt.partial").symlink_to("/dev/full")
    with (
        pytest.raises(OSError, match=r"No space left on device: .*a\.txt\.partial"),
        MotTextWriter(tmp_path / "a.txt") as file,
    ):
        file.write(1, some_tracks(0))
