"""The page of a run: all of the log is on it, and it loads nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from logged import EVALUATED, META, SKIPPED, trained, write_run

from halftrack.studies.following.page import run_page
from halftrack.studies.following.run import read_run


def test_state_curves_skips_scores_and_settings_are_on_it(tmp_path: Path) -> None:
    lines = [trained(step) for step in range(2, 41)]
    page = run_page(read_run(write_run(tmp_path / "run", META, SKIPPED, *lines, EVALUATED)))
    assert "run: finished, epoch 1, step 40 of 40" in page
    assert page.count("<figure>") == 6
    assert "Skipped steps: 1" in page
    for words in (
        "head.fc",
        "backward",
        "<td>16384</td>",
        "a/000001, &lt;b&gt;",
        "training.lr",
        "fp16",
    ):
        assert words in page
    assert "Final values" in page
    assert "http-equiv" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_a_browser_loads_it_again_only_if_asked_to(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", META, trained(20), running=True))
    page = run_page(run, refresh=10)
    assert '<meta http-equiv="refresh" content="10">' in page
    assert "Latest values" in page


def test_a_run_without_lines_and_one_that_stopped_have_pages(tmp_path: Path) -> None:
    assert "<figure>" not in run_page(read_run(write_run(tmp_path / "run", META, running=True)))
    stop = {"mode": "stop", "epoch": 1, "step": 3, "loss_scale": 1.0, "culprit": None}
    page = run_page(read_run(write_run(tmp_path / "run", META, trained(2), stop)))
    assert 'class="verdict bad"' in page
    assert "<td>3</td><td>1</td><td>-</td>" in page


def test_scores_that_not_every_evaluation_has_get_a_dash(tmp_path: Path) -> None:
    other = {"mode": "val", "epoch": 2, "iter": 20, "step": 40, "mAP": 0.75}
    page = run_page(read_run(write_run(tmp_path / "run", META, EVALUATED, other)))
    assert "<td>0.5</td><td>-</td>" in page
    assert "<td>-</td><td>0.75</td>" in page
