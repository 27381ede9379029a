"""``halftrack export`` and ``halftrack publish``, of a run's folder and of a tracker's parts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from halftrack.recipes import load_recipe
from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import write_checkpoint

DETECTOR, REID = "faster-rcnn_tiny_sample", "reid_tiny_sample"


def trained(folder: Path, name: str) -> Path:
    """The folder of a run that never trained."""
    recipe = load_recipe(name).for_training()
    folder.mkdir()
    meta = {"recipe": recipe.to_dict(), "seed": 0}
    weights = recipe.without_data().build_model().state_dict()
    write_checkpoint(folder / "best.pth", {"meta": meta, "state_dict": weights})
    return folder


@pytest.mark.parametrize(
    ("form", "ending"), [("mmtracking", "pth"), ("safetensors", "safetensors")]
)
def test_a_run_is_exported_under_its_recipe_s_name(
    halftrack: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    form: str,
    ending: str,
) -> None:
    run = trained(tmp_path / "run", DETECTOR)
    monkeypatch.chdir(tmp_path)
    assert halftrack("export", run, "--format", form) == 0
    assert f"best.pth as {form} in {DETECTOR}.{ending}" in capsys.readouterr().out
    again = halftrack("export", f"{DETECTOR}.{ending}", "--out", tmp_path / "again.pth")
    assert again == 0
    assert list(read_checkpoint(tmp_path / "again.pth")["state_dict"]) == list(
        read_checkpoint(run / "best.pth")["state_dict"]
    )


def test_a_tracker_s_parts_become_one_file(halftrack: Callable[..., int], tmp_path: Path) -> None:
    parts = [trained(tmp_path / name, name) / "best.pth" for name in (DETECTOR, REID)]
    out = tmp_path / "tracker.pth"
    arguments = ("--recipe", "tracktor_tiny_sample", "--detector", parts[0], "--reid", parts[1])
    assert halftrack("export", *arguments, "--out", out) == 0
    names = list(read_checkpoint(out)["state_dict"])
    assert {name.partition(".")[0] for name in names} == {"detector", "reid"}
    assert halftrack("export", parts[0], *arguments, "--out", out) == 2


@pytest.mark.parametrize("form", ["mmtracking", "safetensors", "torchscript"])
def test_fp16_weights_are_onnx_s_alone(
    halftrack: Callable[..., int], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    assert halftrack("export", "runs/a", "--format", form, "--half") == 2
    assert f"--half goes with --format onnx, not with {form}" in capsys.readouterr().err


def test_onnx_asks_for_its_packages_before_a_model_is_loaded(
    halftrack: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    run = trained(tmp_path / "run", REID)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    assert halftrack("export", run, "--format", "onnx") == 2
    assert "pip install halftrack[onnx]" in capsys.readouterr().err


def test_a_checkpoint_is_published(
    halftrack: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = trained(tmp_path / "run", DETECTOR)
    assert halftrack("publish", run / "best.pth") == 0
    (found,) = run.glob(f"{DETECTOR}-*.pth")
    assert f"published as {found}" in capsys.readouterr().out
