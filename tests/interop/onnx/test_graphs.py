"""Graphs of the four models: their names, that every free axis is tried, and that they export."""

from __future__ import annotations

import warnings

import pytest
import torch
from lively import lively
from torch import Tensor, nn

from halftrack.interop.onnx.graphs import graphs_of
from halftrack.interop.onnx.write import Positional
from halftrack.layers.folding import folded_copy
from halftrack.recipes.scoring.multi_object import TracktorParts

NAMES = {
    "faster-rcnn_tiny_sample": ["detector"],
    "selsa_tiny_sample": ["references", "frame"],
    "reid_tiny_sample": ["reid"],
    "siamese_rpn_tiny_sample": ["template", "search"],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_has_these_graphs(name: str) -> None:
    assert list(graphs_of(lively(name))) == NAMES[name]


def test_a_tracker_has_those_of_its_parts() -> None:
    parts = [lively(name) for name in ("faster-rcnn_tiny_sample", "reid_tiny_sample")]
    assert list(graphs_of(TracktorParts(*parts))) == ["detector", "reid"]
    assert list(graphs_of(TracktorParts(parts[0], None))) == ["detector"]


def test_a_model_of_another_kind_has_none() -> None:
    assert graphs_of(nn.Sequential(nn.Linear(2, 2))) == {}


@pytest.mark.parametrize("name", NAMES)
def test_the_axes_that_the_examples_change_are_those_that_are_free(name: str) -> None:
    for graph in graphs_of(lively(name)).values():
        first, other = graph.examples(0), graph.examples(1)
        changed = {
            key: tuple(
                axis for axis, size in enumerate(value.shape) if size != other[key].shape[axis]
            )
            for key, value in first.items()
        }
        assert {key: axes for key, axes in changed.items() if axes} == dict(graph.free_axes)


@torch.no_grad()
def test_a_siamese_model_s_halves_compare_as_it_does() -> None:
    model = lively("siamese_rpn_tiny_sample")
    halves = graphs_of(model)
    template = halves["template"].examples(1)
    kernels = halves["template"](template)
    search = halves["search"].examples(1)["search"]
    found = halves["search"]({"search": search, **kernels})
    expected = model.compare(model.embed(template["template"]), search)
    for one, other in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_crops_are_embedded_as_the_model_does() -> None:
    model = lively("reid_tiny_sample")
    graph = graphs_of(model)["reid"]
    crops = graph.examples(1)
    torch.testing.assert_close(graph(crops)["embeddings"], model.embed_images(crops["crops"]))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "part"), [(name, part) for name in NAMES for part in NAMES[name]])
def test_what_torch_reads_answers_for_inputs_of_other_sizes(name: str, part: str) -> None:
    """The half of an export that needs no package: onnxruntime is asked by a benchmark."""
    graph = graphs_of(folded_copy(lively(name)))[part]
    inputs, others = graph.examples(0), graph.examples(1)
    axes = tuple(
        dict.fromkeys(graph.free_axes.get(key, ()), torch.export.Dim.DYNAMIC) for key in inputs
    )
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        read = torch.export.export(
            Positional(graph).eval(), tuple(inputs.values()), dynamic_shapes=(axes,)
        ).module()
        found = read(*others.values())
    found = (found,) if isinstance(found, Tensor) else found
    for one, other in zip(found, graph(others).values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
