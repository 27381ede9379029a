"""Families of errors and their exit codes; a defect keeps its traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import torch

from halftrack.data import DataError
from halftrack.errors import MissingFileError, NonFiniteOutputError, UserError
from halftrack.precision import NonFiniteGradientError, Precision
from halftrack.synthetic import SyntheticVideoError
from halftrack.training.files.run_files import UnsavedWeightsError
from halftrack.training.ranks import FirstProcessError

PLANTED = """
import sys
from halftrack.cli import data, main
def planted(*_, **__):
    {defect}
data.check_folder = planted
sys.argv = ["halftrack", "data", "check", "selsa_tiny_sample", "--data-root", "x"]
main()
"""


def ended(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("defect", "line"),
    [
        ("import torch; torch.ones(2, 3) @ torch.ones(2, 3)", "RuntimeError: mat1 and mat2"),
        ("import numpy as np; np.ones(2) + np.ones(3)", "ValueError: operands could not be"),
        ("[][0]", "IndexError"),
        ("raise OSError('without a number')", "OSError: without a number"),
    ],
)
def test_a_defect_shows_its_traceback_and_exits_1(defect: str, line: str) -> None:
    found = ended(PLANTED.format(defect=defect))
    assert found.returncode == 1
    assert "Traceback (most recent call last)" in found.stderr
    assert "in planted" in found.stderr
    assert line in found.stderr
    assert "This is a defect of halftrack: please report it" in found.stderr


def disk_full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/step_100.pth")


def wrong_precision() -> ValueError:
    with pytest.raises(ValueError, match="half") as caught:
        Precision("half")  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UserError("no"), 2, "error: no\n"),
        (MissingFileError("no checkpoint at x"), 2, "error: no checkpoint at x\n"),
        (DataError("VID/a.xml", "no box"), 2, "error: VID/a.xml: no box\n"),
        (wrong_precision(), 2, "error: precision 'half' is not one of fp32, tf32, bf16, fp16\n"),
        (SyntheticVideoError("frames=2"), 2, "error: frames=2\n"),
        (FileNotFoundError(2, "No such file", "a.txt"), 2, "error: a.txt: No such file\n"),
        (PermissionError(13, "Permission denied", "a"), 2, "error: a: Permission denied\n"),
        (FileExistsError("x is not empty"), 2, "error: x is not empty\n"),
        (disk_full(), 2, "error: run/step_100.pth: No space left on device\n"),
        (NonFiniteGradientError("fc1: NaN"), 1, "failed: fc1: NaN\n"),
        (NonFiniteOutputError("scores"), 1, "failed: scores\n"),
        (torch.OutOfMemoryError("20 GiB"), 1, "failed: 20 GiB\n"),
        (UnsavedWeightsError("full"), 4, "failed: full\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_family_is_told_in_words_with_its_exit_code(
    halftrack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    told: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("halftrack.cli.data.check_folder", fail)
    assert halftrack("data", "check", "selsa_tiny_sample", "--data-root", "x") == code
    assert capsys.readouterr().err == told


def test_what_became_of_files_is_told_beneath_the_error(
    halftrack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        error = UserError("stopped")
        error.add_note("kept: a.txt.part")
        raise error

    monkeypatch.setattr("halftrack.cli.data.check_folder", fail)
    assert halftrack("data", "check", "selsa_tiny_sample", "--data-root", "x") == 2
    assert capsys.readouterr().err == "error: stopped\nkept: a.txt.part\n"


@pytest.mark.parametrize(
    ("met", "code", "word"),
    [
        (UserError, 2, "error"),
        (NonFiniteOutputError, 1, "failed"),
        (UnsavedWeightsError, 4, "failed"),
    ],
)
def test_an_error_that_the_first_process_tells_is_told_by_no_other(
    halftrack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    met: type[Exception],
    code: int,
    word: str,
) -> None:
    waits: list[float] = []
    causes = [FirstProcessError(), None, KeyError("x")]

    def fail(*_: object, **__: object) -> None:
        raise met("no data") from causes.pop(0)

    monkeypatch.setattr("halftrack.cli.data.check_folder", fail)
    monkeypatch.setattr("halftrack.cli.exits.time.sleep", waits.append)
    for told in ("", f"{word}: no data\n", f"{word}: no data\n"):
        assert halftrack("data", "check", "selsa_tiny_sample", "--data-root", "x") == code
        assert capsys.readouterr().err == told
    assert len(waits) == 1


def test_ctrl_c_exits_130(halftrack, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("halftrack.cli.data.check_folder", stop)
    assert halftrack("data", "check", "selsa_tiny_sample", "--data-root", "x") == 130
