"""One command in several processes: torchrun's command line, and who speaks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from halftrack.cli.processes import command, own_rank, start_processes
from halftrack.errors import UserError
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import read_log
from halftrack.training.files.checkpoint import newest_checkpoint


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("given", [["--gpus", "4"], ["--gpus=4"]])
def test_torchrun_gets_the_same_arguments_without_the_gpus(given: list[str]) -> None:
    words = command(4, ["train", "selsa", *given, "--set", "training.accumulate=8"])
    assert words[0] == sys.executable
    assert words[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    rest = ["-m", "halftrack", "train", "selsa", "--set", "training.accumulate=8"]
    assert words[5:] == rest
    again = command(4, ["train", "selsa", *given, "--max-restarts", "3", *rest[4:]], restarts=3)
    assert again == [*words[:5], "--max-restarts=3", *words[5:]]


def test_processes_take_the_place_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(sys, "argv", ["halftrack", "train", "selsa", "--gpus", "2"])
    for gpus in (None, 1, 2):
        start_processes(gpus, None)
    start_processes(1, None, restarts=2)
    assert started == [command(2, ["train", "selsa"]), command(1, ["train", "selsa"], restarts=2)]


@pytest.mark.parametrize(
    ("gpus", "device", "inside", "message"),
    [
        (3, None, False, r"--gpus 3: this machine has 2. .* torchrun --nproc-per-node 3 -m halft"),
        (2, "cpu", False, "--gpus 2 with --device cpu: leave one of them out"),
        (2, None, True, "--gpus 2 in a process of torchrun, which says how many: leave it out"),
        (1, None, True, "--gpus 1 in a process of torchrun, which says how many: leave it out"),
    ],
)
def test_processes_that_cannot_be_are_refused(
    monkeypatch: pytest.MonkeyPatch, gpus: int, device: str | None, inside: bool, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if inside:
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "1")
    with pytest.raises(UserError, match=message):
        start_processes(gpus, device)


def test_restarts_of_no_processes_are_refused() -> None:
    with pytest.raises(UserError, match="--max-restarts 3 is for the processes that --gpus starts"):
        start_processes(None, None, restarts=3)


def test_a_process_knows_its_number_among_several(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_rank() is None
    monkeypatch.setenv("RANK", "1")
    assert own_rank() is None
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert own_rank() is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert own_rank() == 1


def test_one_process_alone_tracks_a_video(
    halftrack: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("track", tmp_path, "--recipe", "tracktor_tiny_sample", "--out", tmp_path / "out")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, code in ((0, 2), (1, 0)):  # a folder without images
        monkeypatch.setenv("RANK", str(rank))
        assert halftrack(*words) == code
    assert not (tmp_path / "out").exists()


def torchrun(processes: int, *words: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    how = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    how.append(f"--max-restarts={restarts}")
    start = [sys.executable, *(how if processes > 1 else ()), "-m", "halftrack", *words]
    return subprocess.run(
        start,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_torchrun_trains_and_scores_as_one_process_does(tmp_path: Path) -> None:
    settings = SyntheticVideo(layout="mot", train_videos=2, val_videos=2, frames=8)
    data = ("--data-root", str(write_synthetic(tmp_path / "data", settings)))
    fields = ("training.accumulate=2", "training.epochs=1", "training.log_every=1")
    sets = tuple(word for field in fields for word in ("--set", field))
    name, scores = "faster-rcnn_tiny_sample", []
    for processes in (1, 2):
        out = tmp_path / f"run{processes}"
        trained = torchrun(processes, "train", name, *data, "--out", str(out), *sets)
        assert trained.returncode == 0, trained.stderr
        assert trained.stdout.count("results in") == 1
        best = ("--checkpoint", str(tmp_path / "run1/best.pth"), "--out", str(out / "scores"))
        scored = torchrun(processes, "eval", name, *data, *best)
        assert scored.returncode == 0, scored.stderr
        assert scored.stdout.count("AP50 by class") == 1
        scores.append((out / "scores/eval.json").read_bytes())
    assert scores[0] == scores[1]
    losses = [
        [row["loss"] for row in read_log(tmp_path / f"run{n}/log.jsonl") if "loss" in row]
        for n in (1, 2)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.slow
def test_a_run_whose_processes_are_killed_goes_on_by_itself_to_the_same_weights(
    tmp_path: Path,
) -> None:
    settings = SyntheticVideo(layout="mot", train_videos=2, val_videos=1, frames=8)
    data = ("--data-root", str(write_synthetic(tmp_path / "data", settings)))
    fields = ("accumulate=2", "epochs=2", "log_every=1", "checkpoint_every=1", "milestones=()")
    sets = [word for field in fields for word in ("--set", f"training.{field}")]
    words = ("train", "faster-rcnn_tiny_sample", *data, *sets, "--device", "cpu")
    whole, out = tmp_path / "whole", tmp_path / "killed"
    undisturbed = torchrun(2, *words, "--out", str(whole))
    assert undisturbed.returncode == 0, undisturbed.stderr
    victims = {1: 0, 5: 1}  # by the step after which they are killed
    with ThreadPoolExecutor() as threads:
        run = threads.submit(torchrun, 2, *words, "--out", str(out), restarts=len(victims))
        for step, rank in victims.items():
            while not run.done() and not (out / f"step_{step}.pth").exists():
                time.sleep(0.05)
            os.kill(process_of(rank, str(out)), signal.SIGKILL)
    told = run.result().stderr
    assert run.result().returncode == 0, told
    assert told.count("resumed from") == 2
    assert told.count("another of 2 processes has ended") >= 1
    ends = [newest_checkpoint(folder)[1] for folder in (whole, out)]
    assert ends[0]["position"]["steps"] == ends[1]["position"]["steps"]
    weights = [end["state_dict"] for end in ends]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not list(out.glob("*.lock"))


def process_of(rank: int, word: str) -> int:
    """The number of the process of this rank whose command line has this word."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (folder / "environ").read_bytes().split(b"\0")
            if f"RANK={rank}".encode() in told and word.encode() in (
                folder / "cmdline"
            ).read_bytes().split(b"\0"):
                return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.slow
def test_a_mistake_in_several_processes_is_told_by_the_first(tmp_path: Path) -> None:
    settings = SyntheticVideo(train_videos=1, val_videos=1, frames=8)
    data = ("--data-root", str(write_synthetic(tmp_path / "data", settings)))
    told = torchrun(2, "train", "selsa_tiny_sample", *data, "--out", str(tmp_path / "out")).stderr
    assert re.search(r"rank 0: error: training.accumulate=1: 2 processes cannot share", told)
    assert told.count("error: training.accumulate") == 1
