"""Dtypes that a model's modules give on a GPU and in the rehearsal: are they the same?"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from halftrack.precision import Precision, ShapesOnly
from halftrack.precision.as_cuda import autocast_on_a_gpu
from halftrack.rehearsing.planned import without_values
from halftrack.rehearsing.trained_step import Step

__all__ = ["Dtypes", "dtypes_by_module", "note_dtypes"]

Dtypes = dict[str, list[torch.dtype]]
"""Dtypes of each module's results, by path, in the order of the calls."""


def dtypes_by_module(
    step: Step, batch: Any, *, model: nn.Module, precision: Precision, device: str
) -> Dtypes:
    """The dtypes of each module's results in a forward pass.

    The pass is taken on shapes alone. On the device ``cuda`` PyTorch's own autocast decides, and no
    GPU is needed; on ``cpu`` it is rehearsed.

    Args:
        step: takes the model and a batch.
        batch: its tensors are put on the device, in lists, tuples and dicts too.
        model: on the CPU or ``meta``; it is copied.
        precision: a half precision.
        device: ``cpu`` or ``cuda``.

    Raises:
        RuntimeError: where the pass depends on values.
    """
    shapes = ShapesOnly()
    copied, _ = without_values(shapes, model, (), device=device)
    found = note_dtypes(copied)

    def moved(value: Any) -> Any:
        return shapes.forget(value).to(device) if isinstance(value, Tensor) else value

    with shapes.making(), shapes, torch.device(device):
        emptied = tree_map(moved, batch)
        on_cpu = device == "cpu"
        with precision.autocast("cpu") if on_cpu else autocast_on_a_gpu(precision.dtype):
            step(copied, emptied)
    return found


def note_dtypes(model: nn.Module) -> Dtypes:
    """The dtypes of the results of each module that is called from now on; scripted ones aside."""
    found: Dtypes = {}

    def saw(path: str, module: nn.Module, given: Any, result: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        found.setdefault(path, []).extend(tensor.dtype for tensor in tensors)

    for path, module in model.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):
            module.register_forward_hook(partial(saw, path))
    return found
