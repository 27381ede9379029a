"""Max pooling of a backbone's stem, which a CPU does several times as fast channels-last."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from halftrack.layers.compilable import is_read

__all__ = ["pool_stem"]

_aten = torch.ops.aten
_WINDOW = ([3, 3], [2, 2], [1, 1])  # size, stride and padding


def pool_stem(maps_bchw: Tensor) -> Tensor:
    """The greatest value of each 3x3 window, two cells apart: a quarter of the cells."""
    last = maps_bchw.is_contiguous(memory_format=torch.channels_last)
    if last or not maps_bchw.is_cpu or is_read():
        return F.max_pool2d(maps_bchw, *_WINDOW)
    pooled: Tensor = _PoolOnCPU.apply(maps_bchw)
    return pooled


class _PoolOnCPU(torch.autograd.Function):
    # The channels-last copy goes at once: the backward pass reads the maps as they came, which the
    # ReLU before keeps anyway.
    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        last = maps.contiguous(memory_format=torch.channels_last)
        pooled, places = _aten.max_pool2d_with_indices(last, *_WINDOW)
        ctx.save_for_backward(maps, places.contiguous())
        result: Tensor = pooled.contiguous()
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        maps, places = ctx.saved_tensors
        of_maps: Tensor = _aten.max_pool2d_with_indices_backward(
            gradient, maps, *_WINDOW, [1, 1], False, places
        )
        return of_maps
