"""The gradient of RoIAlign on a CPU, as one sparse product over the cells that each bin reads.

torchvision's loop visits every channel of every sample alone, and takes 7 to 14 times as long; its
rule of samples and weights is followed here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["roi_align_on_cpu"]


def roi_align_on_cpu(
    features_bchw: Tensor, rois: Tensor, *, size: int, scale: float, sampling_ratio: int
) -> Tensor:
    """Pool rois as torchvision does, ``(n, c, size, size)``, with a gradient of our own.

    Args:
        features_bchw: fp32, on a CPU.
        rois: fp32 ``(n, 5)``: index into the batch, then xyxy; finite.
        size: bins along each side of the result.
        scale: cells of the map per pixel.
        sampling_ratio: samples along each side of a bin; 0 takes as many as it covers map cells.
    """
    pooled: Tensor = _RoIAlign.apply(features_bchw, rois, size, scale, sampling_ratio)
    return pooled


class _RoIAlign(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, rois: Tensor, size: int, scale: float, sampling_ratio: int
    ) -> Tensor:
        import torchvision  # here, for it takes as long as torch: weights are read without it

        ctx.save_for_backward(rois)
        ctx.of = (list(features.shape), scale, sampling_ratio)
        return torchvision.ops.roi_align(  # type: ignore[no-any-return]
            features, rois, (size, size), scale, sampling_ratio, True
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        (rois,) = ctx.saved_tensors
        return _gradient(gradient, rois, *ctx.of), None, None, None, None


# An op of its own: counters and culprits see one kernel, as on a GPU, and not a dozen small ones.
@torch.library.custom_op("halftrack::roi_align_gradient", mutates_args=())
def _gradient(
    gradient: Tensor, rois: Tensor, shape: list[int], scale: float, sampling_ratio: int
) -> Tensor:
    batch, channels, height, width = shape
    count, _, *bins = gradient.shape
    if not count:
        return gradient.new_zeros(shape)
    low, high = (rois[:, 1:] * scale - 0.5).split(2, dim=1)
    sides = high - low
    columns, across = _read(low[:, 0], sides[:, 0], bins[1], sampling_ratio, width)
    rows, down = _read(low[:, 1], sides[:, 1], bins[0], sampling_ratio, height)
    roi, bin_, place = down.nonzero(as_tuple=True)
    weights = down[roi, bin_, place][:, None, None] * across[roi]
    lines = (rois[roi, 0].long() * height + rows[roi, bin_, place]) * width
    cells = lines[:, None, None] + columns[roi]
    first = ((roi * bins[0] + bin_) * bins[1])[:, None, None]
    of_bins = (first + torch.arange(bins[1])[:, None]).expand_as(cells)
    read = weights.flatten().nonzero()[:, 0]
    matrix = torch.sparse_coo_tensor(
        torch.stack([cells.flatten()[read], of_bins.flatten()[read]]),
        weights.flatten()[read],
        (batch * height * width, count * bins[0] * bins[1]),
        check_invariants=False,
    )
    by_bin = gradient.permute(0, 2, 3, 1).reshape(-1, channels)
    by_cell = torch.sparse.mm(matrix, by_bin).view(batch, height, width, channels)
    channels_first: Tensor = by_cell.permute(0, 3, 1, 2).contiguous()
    return channels_first


@_gradient.register_fake
def _(
    gradient: Tensor, rois: Tensor, shape: list[int], scale: float, sampling_ratio: int
) -> Tensor:
    return gradient.new_empty(shape)


def _read(
    low: Tensor, sides: Tensor, bins: int, sampling_ratio: int, length: int
) -> tuple[Tensor, Tensor]:
    """Cells ``(n, bins, k)`` that the bins of rois read along one axis, and their weights.

    Args:
        low: ``(n,)`` where the rois begin, in cells.
        sides: ``(n,)`` of the rois, in cells.
        bins: along the axis.
        sampling_ratio: samples in a bin; 0 takes as many as it covers cells.
        length: cells of the map.
    """
    extent = (sides / bins)[:, None]
    count = torch.full_like(extent, sampling_ratio) if sampling_ratio else extent.ceil()
    shared = count.clamp(min=1)
    sample = torch.arange(int(shared.max()))
    starts = low[:, None] + torch.arange(bins) * extent
    points = starts[..., None] + ((sample + 0.5) * extent / shared)[:, None]
    seen = (sample < count)[:, None] & (points >= -1) & (points <= length)
    points.clamp_(0, length - 1)
    reach = torch.arange(int(extent.abs().max().ceil()) + 2)
    near = points.amin(dim=2, keepdim=True).floor() + reach
    # A sample between two cells is read from both, the more of the nearer one.
    shares = (1 - (points[..., None] - near[:, :, None]).abs()).clamp_(min=0)
    weights = shares.masked_fill_(~seen[..., None], 0.0).sum(dim=2) / shared[..., None]
    return near.clamp_(max=length - 1).long(), weights
