"""RoIAlign (He et al. 2017) with aligned corners: fp32 inside, half outside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from halftrack.boxes import area
from halftrack.layers.compilable import is_read
from halftrack.layers.roi_gradient import roi_align_on_cpu
from halftrack.precision import fp32_island
from halftrack.precision.dtypes import is_half

__all__ = ["pyramid_levels", "roi_align", "roi_align_pyramid"]

_FINEST = 56  # px: rois below twice this side are read from the finest map
_WIDE_ROIS = 512  # rois of a half map that are held in fp32 at a time


def roi_align(
    features_bchw: Tensor, rois: Tensor, *, stride: int, size: int = 7, sampling_ratio: int = 2
) -> Tensor:
    """Features ``(n, c, size, size)`` of the rois, in the dtype of the map.

    Bilinear weights need the fraction of a coordinate, of which half precision leaves nothing
    beyond 1024 px; the result is cast back, so what is kept for the backward pass stays half.
    Half maps are read for 512 rois at a time, which bounds what is held in fp32, gradients too.

    Args:
        features_bchw: the feature map.
        rois: fp32 ``(n, 5)``: index into the batch, then xyxy in pixels.
        stride: pixels per cell of the map.
        size: cells along each side of the result.
        sampling_ratio: points along each side of such a cell; 0 takes as many as it covers map
            cells.
    """
    # Host sync, on a CPU alone.
    broken = rois.is_cpu and not is_read() and not math.isfinite(rois.sum())
    return _pool(features_bchw, rois, stride, size, sampling_ratio, broken=broken)


def roi_align_pyramid(
    maps: Sequence[Tensor], rois: Tensor, *, strides: Sequence[int], size: int, sampling_ratio: int
) -> Tensor:
    """Features of rois from a pyramid: one of twice the side is read from the next coarser map.

    Args:
        maps: ``(b, c, h, w)`` each, finest first.
        rois: fp32 ``(n, 5)``: index into the batch, then xyxy in pixels.
        strides: pixels per cell of each map.
        size: cells along each side of the result.
        sampling_ratio: as in ``roi_align``.
    """
    levels = pyramid_levels(rois[:, 1:], len(maps))
    order = levels.argsort(stable=True)
    numbers = torch.arange(len(maps), device=rois.device)
    counts = (levels[:, None] == numbers).count_nonzero(dim=0)
    # Host sync, once for all maps.
    *counted, total = torch.cat([counts.to(rois), rois.sum()[None]]).tolist()
    broken = rois.is_cpu and not math.isfinite(total)
    parts, ranked, start = [], rois[order], 0
    for features, stride, count in zip(maps, strides, map(int, counted), strict=True):
        part = ranked[start : start + count]
        parts.append(_pool(features, part, stride, size, sampling_ratio, broken=broken))
        start += count
    return torch.cat(parts)[order.argsort()]


def pyramid_levels(boxes_xyxy: Tensor, maps: int) -> Tensor:
    """Number ``(n,)`` of the map, 0 the finest of ``maps``, that each box ``(n, 4)`` is read from.

    Source: mmdet 2.28, SingleRoIExtractor.map_roi_levels.
    """
    sides = area(boxes_xyxy).clamp(min=0).sqrt()
    return torch.log2(sides / _FINEST + 1e-6).floor().clamp(0, maps - 1).nan_to_num(0.0)


def _pool(
    features_bchw: Tensor,
    rois: Tensor,
    stride: int,
    size: int,
    sampling_ratio: int,
    *,
    broken: bool,
) -> Tensor:
    dtype = features_bchw.dtype
    # A traced graph takes any number of rois.
    if not is_half(features_bchw) or len(rois) <= _WIDE_ROIS or is_read():
        return _pool_wide(features_bchw, rois, stride, size, sampling_ratio, broken).to(dtype)
    wide = features_bchw.float()
    parts = [
        _pool_wide(wide, part, stride, size, sampling_ratio, broken).to(dtype)
        for part in rois.split(_WIDE_ROIS)
    ]
    return torch.cat(parts)


@fp32_island
def _pool_wide(
    features_bchw: Tensor, rois: Tensor, stride: int, size: int, sampling_ratio: int, broken: bool
) -> Tensor:
    # At a roi that is not finite the CPU kernel reads beyond the map, and the process dies; a GPU's
    # answers NaN, from which a skipped step and its culprit follow.
    if broken:
        lost = ~rois.isfinite().all(dim=1)
        rois = rois.masked_fill(lost[:, None], 0.0)
    if rois.is_cpu and not is_read():
        pooled = roi_align_on_cpu(
            features_bchw, rois, size=size, scale=1.0 / stride, sampling_ratio=sampling_ratio
        )
    else:
        import torchvision  # here, for it takes as long as torch: weights are read without it

        pooled = torchvision.ops.roi_align(
            features_bchw, rois, (size, size), 1.0 / stride, sampling_ratio, True
        )
    return pooled.masked_fill(lost[:, None, None, None], float("nan")) if broken else pooled
