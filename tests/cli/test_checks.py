"""Checks that are made before torch is loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from halftrack.cli.checks import (
    check_file,
    check_folder,
    check_least,
    check_name,
    check_new_file,
    check_output,
)


def test_what_was_left_out_passes() -> None:
    check_name("--precision", None, ("fp32",))
    check_least("--samples", None)
    check_folder("--data-root", None)
    check_file("--init", None)
    check_output(None)
    check_new_file("--out", None)


def test_a_new_folder_may_lie_several_levels_deep(tmp_path: Path) -> None:
    check_output(tmp_path / "runs/a/b")
    check_output(tmp_path)
    assert not any(tmp_path.iterdir())


def test_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FileNotFoundError, match="a file, expected a folder"):
        check_folder("--data-root", file)
    with pytest.raises(FileNotFoundError, match="a folder, expected a file"):
        check_file("--init", tmp_path)
    with pytest.raises(ValueError, match="is a file, expected a folder"):
        check_output(file / "run")
    with pytest.raises(ValueError, match="there is no folder"):
        check_new_file("--out", tmp_path / "no/plan.json")


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ValueError, match=f"no permission to write to {tmp_path}"):
        check_output(tmp_path / "run")
    with pytest.raises(ValueError, match="no permission to write"):
        check_new_file("--out", tmp_path / "plan.json")
