"""A run's files: the newest steps and the best stay, and a disk that is full loses none."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from halftrack.training import read_checkpoint
from halftrack.training.run_files import RunFiles


def full_disk() -> dict[str, object]:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_newest_steps_stay_beside_the_best(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, keep=2, say=print)
    assert files.save_best(lambda: {"step": 1})
    for step in (1, 2, 3):
        files.save(step, lambda step=step: {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.pth",
        "step_2.pth",
        "step_3.pth",
    ]
    assert files.newest == tmp_path / "step_3.pth"
    assert read_checkpoint(files.newest) == {"step": 3}


def test_a_full_disk_is_told_and_the_file_before_is_kept(tmp_path: Path) -> None:
    told: list[str] = []
    files = RunFiles(tmp_path, keep=2, say=told.append)
    files.save(1, full_disk)
    assert files.newest is None
    assert "there is no file before it" in told[0]
    files.save(2, lambda: {"step": 2})
    files.save(3, full_disk, last=True)
    assert "step_2.pth is kept" in told[1]
    assert files.newest == tmp_path / "step_2.pth"
    assert not files.save_best(full_disk)


def test_an_end_without_any_file_is_an_error(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, keep=2, say=print)
    with pytest.raises(ValueError, match=r"step_4.pth could not be written, and no other"):
        files.save(4, full_disk, last=True)


def test_a_process_that_does_not_write_knows_the_file_and_tells_its_state(tmp_path: Path) -> None:
    asked: list[int] = []
    files = RunFiles(tmp_path, keep=2, say=print, writes=False)
    files.save(5, lambda: asked.append(5) or {})
    assert files.save_best(dict)
    assert files.newest == tmp_path / "step_5.pth"
    assert asked == [5]
    assert not list(tmp_path.iterdir())
