"""Checks that are made before torch is loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer

from halftrack.cli.checks import (
    check_arguments,
    check_device,
    check_file,
    check_folder,
    check_name,
    check_new_file,
    check_output,
    check_run_folder,
    number,
)
from halftrack.errors import MissingFileError, UserError


def test_what_was_left_out_passes() -> None:
    check_name("--precision", None, ("fp32",))
    check_device(None)
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
    with pytest.raises(ValueError, match=f"--out .*: no permission to write to {tmp_path}"):
        check_run_folder(tmp_path)
    (tmp_path / "step_3.pth").touch()
    assert check_run_folder(tmp_path)  # it may be finished


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["train", "r", "--out", ""], "behind '--out'"),
        (["train", "r", "--out", " "], "behind '--out'"),
        (["train", "r", "--out="], "--out="),
        ([""], "behind 'halftrack'"),
    ],
)
def test_an_empty_argument_is_refused_with_its_place(arguments: list[str], place: str) -> None:
    with pytest.raises(UserError, match=f"an argument is empty, .*{place}"):
        check_arguments(arguments)
    check_arguments(["train", "r", "--set", "data.test_json="])


@pytest.mark.parametrize("text", ["0", "101", "1.5", "ten", "nan", "9" * 5000])
def test_a_number_that_is_none_or_out_of_bounds_is_quoted_with_them(text: str) -> None:
    assert number(int, 1, 100)("7") == 7
    with pytest.raises(typer.BadParameter, match=r"'.*: expected a whole number at least 1, at"):
        number(int, 1, 100)(text)


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "one"])
def test_points_are_finite(text: str) -> None:
    assert number(float, 0.001, 100)("0.5") == 0.5
    with pytest.raises(typer.BadParameter, match=r"expected a number at least 0\.001, at most 100"):
        number(float, 0.001, 100)(text)


@pytest.mark.parametrize(
    "name", ["CPU", "cuda:", "cuda:x", "cuda:-1", "gpu 0", "cuda:99999", "toaster", "cud\u00e1"]
)
def test_a_name_that_no_device_has_is_refused(name: str) -> None:
    check_device("cuda:1")
    with pytest.raises(UserError, match=r"--device '.*': expected cpu, cuda, cuda:1"):
        check_device(name)


def test_a_name_too_long_for_a_file_is_told_with_its_option_and_cut() -> None:
    name = Path("x" * 5000)
    for option, check in (("--init", check_file), ("--out", check_new_file)):
        with pytest.raises(UserError, match=rf"{option} xxx.*5000 characters.*too long") as caught:
            check(option, name)
        assert len(str(caught.value)) < 400
    with pytest.raises(UserError, match=r"--out xxx.*too long"):
        check_output(name)


def test_a_device_or_pipe_is_no_file() -> None:
    with pytest.raises(MissingFileError, match="--init /dev/null: a device or pipe, expected"):
        check_file("--init", "/dev/null")
