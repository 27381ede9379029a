"""Errors name the file, also where the system does not."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

import halftrack
from halftrack.data import DataError
from halftrack.errors import MissingFileError, UserError, naming_file
from halftrack.training.files.checkpoint import write_checkpoint


def test_a_users_error_is_a_value_error_and_a_missing_file_is_both() -> None:
    assert issubclass(UserError, ValueError)
    assert issubclass(DataError, UserError)
    assert issubclass(MissingFileError, (UserError, FileNotFoundError))
    assert issubclass(MissingFileError, FileNotFoundError)


def test_a_full_disk_is_told_with_the_file() -> None:
    named = pytest.raises(OSError, match=r"No space left on device: 'run/track\.mp4'")
    with named, naming_file("run/track.mp4"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_that_is_named_keeps_its_name() -> None:
    with pytest.raises(OSError, match=r"a\.txt") as caught, naming_file("run/track.mp4"):
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


PLAIN = {  # files that raise a plain ValueError: a defect of ours or of the program that calls them
    "data": {
        *("mot/photometric.py", "mot/sequences.py", "ordered_batches.py", "vid/videos.py"),
        *("vid/frames.py", "sot/targets.py", "sot/pairs.py"),
        *("tables/coco_records.py", "tables/coco_videos.py"),  # caught and told as problems
        *("vid/coco_vid.py", "mot/coco_json.py", "sot/coco_json.py"),
    },
    "interop": set(),
    "recipes": set(),
    "studies": {"rehearsal/islands.py"},
    "training": {"learner.py"},
    "cli": set(),
}


@pytest.mark.parametrize("room", PLAIN)
def test_what_a_user_can_mend_is_no_plain_value_error(room: str) -> None:
    folder = Path(halftrack.__file__).parent / room
    plain = {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*.py")
        if re.search(r"raise (ValueError|FileNotFoundError)\b", file.read_text(encoding="utf-8"))
    }
    assert plain <= PLAIN[room], "raise UserError or MissingFileError there, or say why not"
