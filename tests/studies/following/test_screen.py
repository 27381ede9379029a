"""A run on terminals of several sizes: nothing is wider, the last of everything is there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from logged import EVALUATED, META, SKIPPED, trained, write_run
from rich.console import Console

from halftrack.studies.following.run import FollowedRun, read_run
from halftrack.studies.following.screen import (
    Screen,
    culprit_words,
    line_words,
    plain_number,
    state_words,
)


def drawn(run: FollowedRun, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(Screen(run))
    return captured.get().splitlines()


@pytest.fixture
def run(tmp_path: Path) -> FollowedRun:
    lines = [trained(step) for step in range(2, 30)]
    return read_run(write_run(tmp_path / "run", META, SKIPPED, *lines, EVALUATED, running=True))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 24)])
def test_it_fits_the_terminal_and_has_all_in_it(run: FollowedRun, width: int, height: int) -> None:
    lines = drawn(run, width, height)
    assert max(map(len, lines)) <= width
    assert width < 80 or len(lines) <= height
    screen = " ".join(" ".join(lines).split())
    for words in (
        *(
            "run: running, epoch 1, step 29 of 40",
            "about 6 s left",
            "loss scale 16384",
            "0.500 s/step",
        ),
        *("8.0 samples/s", "data 25%", "900 MB", "1 skipped", "head.fc", "ap50 0.5"),
    ):
        assert words in screen


def test_curves_are_drawn_of_what_changed(tmp_path: Path) -> None:
    def charts(*rows: dict[str, object]) -> set[str]:
        lines = drawn(read_run(write_run(tmp_path / "run", META, *rows, running=True)), 200, 50)
        return {"loss", "lr", "loss_scale", "ap50"} & {
            word for each in lines for word in _title(each)
        }

    assert charts(trained(2)) == set()
    assert charts(trained(2), trained(4), EVALUATED) == {"loss"}
    assert charts(SKIPPED, trained(2), trained(4)) == {"loss", "loss_scale"}
    assert charts(trained(2), trained(4, loss="nan"), trained(6, loss="nan")) == {"loss"}
    assert charts(trained(2, loss="nan"), trained(4, loss="nan")) == set()


def _title(line: str) -> list[str]:
    """Names of the charts that begin in a line of the screen."""
    return line.split() if line.startswith(" " * 9) else []


def test_a_large_loss_scale_has_no_exponent() -> None:
    assert plain_number(2.0**31) == "2147483648"
    assert plain_number(0.5) == "0.5"


def test_a_run_without_lines_is_shown_too(tmp_path: Path) -> None:
    lines = drawn(read_run(write_run(tmp_path / "run", META, running=True)), 80, 24)
    assert lines[0].startswith("run: running, step 0 of 40")


def test_how_a_run_ended_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    told = state_words(read_run(write_run(folder, META, trained(20))))
    assert (
        told == "run: ended, epoch 1, step 20 of 40; it was interrupted, the same command goes on"
    )
    assert state_words(read_run(write_run(folder, META, trained(40)))) == (
        "run: finished, epoch 1, step 40 of 40"
    )
    assert state_words(read_run(write_run(folder, trained(40)))) == "run: ended, epoch 1, step 40"


def test_a_log_that_stands_still_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", META, trained(20), running=True)
    assert "no line for" not in state_words(read_run(folder))
    before = time.time() - 7400
    os.utime(folder / "log.jsonl", (before, before))
    assert "no line for 2 h 3 min" in state_words(read_run(folder))


def test_a_line_of_the_log_becomes_a_line_of_text(run: FollowedRun) -> None:
    skipped, first, *_, evaluated = run.log.lines
    assert line_words(run, skipped) == (
        "step 1: skipped at loss scale 65536: backward addmm in head.fc, overflow, "
        "fits at loss scale 16384"
    )
    assert line_words(run, first) == (
        "epoch 1  step 2/40  loss 1.9800  lr 0.1  grad norm 1  loss scale 16384  1 skipped  "
        "0.500 s/step  8.0 samples/s  data 25%  900 MB"
    )
    assert line_words(run, evaluated) == "evaluation after epoch 1: ap50 0.5"


def test_a_step_without_culprit_and_the_last_of_a_stopped_run_are_told() -> None:
    stop = {"mode": "stop", "step": 9, "loss_scale": 1.0, "culprit": None}
    assert culprit_words(stop) == "step 9: stopped the run at loss scale 1, no culprit found"
