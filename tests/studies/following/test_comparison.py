"""Logs beside each other: what differs, final values, and every line as CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from logged import EVALUATED, META, SKIPPED, trained, write_run
from PIL import Image

from halftrack.interop.logs.read import TrainingLog, read_training_log
from halftrack.studies.following.comparison import (
    differences,
    draw_logs,
    last_row,
    notes_of,
    write_log_csv,
)


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, TrainingLog]:
    ours = write_run(tmp_path / "ours", META, SKIPPED, trained(20), EVALUATED)
    theirs = write_run(tmp_path / "theirs", {"mode": "train", "epoch": 1, "iter": 50, "loss": 3})
    return {"ours": read_training_log(ours), "theirs": read_training_log(theirs)}


def test_only_settings_that_differ_are_told() -> None:
    same = {"seed": "0", "training.lr": "0.1"}
    assert differences({"a": same, "b": dict(same)}) == []
    rows = differences({"a": same, "b": same | {"training.lr": "0.2", "init": "none"}, "c": {}})
    assert rows == [
        {"setting": "seed", "a": "0", "b": "0", "c": "-"},
        {"setting": "training.lr", "a": "0.1", "b": "0.2", "c": "-"},
        {"setting": "init", "a": "-", "b": "none", "c": "-"},
    ]


def test_skipped_steps_are_counted_where_they_are_logged(logs: dict[str, TrainingLog]) -> None:
    ours, theirs = (last_row(log, ["loss", "ap50"]) for log in logs.values())
    assert ours == {"loss": "1.8", "ap50": "0.5", "skipped steps": "1", "s/step": "0.5"}
    assert theirs == {"loss": "3", "ap50": "-", "skipped steps": "-", "s/step": "-"}
    assert notes_of(logs)[0] == "ours: 1 lines are not finite:"


def test_a_picture_and_a_page_are_drawn(logs: dict[str, TrainingLog], tmp_path: Path) -> None:
    settings = [{"setting": "training.lr", "ours": "0.1", "theirs": "-"}]
    for name in ("a.png", "a.html"):
        draw_logs(
            tmp_path / name, logs, ["loss"], rows=[{"log": "ours"}], notes=[], settings=settings
        )
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
    assert "training.lr" in (tmp_path / "a.html").read_text()


def test_the_csv_has_every_line_and_field(logs: dict[str, TrainingLog], tmp_path: Path) -> None:
    write_log_csv(tmp_path / "a.csv", logs)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    places = [(row["log"], row["mode"], row["step"]) for row in rows]
    assert places == [
        ("ours", "skipped", "1"),
        ("ours", "train", "20"),
        ("ours", "val", "20"),
        ("theirs", "train", "50"),
    ]
    assert [row["ap50"] for row in rows] == ["", "", "0.5", ""]
    assert rows[0]["grad_norm"] == "inf"
    assert float(rows[1]["loss"]) == 1.8
    with pytest.raises(OSError, match=r"a\.csv"):
        write_log_csv(tmp_path / "none" / "a.csv", logs)
