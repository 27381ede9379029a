"""A run that goes on: a mistyped folder of data is told at once, a finished run asks for none."""

from __future__ import annotations

from pathlib import Path

import pytest
from logged import META, trained, write_run

TINY = "selsa_tiny_sample"
STEPS = META["steps"]


def held(out: Path, step: int) -> Path:
    """A folder whose log tells of a run at that step, and whose checkpoint is torn."""
    (write_run(out, META, trained(step)) / "step_1.pth").write_bytes(b"PK")
    return out


@pytest.mark.parametrize("more", [(), ("--classes", "from-data"), ("--classes", "van")])
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_mistyped_folder_of_data_is_told_before_the_checkpoint_and_the_classes(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], *, goes_on
) -> None:
    out = held(tmp_path / "run", STEPS // 2) if goes_on else tmp_path / "new"
    asked = ("train", TINY, "--init", "none", "--out", out, "--data-root", tmp_path / "typo", *more)
    assert halftrack(*asked) == 2
    assert f"--data-root {tmp_path / 'typo'}: there is no such folder" in capsys.readouterr().err


def test_a_folder_without_the_data_of_a_run_that_goes_on_is_told_before_the_checkpoint(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = held(tmp_path / "run", STEPS // 2)
    assert halftrack("train", TINY, "--out", out, "--data-root", tmp_path) == 2
    assert "no ImageNet here" in capsys.readouterr().err


@pytest.mark.parametrize("log", ["finished", "none", "broken"])
def test_the_checkpoint_decides_where_the_log_tells_of_no_step_that_is_left(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str], log: str
) -> None:
    out = held(tmp_path / "run", STEPS)
    if log == "none":
        (out / "log.jsonl").unlink()
    elif log == "broken":
        (out / "log.jsonl").write_text("{\n{\n")
    assert halftrack("train", TINY, "--out", out, "--data-root", tmp_path / "typo") == 2
    assert "nothing to resume: no intact step_*.pth" in capsys.readouterr().err
