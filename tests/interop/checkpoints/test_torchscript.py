"""TorchScript computes what the model computes, at other sizes too; detectors have none."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from halftrack.errors import UserError
from halftrack.interop.checkpoints.torchscript import write_torchscript
from halftrack.recipes import load_recipe


def written(name: str, out: Path) -> tuple[Any, Any]:
    """A model, and its file as it is loaded again."""
    recipe: Any = load_recipe(name)
    model = recipe.without_data().build_model().eval()
    write_torchscript(recipe, model, out)
    extra = {"recipe.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        loaded = torch.jit.load(str(out), _extra_files=extra)
    assert json.loads(extra["recipe.json"])["name"] == recipe.name
    return model, loaded


@torch.no_grad()
def test_siamese_s_template_and_search_region_of_any_size(tmp_path: Path) -> None:
    model, loaded = written("siamese_rpn_tiny_sample", tmp_path / "a.pt")
    geometry = model.config.geometry
    for more in (0, 16):
        template = torch.rand(3, geometry.template_size, geometry.template_size) * 255
        search = torch.rand(3, geometry.search_size + more, geometry.search_size) * 255
        expected = model.compare(model.embed(template), search)
        found = loaded.compare(search, *loaded.embed(template))
        for one, other in zip(expected, found, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@torch.no_grad()
def test_reid_s_crops_of_any_number_and_size(tmp_path: Path) -> None:
    model, loaded = written("reid_tiny_sample", tmp_path / "a.pt")
    for count, size in ((1, model.config.crop_size), (5, (96, 160))):
        crops = torch.randn(count, 3, *size)
        torch.testing.assert_close(
            model.embed_images(crops), loaded.embed_images(crops), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize(
    "name", ["faster-rcnn_tiny_sample", "selsa_tiny_sample", "tracktor_tiny_sample"]
)
def test_of_what_finds_boxes_it_is_not_offered(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    with pytest.raises(UserError, match=f"TorchScript of {name} is not offered.*safetensors or mm"):
        write_torchscript(recipe, torch.nn.Identity(), tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())
