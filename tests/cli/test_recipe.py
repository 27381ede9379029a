"""The CPU's own bf16 is chosen beside a recipe, and refused where it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from halftrack.cli.recipe import with_native_half
from halftrack.errors import UserError
from halftrack.precision.native import NativeHalf
from halftrack.recipes import load_recipe
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training.files.checkpoint import write_checkpoint

NAME = "reid_tiny_sample"


def cpu_that(monkeypatch: pytest.MonkeyPatch, *, has: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


def test_a_recipe_keeps_all_but_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_that(monkeypatch, has=True)
    recipe = load_recipe(NAME)
    assert with_native_half(recipe, False, precision=None, device=None) is recipe
    native = with_native_half(recipe, True, precision=None, device="cpu")
    assert isinstance(native.precision, NativeHalf)
    assert native.with_precision("fp32") == recipe


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_beside_another_precision_it_is_refused(precision: str) -> None:
    with pytest.raises(UserError, match=f"leave out --precision {precision}"):
        with_native_half(load_recipe(NAME), True, precision=precision, device="cpu")


def test_a_command_tells_what_the_cpu_lacks(
    halftrack: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    cpu_that(monkeypatch, has=False)
    words = ("eval", NAME, "--data-root", tmp_path, "--native-half", "--device", "cpu")
    assert halftrack(*words) == 2
    assert "has no instructions for bf16" in capsys.readouterr().err


def test_scores_are_those_of_the_rehearsed_bf16_but_for_roundings(
    halftrack: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpu_that(monkeypatch, has=True)
    small = SyntheticVideo(layout="mot", train_videos=2, val_videos=1, frames=8)
    root = write_synthetic(tmp_path / "data", small)
    recipe = load_recipe(NAME).for_training()
    state = {"meta": {"recipe": recipe.to_dict()}}
    state["state_dict"] = recipe.without_data().build_model().state_dict()
    write_checkpoint(tmp_path / "a.pth", state)
    words = ("eval", NAME, "--data-root", root, "--checkpoint", tmp_path / "a.pth")
    scores = []
    for options, folder in ((("--native-half",), "native"), (("--precision", "bf16"), ".")):
        assert halftrack(*words, "--device", "cpu", *options) == 0
        scores.append(json.loads((tmp_path / folder / "eval.json").read_text()))
    told = [each["arithmetic"] for each in scores]
    assert told == ["bf16, the CPU's own", "bf16, rehearsed"]
    for name in ("mean_ap", "rank1"):
        assert scores[0][name] == pytest.approx(scores[1][name], abs=0.1)
