"""A run's folder belongs to one process, and a crash leaves no lock behind."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from halftrack.errors import UserError
from halftrack.training.files.run_folder import is_in_use, keep_folder, own_folder, try_to_own

HOLDER = """
import os, sys, time
from pathlib import Path
from halftrack.training.files.run_folder import own_folder
with own_folder(Path(sys.argv[1])):
    child = os.fork() if sys.argv[2] == "fork" else -1
    # A worker tells its own number, when it has closed its copy of the lock.
    if child <= 0:
        print(os.getpid() if child == 0 else child, flush=True)
    time.sleep(60)
"""


def holder(out: Path, how: str = "") -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-c", HOLDER, str(out), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as answer:
        return process, int(answer.readline())


def test_a_folder_in_use_is_refused_and_its_user_named(tmp_path: Path) -> None:
    process, _ = holder(tmp_path / "run")
    try:
        refused = pytest.raises(
            ValueError, match=rf"run is in use by process {process.pid} on \S+: wait"
        )
        with refused, own_folder(tmp_path / "run"):
            pass
    finally:
        process.kill()
        process.wait()
    with own_folder(tmp_path / "run"):
        pass


def test_a_process_killed_with_live_workers_leaves_no_lock(tmp_path: Path) -> None:
    process, worker = holder(tmp_path / "run", "fork")
    process.kill()
    process.wait()
    try:
        with own_folder(tmp_path / "run"):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_folder_made_for_nothing_goes_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), own_folder(tmp_path / "runs/a"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_followed_to_a_folder_and_refused_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with own_folder(tmp_path / "link"), pytest.raises(ValueError, match="is in use by process"):
        own_folder(tmp_path / "real").__enter__()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="nowhere is a link to nowhere: choose"):
        own_folder(tmp_path / "nowhere").__enter__()


def test_a_folder_that_cannot_be_written_to_is_told_and_refused_where_it_holds_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, *_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    held = tmp_path / "held"
    held.mkdir()
    (held / "step_3.pth").touch()
    monkeypatch.setattr(os, "open", read_only)
    with ExitStack() as stack:
        with pytest.raises(OSError, match=r"Read-only.*run\.lock"):
            try_to_own(tmp_path, until=stack)
        refused = try_to_own(held, until=stack)
    assert refused is not None
    assert refused.errno == errno.EROFS


def test_what_was_written_stays_without_the_lock(tmp_path: Path) -> None:
    with own_folder(tmp_path / "run"):
        (tmp_path / "run/log.jsonl").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["log.jsonl"]


def test_a_lock_file_that_was_left_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text("process 1 on a machine that lost its power")
    with own_folder(tmp_path):
        assert str(os.getpid()) in (tmp_path / "run.lock").read_text()


def test_a_folder_is_in_use_until_its_process_ends_however_it_ends(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert not is_in_use(out)
    with own_folder(out):
        assert is_in_use(out)
    assert not is_in_use(out)
    process, _ = holder(out)
    assert is_in_use(out)
    process.kill()
    process.wait()
    assert (out / "run.lock").exists()
    assert not is_in_use(out)


def test_a_process_that_has_the_number_of_one_that_ended_uses_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with own_folder(tmp_path):
        told = lock.read_text()
    holder, start = told.split("\n")
    lock.write_text(told)
    assert is_in_use(tmp_path)
    lock.write_text(f"{holder}\n{int(start) - 1}")
    assert not is_in_use(tmp_path)
    lock.write_text(holder)  # an earlier version's
    assert is_in_use(tmp_path)


def test_a_process_of_another_machine_is_believed(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text("process 1 on a machine elsewhere")
    assert is_in_use(tmp_path)
    (tmp_path / "run.lock").write_text("process 1 on elsewhere")
    assert is_in_use(tmp_path)


def test_a_folder_that_another_process_took_meanwhile_is_its_own(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with own_folder(out):
        shutil.rmtree(out)
        process, _ = holder(out)
        try:
            with pytest.raises(ValueError, match=rf"run is in use by process {process.pid} on "):
                keep_folder(out)
        finally:
            process.kill()
            process.wait()
        words = (out / "run.lock").read_text()
    assert (out / "run.lock").read_text() == words


def test_a_lock_that_went_with_its_folder_is_taken_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with own_folder(out):
        shutil.rmtree(out)
        with pytest.raises(FileNotFoundError):
            keep_folder(out)
        out.mkdir()
        keep_folder(out)
        with pytest.raises(ValueError, match=f"in use by process {os.getpid()} "), own_folder(out):
            pass
    assert not (out / "run.lock").exists()


def test_a_folder_that_is_not_owned_is_left_alone(tmp_path: Path) -> None:
    keep_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
