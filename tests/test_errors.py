"""Errors name the file, also where the system does not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from halftrack.data import DataError
from halftrack.errors import MissingFileError, UserError, naming_file
from halftrack.training.checkpoint import write_checkpoint


def test_a_users_error_is_a_value_error_and_a_missing_file_is_both() -> None:
    assert issubclass(UserError, ValueError)
    assert issubclass(DataError, UserError)
    assert issubclass(MissingFileError, (UserError, FileNotFoundError))
    assert issubclass(MissingFileError, FileNotFoundError)


def test_a_full_disk_is_told_with_the_file() -> None:
    named = pytest.raises(OSError, match=r"No space left on device: 'run/log\.jsonl'")
    with named, naming_file("run/log.jsonl"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_that_is_named_keeps_its_name() -> None:
    with pytest.raises(OSError, match=r"a\.txt") as caught, naming_file("run/log.jsonl"):
        raise FileNotFoundError(errno.ENOENT, "No such file", "a.txt")
    assert caught.value.filename == "a.txt"


def test_a_checkpoint_that_does_not_fit_the_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"step_1\.pth"):
        write_checkpoint(tmp_path / "step_1.pth", {})
