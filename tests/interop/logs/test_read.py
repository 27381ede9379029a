"""Logs of MMTracking and ours give the same lines, steps and numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from fuzzing import Reader, mutated_lines, run

from halftrack.errors import UserError
from halftrack.interop.logs.read import read_log_so_far, read_training_log

EVALUATED = {"bbox_mAP_50": 0.5, "bbox_mAP_copypaste": "0.3 0.5"}


def trained(epoch: int, at: int, lr: float, time: float, **last: float) -> dict[str, object]:
    """A line of training as mmcv writes it."""
    place = {"mode": "train", "epoch": epoch, "iter": at, "lr": lr}
    return place | {"memory": 3000, "data_time": 0.1, "time": time, "loss_cls": 0.5} | last


JSON: list[dict[str, object]] = [
    {"env_info": "PyTorch: 1.7.1", "seed": None, "exp_name": "selsa.py"},
    trained(1, 50, 0.0038, 0.9, loss=1.5, grad_norm=9.0),
    trained(1, 100, 0.0042, 0.4, loss=1.25, grad_norm=math.inf),
    {"mode": "val", "epoch": 1, "iter": 317, "lr": 0.0042, **EVALUATED},
    trained(2, 50, 0.01, 0.4, loss=math.nan, grad_norm=7.0),
    {"mode": "val", "epoch": 2, "iter": 317, "lr": 0.01, "bbox_mAP_50": 0.75},
]
HEAD = "2021-02-27 14:16:30,123 - mmtrack - INFO - "
MIDDLE = "data_time: 0.100, memory: 3000, loss_cls: 0.5000"
TEXT = f"""\
{HEAD}Environment info:
PyTorch: 1.7.1
{HEAD}workflow: [('train', 1)], max: 7 epochs
{HEAD}Epoch [1][50/120]\tlr: 3.800e-03, eta: 1 day, 3:04:05, time: 0.900, {MIDDLE}, \
loss: 1.5000, grad_norm: 9.0000
{HEAD}Epoch [1][100/120]\tlr: 4.200e-03, eta: 3:04:05, time: 0.400, {MIDDLE}, \
loss: 1.2500, grad_norm: inf
{HEAD}Exp name: selsa.py
{HEAD}Epoch(val) [1][317]\tbbox_mAP_50: 0.5000, bbox_mAP_copypaste: 0.3 0.5
{HEAD}Epoch [2][50/120]\tlr: 1.000e-02, eta: 2:04:05, time: 0.400, {MIDDLE}, \
loss: nan, grad_norm: 7.0000
{HEAD}Epoch(val) [2][317]\tbbox_mAP_50: 0.7500
"""
STEP = {"mode": "train", "epoch": 2, "iter": 1, "step": 5, "lr": 0.1, "loss": 1.0}
OURS: list[dict[str, object]] = [
    {"mode": "meta", "seed": 0},
    STEP | {"grad_norm": "inf", "loss_scale": 512.0, "skipped": True},
    {"mode": "val", "epoch": 2, "iter": 4, "step": 8, "ap50": 0.25},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_json_and_text_of_mmtracking_tell_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(TEXT)
    logs = [
        read_training_log(write(tmp_path / "a.log.json", JSON)),
        read_training_log(tmp_path / "a.log"),
    ]
    for key in ("lr", "loss", "grad_norm", "loss_cls", "time", "memory"):
        values = [[value for _, value in log.points(key)] for log in logs]
        if key == "lr":  # which text leaves out of an evaluation
            values[0] = values[0][:2] + values[0][3:4]
        assert str(values[0]) == str(values[1]), key
    # The text tells the length of an epoch, 120; of the other only 100 is known.
    assert [log.points("loss")[2][0] for log in logs] == [150, 170]
    assert [log.points("bbox_mAP_50") for log in logs] == [
        [(100, 0.5), (200, 0.75)],
        [(120, 0.5), (240, 0.75)],
    ]
    assert [line.training for line in logs[0].lines] == [True, True, False, True, False]
    assert logs[0].fields()[:3] == ["lr", "memory", "data_time"]


def test_a_log_of_ours_has_its_own_steps(tmp_path: Path) -> None:
    log = read_training_log(write(tmp_path / "log.jsonl", OURS))
    assert [(line.step, line.training, line.skipped) for line in log.lines] == [
        (5, True, True),
        (8, False, False),
    ]
    assert log.points("grad_norm") == [(5, math.inf)]
    assert "skipped" not in log.fields()


def test_of_a_folder_ours_or_the_newest_of_theirs_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no log\.jsonl, \*\.log\.json or \*\.log in"):
        read_training_log(tmp_path)
    write(tmp_path / "20210101_000000.log.json", JSON[:2])
    newest = write(tmp_path / "20220101_000000.log.json", JSON)
    assert read_training_log(tmp_path).file == newest
    write(tmp_path / "log.jsonl", OURS)
    assert read_training_log(tmp_path).file.name == "log.jsonl"


def test_rates_of_several_groups_are_told_by_the_first(tmp_path: Path) -> None:
    row = {"mode": "train", "epoch": 1, "iter": 1, "lr": {"backbone": 0.1, "head": 1.0}}
    assert read_training_log(write(tmp_path / "a.json", [row])).points("lr") == [(1, 0.1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"mode": "train"\n', "a.log, line 1: not JSON"),
        ('{"mode": "val"}\n[]\n', r"a.log, line 2: expected an object, got '\[\]'"),
        ("", "no line of a training"),
        ("hello\n", "no line of a training"),
        ('{"mode": "meta"}\n', "no line of a training"),
        ("\0\xff\n", "no line of a training"),
    ],
)
def test_what_is_no_log_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.log").write_text(text, encoding="latin1")
    with pytest.raises(UserError, match=message):
        read_training_log(tmp_path / "a.log")


def read(content: bytes, folder: Path) -> None:
    (folder / "a.log").write_bytes(content)
    log = read_training_log(folder / "a.log")
    assert all(math.isfinite(line.step) for line in log.lines)


def test_mutated_logs_raise_our_errors_alone() -> None:
    for lines in ([json.dumps(row) for row in JSON], TEXT.splitlines()):
        figures = run(Reader("log", mutated_lines(lines), read), 80)
        assert figures.inputs == 80


def test_a_line_that_is_being_written_is_left_out_until_it_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", OURS)
    whole = path.read_bytes()
    lines = read_training_log(path).lines
    end = json.dumps({"mode": "val", "epoch": 3, "iter": 4, "step": 12, "ap50": 0.5}).encode()
    for length in range(1, len(end)):
        path.write_bytes(whole + end[:length])
        assert read_training_log(path).lines == lines
    path.write_bytes(whole + end + b"\n")
    assert len(read_training_log(path).lines) == len(lines) + 1
    path.write_bytes(whole + end[:20] + b"\n")
    with pytest.raises(UserError, match=r"log\.jsonl, line 4: not JSON"):
        read_training_log(path)


def test_a_run_just_begun_has_a_log_without_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", OURS[:1])
    log = read_log_so_far(path)
    assert log.lines == ()
    assert log.record("meta") == OURS[0]
    assert log.record("stop") == {}
    with pytest.raises(UserError, match="holds no line of a training"):
        read_training_log(path)
