"""Depthwise cross-correlation of SiamRPN++ (Li et al. 2019): a template slid over a region."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from halftrack.layers.compilable import is_read
from halftrack.precision import fp32_island

__all__ = ["depthwise_correlation"]


# fp32, and so is what comes of it: sums of 25 to 49 products of features are infinite in fp16 once
# typical magnitudes pass 51 (5x5) or 37 (7x7).
@fp32_island
def depthwise_correlation(searches_bchw: Tensor, templates_bchw: Tensor) -> Tensor:
    """Each channel's template slid over its search region: fp32 ``(b, c, h - k + 1, w - k + 1)``.

    Args:
        searches_bchw: ``(b, c, h, w)``.
        templates_bchw: ``(b, c, k, k)``; a single one serves all search regions.
    """
    batch, channels, height, width = searches_bchw.shape
    kernels = templates_bchw.expand(batch, -1, -1, -1).reshape(
        batch * channels, 1, *templates_bchw.shape[2:]
    )
    searches = searches_bchw.reshape(1, batch * channels, height, width)
    if searches.is_cpu and not is_read():
        maps: Tensor = _SlideOnCPU.apply(searches, kernels)
    else:
        maps = F.conv2d(searches, kernels, groups=batch * channels)
    return maps.reshape(batch, channels, *maps.shape[2:])


class _SlideOnCPU(torch.autograd.Function):
    """Each channel's kernel slid over its map.

    The kernels' gradient is a correlation too, of the map with what came back; asked for as a
    gradient it takes a CPU 10 to 16 times as long.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(maps, kernels)
        return F.conv2d(maps, kernels, groups=len(kernels))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        maps, kernels = ctx.saved_tensors
        of_maps = of_kernels = None
        if ctx.needs_input_grad[0]:
            geometry = ([1, 1], [0, 0], [1, 1], False, [0, 0], len(kernels))
            of_maps, _, _ = torch.ops.aten.convolution_backward(
                gradient, maps, kernels, None, *geometry, [True, False, False]
            )
        if ctx.needs_input_grad[1]:
            slid = F.conv2d(maps, gradient.transpose(0, 1), groups=len(kernels))
            of_kernels = slid.transpose(0, 1)
        return of_maps, of_kernels
