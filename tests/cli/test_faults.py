"""Runs in processes of their own: told to end with their whole group, started twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import read_checkpoint

SETTINGS = (
    "training.epochs=500", "training.milestones=()", "training.log_every=1", "training.workers=2",
    "training.evaluate_every=500", "training.checkpoint_every=1000", "data.min_crops=2",
    "data.max_crops=4", "data.identities_per_batch=2", "data.crops_per_identity=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SyntheticVideo(layout="mot", train_videos=1, val_videos=1, frames=8)
    return write_synthetic(tmp_path_factory.mktemp("videos"), settings)


def command(data_root: Path, out: Path, *more: str) -> list[str]:
    """A run that ends only when it is told to."""
    settings = [word for each in SETTINGS for word in ("--set", each)]
    where = ["--data-root", str(data_root), "--out", str(out), "--device", "cpu"]
    start = [sys.executable, "-m", "halftrack", "train", "reid_tiny_sample"]
    return [*start, *where, *settings, *more]


@contextmanager
def running(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process with a group of its own, ended with all of the group."""
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    try:
        with process.stderr:
            yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_step(out: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Return when the log tells of a later step than this."""
    log = out / "log.jsonl"
    while True:
        assert process.poll() is None, process.stderr and process.stderr.read()
        rows = log.read_text().splitlines()[:-1] if log.exists() else []
        if any(json.loads(row).get("step", 0) > step for row in rows):
            return
        time.sleep(0.05)


def test_sigterm_to_the_whole_group_saves_and_the_run_goes_on_later(
    videos: Path, tmp_path: Path
) -> None:
    out, saved = tmp_path / "run", 0
    for _ in range(2):
        with running(command(videos, out)) as process:
            wait_for_step(out, saved, process)
            os.killpg(process.pid, signal.SIGTERM)
            _, told = process.communicate(timeout=120)
        assert process.returncode == 143, told
        assert "stopped by signal 15; the same command goes on" in " ".join(told.split())
        steps = [int(file.stem.removeprefix("step_")) for file in out.glob("step_*.pth")]
        assert max(steps) > saved
        saved = max(steps)
        assert read_checkpoint(out / f"step_{saved}.pth")["position"]["steps"] == saved
        assert not list(out.glob("*.lock"))


def test_of_two_runs_in_one_folder_the_second_is_refused(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with running(command(videos, out)) as process:
        wait_for_step(out, 0, process)
        for more in ([], ["--resume", "must"]):
            second = subprocess.run(
                command(videos, out, *more), capture_output=True, text=True, check=False
            )
            assert second.returncode == 2, second.stderr
            assert f"is in use by process {process.pid}" in " ".join(second.stderr.split())
        assert process.poll() is None
