"""Exported weights have the reference's keys, order and dtypes, and come back unchanged."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import published, save_published
from safetensors import safe_open
from torch import nn

from halftrack.errors import UserError
from halftrack.interop.checkpoints.export import export, recipe_of, weights_file
from halftrack.recipes import Recipe, load_recipe
from halftrack.training import load_weights, read_checkpoint
from halftrack.training.files.checkpoint import write_checkpoint

GOLDEN = Path(__file__).parents[2] / "golden"
MODELS = {
    "selsa": ("selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid", "vid", 30),
    "siamrpn": ("siamese_rpn_r50_fp16_20e_lasot", "sot", 0),
    "faster_rcnn_fpn": ("faster-rcnn_r50_fpn_4e_mot17-half", "det", 1),
    "reid_r50": ("reid_r50_fp16_8x32_6e_mot17", "reid", 0),
    "tracktor": ("tracktor_faster-rcnn_r50_fpn_fp16_4e_mot17-private-half", "mot", 1),
}
TINY = "siamese_rpn_tiny_sample"


def golden_weights(entries: Any, name: str) -> dict[str, torch.Tensor]:
    """The state dict of seed 1 that the golden tests compute with."""
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "golden_recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = module.fill_state_dict(entries, 1, name)
    return {key: torch.from_numpy(np.asarray(value)) for key, value in values.items()}


def layout(weights: dict[str, torch.Tensor]) -> list[list[Any]]:
    return [
        [key, list(value.shape), str(value.dtype).removeprefix("torch.")]
        for key, value in weights.items()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_published_file_loads_whole_and_is_exported_as_the_reference_s(
    tmp_path: Path, name: str
) -> None:
    recipe_name, model_name, classes = MODELS[name]
    entries = json.loads((GOLDEN / f"{name}_state_dict.json").read_text())
    weights = golden_weights(entries, model_name)
    theirs = save_published(tmp_path / "theirs.pth", published(weights))
    recipe = load_recipe(recipe_name)
    model = recipe.load_model(theirs)  # an error if a key is missing or left over
    theirs.unlink()
    for key, value in model.state_dict().items():
        # Those that the golden tests of the models compute with: so their outputs are golden A's.
        assert torch.equal(value, weights[key]), key
    export(recipe, model, tmp_path / "ours.pth", "mmtracking")
    found = torch.load(tmp_path / "ours.pth", weights_only=True)
    (tmp_path / "ours.pth").unlink()
    assert layout(found["state_dict"]) == entries
    assert found["meta"]["mmtrack_version"] == "0.14.0"
    assert len(found["meta"].get("CLASSES", ())) == len(found["meta"].get("PALETTE", ())) == classes
    if name == "selsa":
        assert found["meta"]["CLASSES"][:2] == ("airplane", "antelope")


@pytest.fixture(scope="module")
def tiny() -> tuple[Recipe, nn.Module]:
    recipe = load_recipe(TINY)
    return recipe, recipe.build_model()


@pytest.mark.parametrize("form", ["mmtracking", "safetensors"])
def test_what_is_exported_comes_back(
    tmp_path: Path, tiny: tuple[Recipe, nn.Module], form: str
) -> None:
    recipe, model = tiny
    export(recipe, model, tmp_path / "a", form)
    again = recipe.build_model(seed=7)
    report = load_weights(again, tmp_path / "a")
    assert report.missing == report.unexpected == report.mismatched == ()
    for key, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    assert recipe_of(tmp_path / "a") == recipe_of(str(tmp_path / "a")) == recipe
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_safetensors_hold_the_recipe_as_metadata(tmp_path: Path) -> None:
    recipe = load_recipe("selsa_tiny_sample")
    export(recipe, recipe.build_model(), tmp_path / "a.safetensors", "safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        metadata = file.metadata()
    assert json.loads(metadata["recipe"])["name"] == "selsa_tiny_sample"
    assert json.loads(metadata["classes"]) == list(recipe.data.class_names)
    assert metadata["format"] == "pt"


def test_colours_differ(tmp_path: Path) -> None:
    recipe = load_recipe("selsa_tiny_sample")
    export(recipe, recipe.build_model(), tmp_path / "a.pth", "mmtracking")
    palette = read_checkpoint(tmp_path / "a.pth")["meta"]["PALETTE"]
    assert len(set(palette)) == len(palette) == len(recipe.data.class_names)
    assert all(0 <= value <= 255 for colour in palette for value in colour)


def test_of_a_run_the_best_is_taken_and_else_the_newest(tmp_path: Path) -> None:
    for name in ("step_9.pth", "step_10.pth"):
        write_checkpoint(tmp_path / name, {})
    assert weights_file(tmp_path) == tmp_path / "step_10.pth"
    write_checkpoint(tmp_path / "best.pth", {})
    assert weights_file(tmp_path) == tmp_path / "best.pth"
    assert weights_file(tmp_path / "step_9.pth") == tmp_path / "step_9.pth"
    write_checkpoint(
        tmp_path / "best.pth", {"meta": {"recipe": load_recipe("reid_tiny_sample").to_dict()}}
    )
    assert recipe_of(tmp_path) == load_recipe("reid_tiny_sample")
    with pytest.raises(FileNotFoundError, match="no run or checkpoint nowhere"):
        weights_file(Path("nowhere"))


def test_a_file_without_recipe_asks_for_its_name(tmp_path: Path) -> None:
    torch.save({"meta": {"recipe": "{"}, "state_dict": {}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth does not say its recipe: name it with --recipe"):
        recipe_of(tmp_path / "a.pth")


def test_an_unknown_format_is_told(tmp_path: Path, tiny: tuple[Recipe, nn.Module]) -> None:
    with pytest.raises(UserError, match="format 'onnx' is not one of mmtracking, safetensors"):
        export(*tiny, tmp_path / "a", "onnx")
