"""The state of a run, its speed and what is left of it, as its log tells them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from logged import EVALUATED, META, SKIPPED, trained, write_run

from halftrack.studies.following.run import follow, read_run


@pytest.mark.parametrize(
    ("records", "running", "state"),
    [
        ((META,), True, "running"),
        ((META, SKIPPED, trained(20)), True, "running"),
        ((META, trained(20)), False, "ended"),
        ((META, trained(40), EVALUATED), False, "finished"),
        ((META, trained(20), {"mode": "stop", "epoch": 1, "step": 21}), False, "stopped"),
        ((META, {"mode": "data", "step": 20, "steps": 60}, trained(40)), False, "ended"),
        ((META, {"mode": "data", "step": 20, "steps": 60}, trained(60)), False, "finished"),
        ((trained(40),), False, "ended"),
    ],
)
def test_a_run_is_in_one_of_four_states(
    tmp_path: Path, records: tuple[Mapping[str, Any], ...], running: bool, state: str
) -> None:
    assert read_run(write_run(tmp_path / "run", *records, running=running)).state == state


def test_what_is_left_follows_from_the_latest_lines(tmp_path: Path) -> None:
    early = [trained(step, time=100.0) for step in range(1, 6)]
    late = [trained(step, time=2.0) for step in range(6, 16)]
    run = read_run(write_run(tmp_path / "run", META, *early, *late, running=True))
    assert (run.step, run.total, run.seconds_left()) == (15, 40, 50.0)


def test_a_skipped_step_is_counted_and_has_no_means(tmp_path: Path) -> None:
    run = read_run(
        write_run(tmp_path / "run", META, trained(20), SKIPPED | {"step": 21}, EVALUATED)
    )
    assert run.step == 21
    assert [line.step for line in run.trained] == [20]
    assert [row["step"] for row in run.skipped] == [21]
    assert [line.values for line in run.evaluated] == [{"ap50": 0.5}]
    assert list(run.panels()) == ["loss", "lr", "grad_norm", "loss_scale", "ap50", "data_share"]


def test_settings_have_their_dotted_paths(tmp_path: Path) -> None:
    settings = read_run(write_run(tmp_path / "run", META)).settings()
    assert settings["training.lr"] == "0.1"
    assert settings["precision.name"] == "fp16"
    assert settings["versions.torch"] == "2"
    assert settings["seed"] == "0"


def test_a_run_is_followed_until_it_is_over_and_its_end_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", META, running=True)
    stages = iter([(trained(20),), (trained(20), trained(40))])

    def goes_on(seconds: float) -> None:
        assert seconds == 3.0
        records = next(stages)
        write_run(folder, META, *records, running=len(records) < 2)

    seen = [(run.state, run.step) for run in follow(folder, every=3.0, sleep=goes_on)]
    assert seen == [("running", 0), ("running", 20), ("finished", 40)]


def test_a_run_that_loads_data_has_no_log_yet(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", META, running=True)
    (folder / "log.jsonl").unlink()
    run = read_run(folder)
    assert (run.state, run.step, run.total, run.name) == ("running", 0, None, "run")
    (folder / "run.lock").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no log\.jsonl"):
        read_run(folder)
