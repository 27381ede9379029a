"""``halftrack plot`` draws logs of MMTracking beside ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

PLACE = {"mode": "train", "epoch": 1}
THEIRS = [
    PLACE | {"iter": 50, "lr": 0.01, "time": 0.5, "loss": 2.0, "grad_norm": 3.0},
    PLACE | {"iter": 100, "lr": 0.01, "time": 0.5, "loss": 1.5, "grad_norm": float("inf")},
]
OURS = [{"mode": "train", "epoch": 1, "iter": 9, "step": 9, "loss": 1.25, "loss_scale": 512.0}]


@pytest.fixture
def logs(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "ours").mkdir()
    theirs, ours = tmp_path / "theirs.log.json", tmp_path / "ours/log.jsonl"
    for path, rows in ((theirs, THEIRS), (ours, OURS)):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return theirs, ours.parent


@pytest.mark.parametrize("name", ["a.png", "a.html"])
def test_final_values_times_and_overflows_are_told(
    halftrack: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    logs: tuple[Path, Path],
    name: str,
) -> None:
    assert halftrack("plot", *logs, "--out", tmp_path / name) == 0
    told = capsys.readouterr().out
    for words in ("theirs", "ours", "1.25", "0.5", "512", "loss_scale", "s/step"):
        assert words in told
    assert "theirs: 1 lines are not finite" in told
    assert "epoch 1, iteration 100: grad_norm is inf at learning rate 0.01" in told
    assert (tmp_path / name).stat().st_size > 1000


def test_fields_are_chosen(
    halftrack: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    logs: tuple[Path, Path],
) -> None:
    out = tmp_path / "a.html"
    assert halftrack("plot", logs[0], "--keys", "loss, lr,loss", "--out", out) == 0
    assert "grad_norm " not in capsys.readouterr().out.partition("not finite")[0]
    assert out.read_text().count("<figure>") == 2
    assert halftrack("plot", logs[0], "--keys", "mAP", "--out", out) == 2
    assert (
        "--keys 'mAP': no log has it; there are lr, time, loss, grad_norm"
        in capsys.readouterr().err
    )


def test_all_lines_are_written_as_csv(
    halftrack: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    logs: tuple[Path, Path],
) -> None:
    table = tmp_path / "a.csv"
    assert halftrack("plot", *logs, "--out", tmp_path / "a.html", "--csv", table) == 0
    head, *lines = table.read_text().splitlines()
    assert head.startswith("log,mode,epoch,iter,step,lr,")
    assert [line.split(",")[0] for line in lines] == ["theirs", "theirs", "ours"]
    assert f"lines in {table}" in capsys.readouterr().out
