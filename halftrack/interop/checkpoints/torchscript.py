"""A model's inference as TorchScript, which runs without Python and without halftrack.

torch 2.14 calls TorchScript deprecated; programs that have it today can be served still.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.recipes import Recipe
from halftrack.training.files.checkpoint import whole_file

__all__ = ["write_torchscript"]


@runtime_checkable
class _OnTensors(Protocol):
    """A model whose inference takes and returns tensors alone."""

    tensor_calls: Callable[[], tuple[nn.Module, Mapping[str, tuple[Tensor, ...]]]]


def write_torchscript(recipe: Recipe, model: nn.Module, out: Path) -> None:
    """Write a file for ``torch.jit.load``, with the recipe as its extra file ``recipe.json``.

    Args:
        recipe: what the model is of.
        model: with the weights; its methods keep their names.
        out: the file.

    Raises:
        ValueError: for a model that finds objects: how many there are follows from an image, and a
            trace would repeat the numbers of the image that it was made with.
        OSError: if the file cannot be written.
    """
    if not isinstance(model, _OnTensors):
        raise UserError(
            f"TorchScript of {recipe.name} is not offered: a trace repeats how many boxes its "
            "example has, and gives wrong boxes in other images. Offered are SiamRPN++ and ReID; "
            "take --format safetensors or mmtracking, and halftrack track to run it"
        )
    # That it is deprecated, and each size that is read as a number: tests hold other sizes.
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        calls, inputs = model.eval().tensor_calls()
        for name, given in inputs.items():
            getattr(calls, name)(*given)  # once, so that folded norms are constants of the trace
        traced = torch.jit.trace_module(calls, dict(inputs), check_trace=False)
        extra = {"recipe.json": json.dumps(recipe.to_dict())}
        with whole_file(out) as partial:
            torch.jit.save(traced, str(partial), _extra_files=extra)
