"""A model written as ONNX files, each of which must answer in onnxruntime as PyTorch does."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision  # noqa: F401 - the exporter knows its operations only if it is there first
from torch import Tensor, nn

from halftrack import __version__
from halftrack.errors import UserError
from halftrack.interop.onnx.compare import Difference, difference
from halftrack.interop.onnx.graphs import Graph, graphs_of
from halftrack.interop.onnx.packages import check_onnx
from halftrack.layers.folding import folded_copy
from halftrack.recipes import Recipe
from halftrack.training.files.checkpoint import whole_file

__all__ = ["Positional", "Written", "files_of", "round_weights", "write_onnx"]

_OPSET = 20


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    file: Path
    """The file."""
    apart: Difference
    """Distance of onnxruntime's answers from PyTorch's."""


def write_onnx(recipe: Recipe, model: nn.Module, out: Path, *, half: bool = False) -> list[Written]:
    """Write a file for each graph of a model, compared with PyTorch on inputs of another size.

    Args:
        recipe: what the model is of; it is kept beside the weights.
        model: with the weights; batch norms become part of the convolutions in a copy of it.
        out: the file; several graphs put their names behind its stem.
        half: keep the weights in fp16, and compute in fp32: files of half the size. PyTorch is
            compared with the same rounded weights.

    Raises:
        UserError: where a package is missing, for a model of a kind that has no graphs, for
            weights beyond fp16's range, and if onnxruntime's answers are not PyTorch's.
        OSError: if a file cannot be written.
    """
    check_onnx()
    folded = folded_copy(model).cpu()
    if half:
        round_weights(folded)
    graphs = graphs_of(folded)
    if not graphs:
        raise UserError(f"ONNX of {recipe.name} is not offered: its model is of a kind of its own")
    properties = {"halftrack_version": __version__, "recipe": json.dumps(recipe.to_dict())}
    written = []
    for file, graph in zip(files_of(out, list(graphs)), graphs.values(), strict=True):
        with whole_file(file) as partial:
            _write(graph, partial, properties, half=half)
            apart = difference(graph, partial)
            apart.check(file)
        written.append(Written(file, apart))
    return written


def files_of(out: Path, names: list[str]) -> list[Path]:
    """The file of each graph: ``out`` itself for a single one, else ``STEM-NAME.onnx``."""
    if len(names) == 1:
        return [out]
    return [out.with_name(f"{out.stem}-{name}{out.suffix}") for name in names]


def round_weights(model: nn.Module) -> None:
    """Round matrices and kernels to fp16's values, in place; biases stay as they are.

    Raises:
        UserError: if one has values beyond fp16's range.
    """
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            rounded = weight.detach().half().to(weight.dtype)
            if not rounded.isfinite().all():
                raise UserError(f"{name}: weights beyond fp16's 65504; leave out --half")
            weight.data.copy_(rounded)


class Positional(nn.Module):
    """A graph as a module of one method, as torch's exporters take it."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.part, self.method = graph.module, graph.method

    def forward(self, *inputs: Tensor) -> Any:
        """The graph's outputs for its inputs in order."""
        return getattr(self.part, self.method)(*inputs)


def _write(graph: Graph, file: Path, properties: dict[str, str], *, half: bool) -> None:
    import onnx

    inputs = graph.examples(0)
    dynamic = torch.export.Dim.DYNAMIC
    axes = [dict.fromkeys(graph.free_axes.get(name, ()), dynamic) for name in inputs]
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(
            Positional(graph).eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=(tuple(axes),),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    made = program.model_proto
    for name, value in graph.defaults.items():
        default = onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, (), [value])
        made.graph.initializer.append(default)
    if half:
        _narrow(made)
    for node in made.graph.node:
        del node.metadata_props[:]  # where in Python it comes from: two thirds of a small file
    onnx.helper.set_model_props(made, properties)
    onnx.save(made, str(file))


def _narrow(made: Any) -> None:
    """Keep what fp16 holds exactly in fp16, widened where it is read."""
    import numpy as np
    import onnx

    casts = []
    for tensor in made.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):  # a constant beyond fp16's range stays as it is
            halved = values.astype("float16")
        if (halved == values).all():
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(halved, f"{name}_fp16"))
            casts.append(
                onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
            )
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
