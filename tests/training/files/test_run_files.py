"""A run's files: saved while it goes on, the newest and the best kept, and no disk ends the run."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from halftrack.training import read_checkpoint
from halftrack.training.files import run_files
from halftrack.training.files.checkpoint import write_checkpoint
from halftrack.training.files.run_files import RunFiles, UnsavedWeightsError
from halftrack.training.ranks import Ranks

Make = Callable[..., RunFiles]


@pytest.fixture
def make(tiny: ModuleType, tmp_path: Path) -> Iterator[Make]:
    """Files of a run in ``tmp_path``; lines go to ``told`` of the test's keywords."""
    made: list[RunFiles] = []

    def files(**how: Any) -> RunFiles:
        given = {name: how.pop(name) for name in ("say", "sync", "ranks", "clock") if name in how}
        config = dataclasses.replace(tiny.SHORT, **how)
        made.append(RunFiles(tmp_path, config, **{"say": print} | given))
        return made[-1]

    yield files
    for each in made:
        each.close()


class Disk:
    """Stands for a disk that refuses files with an error while it has one, or one by its name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: int | None = None
        self.refused = ""
        self.wrote: list[str] = []

        def write(path: Path, state: Any) -> None:
            error = errno.ENOSPC if path.name == self.refused else self.error
            if error is not None:
                raise OSError(error, os.strerror(error), str(path))
            write_checkpoint(path, state)
            self.wrote.append(path.name)

        monkeypatch.setattr(run_files, "write_checkpoint", write)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_steps_stay_beside_the_best(tmp_path: Path, make: Make) -> None:
    files = make(keep_checkpoints=2)
    files.save_best(0.5, {"step": 1})
    for step in (1, 2, 3):
        files.save(step, lambda step=step: {"step": step})
    files.close()
    assert names(tmp_path) == ["best.pth", "step_2.pth", "step_3.pth"]
    assert files.newest == tmp_path / "step_3.pth"
    assert files.best == 0.5
    assert read_checkpoint(files.newest) == {"step": 3}


@contextmanager
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that writes nothing until it is told to."""
    go = threading.Event()

    def write(path: Path, state: Any) -> None:
        assert go.wait(60)
        write_checkpoint(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(run_files, "write_checkpoint", write)
        try:
            yield go
        finally:
            go.set()


def test_a_file_holds_what_was_there_when_it_was_begun(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make()
    weight = torch.zeros(2, 3, 4, 4, device="cpu").to(memory_format=torch.channels_last)
    groups = [{"lr": 0.1, "momentum": weight}]
    with held_up(monkeypatch) as go:
        files.save(1, lambda: {"state_dict": {"weight": weight}, "groups": groups})
        weight.fill_(7)  # the next steps, while the file is being written
        groups[0]["lr"] = 0.2
        assert files.newest is None
        assert not (tmp_path / "step_1.pth").exists()
        go.set()
        files.wait()
    found = read_checkpoint(tmp_path / "step_1.pth")
    assert torch.equal(found["state_dict"]["weight"], torch.zeros_like(weight))
    assert found["state_dict"]["weight"].stride() == weight.stride()
    assert found["groups"][0]["lr"] == 0.1
    assert torch.equal(found["groups"][0]["momentum"], torch.zeros_like(weight))


def test_only_one_file_is_written_at_a_time_and_an_old_one_stays_until_then(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make(keep_checkpoints=1)
    files.save(1, dict)
    files.wait()
    with held_up(monkeypatch) as go:
        files.save(2, dict)
        threading.Timer(0.05, go.set).start()
        assert names(tmp_path) == ["step_1.pth"]
        files.save(3, lambda: {"there": names(tmp_path)})
    files.close()
    assert read_checkpoint(tmp_path / "step_3.pth") == {"there": ["step_2.pth"]}
    assert names(tmp_path) == ["step_3.pth"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ENOENT])
def test_what_cannot_be_written_is_told_once_and_the_file_before_is_kept(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    told: list[str] = []
    disk, files = Disk(monkeypatch), make(say=told.append)
    files.save(1, dict)
    files.wait()
    disk.error = number
    for step in (2, 3):
        files.save(step, dict)
    files.save_best(0.5, {})
    files.wait()
    where = f"{os.strerror(number)[1:]} while writing {tmp_path / 'step_2.pth'}; "
    assert [where + "step_1.pth is kept" in line for line in told] == [True]
    assert (files.newest, files.best) == (tmp_path / "step_1.pth", None)
    disk.error = None
    files.save(4, dict)
    files.wait()
    assert len(told) == 2
    assert f"{tmp_path / 'step_4.pth'} is written, after: " in told[1]
    assert disk.wrote == ["step_1.pth", "best.pth", "step_4.pth"]


def test_a_best_that_fits_where_steps_do_not_starts_no_second_line(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    disk, files = Disk(monkeypatch), make(say=told.append)
    for disk.error in (errno.ENOSPC, None, errno.ENOSPC):
        if disk.error is None:
            files.save_best(0.5, {})
        else:
            files.save(1, dict)
        files.wait()
    assert len(told) == 1
    assert names(tmp_path) == ["best.pth"]


def test_a_best_that_was_refused_is_written_before_the_next_step(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, files = Disk(monkeypatch), make()
    disk.error = errno.ENOSPC
    files.save_best(0.5, {"score": 0.5})
    files.save_best(0.4, {"score": 0.4})
    files.save_best(0.6, {"score": 0.6})
    files.save(1, dict)
    files.wait()
    disk.error = None
    files.save(2, lambda: {"best": files.best})
    files.wait()
    assert disk.wrote == ["best.pth", "step_2.pth"]
    assert read_checkpoint(tmp_path / "best.pth") == {"score": 0.6}
    assert read_checkpoint(tmp_path / "step_2.pth") == {"best": 0.6}


def test_another_reason_is_told_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    disk, files = Disk(monkeypatch), make(say=told.append)
    for disk.error in (errno.ENOSPC, errno.EROFS):
        files.save(1, dict)
        files.wait()
    assert ["no space left" in told[0], "read-only" in told[1]] == [True, True]
    assert all("there is no file before it" in line for line in told)


def test_a_folder_that_vanished_is_told_and_written_to_when_it_is_back(
    tmp_path: Path, make: Make
) -> None:
    told: list[str] = []
    files = make(say=told.append)
    away = tmp_path.with_name("away")
    tmp_path.rename(away)
    files.save(1, dict)
    files.wait()
    assert "no such file or directory while writing" in told[0]
    away.rename(tmp_path)
    files.save(2, dict)
    files.wait()
    assert names(tmp_path) == ["step_2.pth"]


def test_last_weights_that_cannot_be_written_are_an_error_that_says_what_is_left(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, files = Disk(monkeypatch), make()
    disk.error = errno.ENOSPC
    with pytest.raises(UnsavedWeightsError, match=r"last step, 4.*no space left.*they are lost"):
        files.save_last(4, dict)
    disk.error = None
    files.save(5, dict)
    files.wait()
    disk.error = errno.EROFS
    with pytest.raises(UnsavedWeightsError, match=r"read-only.*step_5\.pth is kept: once"):
        files.save_last(6, dict)


def test_a_best_that_is_refused_until_the_end_is_an_error(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, files = Disk(monkeypatch), make()
    disk.refused = "best.pth"
    files.save_best(0.5, {})
    message = r"score 0\.5, .*best\.pth: no space left.*step_4\.pth has those of the last step"
    with pytest.raises(UnsavedWeightsError, match=message):
        files.save_last(4, dict)
    assert names(tmp_path) == ["step_4.pth"]
    disk.refused = ""
    files.save_last(5, dict)
    assert names(tmp_path) == ["best.pth", "step_4.pth", "step_5.pth"]


def test_the_best_is_named_where_no_step_is_left(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, files = Disk(monkeypatch), make()
    files.save_best(0.5, {})
    files.wait()
    disk.error = errno.ENOSPC
    with pytest.raises(UnsavedWeightsError, match=r"best\.pth is kept, with .* score 0\.5"):
        files.save_last(4, dict)


def test_files_that_are_gone_are_not_told_to_be_kept(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    disk, files = Disk(monkeypatch), make(say=told.append)
    files.save(1, dict)
    files.save_best(0.5, {})
    files.wait()
    for name in names(tmp_path):
        (tmp_path / name).unlink()
    disk.error = errno.ENOENT
    with pytest.raises(UnsavedWeightsError, match="no other checkpoint: they are lost"):
        files.save_last(2, dict)
    assert ["there is no file before it" in line for line in told] == [True]


def test_a_step_that_fails_is_told_after_a_best_that_failed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    disk, files = Disk(monkeypatch), make(say=told.append)
    disk.error = errno.ENOSPC
    files.save_best(0.5, {})
    for step in (1, 2):
        files.save(step, dict)
    files.save_best(0.6, {})
    files.wait()
    assert ["best.pth" in line for line in told] == [True, False]
    assert "step_1.pth" in told[1]


def test_the_end_waits_for_the_file_and_an_error_that_is_no_disks_is_raised(
    tmp_path: Path, make: Make
) -> None:
    files = make()
    files.save_last(1, dict)
    assert names(tmp_path) == ["step_1.pth"]
    files.save(2, lambda: {"no plain value": threading.Lock()})
    with pytest.raises(TypeError, match="lock"):
        files.close()
    assert names(tmp_path) == ["step_1.pth"]


def test_a_checkpoint_is_due_so_many_minutes_after_the_last_was_begun(make: Make) -> None:
    now = [100.0]
    clock = {"clock": lambda: now[0]}
    files = make(checkpoint_minutes=2.0, **clock)
    assert files.due_at == 220.0
    now[0] = 250.0
    files.save_best(0.5, {})
    assert files.due_at == 220.0
    files.save(1, dict)
    assert files.due_at == 370.0
    assert make(checkpoint_minutes=None, **clock).due_at == math.inf


def test_a_process_that_does_not_write_knows_the_file_and_tells_its_state(
    tmp_path: Path, make: Make
) -> None:
    last = tmp_path / "step_5.pth"

    class Second(Ranks):
        def first_does(self, act: Callable[[], Any]) -> Any:
            return last, 0.5  # what the first process has

    asked: list[int] = []
    files = make(ranks=Second(1, 2), checkpoint_minutes=1.0)
    assert files.due_at == math.inf  # the one that writes tells it to all
    files.save_best(0.5, {})
    files.save_last(5, lambda: asked.append(5) or {})
    (tmp_path / "step_9.pth.partial").touch()
    files.clear_partial()
    assert (files.newest, files.best) == (last, 0.5)
    assert asked == [5]
    assert names(tmp_path) == ["step_9.pth.partial"]


def test_the_log_is_on_the_disk_before_the_file_that_counts_its_bytes(
    tmp_path: Path, make: Make
) -> None:
    seen: list[list[str]] = []
    files = make(sync=lambda: seen.append(names(tmp_path)))
    files.save(1, dict)
    files.save(2, dict)
    files.wait()
    assert seen == [[], ["step_1.pth"]]


def test_what_a_killed_process_left_half_written_is_cleared(tmp_path: Path, make: Make) -> None:
    for name in ("step_9.pth.partial", "best.pth.partial", "step_8.pth", "log.jsonl"):
        (tmp_path / name).touch()
    make().clear_partial()
    assert names(tmp_path) == ["log.jsonl", "step_8.pth"]
