"""Names of ONNX files, weights rounded to fp16, and what is not offered; files: a benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from halftrack.errors import UserError
from halftrack.interop.onnx import write
from halftrack.interop.onnx.write import files_of, round_weights, write_onnx
from halftrack.recipes import load_recipe


def test_a_single_graph_has_the_file_s_own_name_and_several_have_theirs_behind_it() -> None:
    assert files_of(Path("a/b.onnx"), ["reid"]) == [Path("a/b.onnx")]
    expected = [Path("a/b-template.onnx"), Path("a/b-search.onnx")]
    assert files_of(Path("a/b.onnx"), ["template", "search"]) == expected


def test_matrices_are_rounded_to_fp16_and_biases_are_not() -> None:
    layer = nn.Linear(3, 2)
    weight, bias = (each.detach().clone() for each in (layer.weight, layer.bias))
    round_weights(layer)
    assert torch.equal(layer.weight, weight.half().float())
    assert not torch.equal(layer.weight, weight)
    assert torch.equal(layer.bias, bias)


def test_weights_beyond_fp16_are_refused() -> None:
    layer = nn.Linear(3, 2)
    layer.weight.data[0, 0] = 7e4
    with pytest.raises(UserError, match=r"weight: weights beyond fp16's 65504; leave out --half"):
        round_weights(layer)


def test_a_model_of_another_kind_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "check_onnx", lambda: None)
    recipe = load_recipe("reid_tiny_sample")
    with pytest.raises(UserError, match="ONNX of reid_tiny_sample is not offered"):
        write_onnx(recipe, nn.Identity(), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
