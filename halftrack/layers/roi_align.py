"""RoIAlign (He et al. 2017) with aligned corners: fp32 inside, half outside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor

from halftrack.boxes import area
from halftrack.precision import fp32_island

__all__ = ["roi_align", "roi_align_pyramid"]

_FINEST = 56  # px: rois below twice this side are read from the finest map


def roi_align(
    features_bchw: Tensor, rois: Tensor, *, stride: int, size: int = 7, sampling_ratio: int = 2
) -> Tensor:
    """Features ``(n, c, size, size)`` of the rois, in the dtype of the map.

    Bilinear weights need the fraction of a coordinate, of which half precision leaves nothing
    beyond 1024 px; the result is cast back, so what is kept for the backward pass stays half.

    Args:
        features_bchw: the feature map.
        rois: fp32 ``(n, 5)``: index into the batch, then xyxy in pixels.
        stride: pixels per cell of the map.
        size: cells along each side of the result.
        sampling_ratio: points along each side of such a cell; 0 takes as many as it covers map
            cells.
    """
    return _pool(features_bchw, rois, stride, size, sampling_ratio).to(features_bchw.dtype)


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

    Source: mmdet 2.28, SingleRoIExtractor.map_roi_levels.
    """
    sides = area(rois[:, 1:]).clamp(min=0).sqrt()
    levels = torch.log2(sides / _FINEST + 1e-6).floor().clamp(0, len(maps) - 1).nan_to_num(0.0)
    parts, places = [], []
    for level, (features, stride) in enumerate(zip(maps, strides, strict=True)):
        rows = torch.nonzero(levels == level).flatten()
        places.append(rows)
        parts.append(
            roi_align(features, rois[rows], stride=stride, size=size, sampling_ratio=sampling_ratio)
        )
    return torch.cat(parts)[torch.cat(places).argsort()]


@fp32_island
def _pool(
    features_bchw: Tensor, rois: Tensor, stride: int, size: int, sampling_ratio: int
) -> Tensor:
    # At a roi that is not finite the CPU kernel reads beyond the map, and the process dies; a GPU's
    # answers NaN, from which a skipped step and its culprit follow.
    if rois.is_cpu and not math.isfinite(rois.sum()):
        broken = ~rois.isfinite().all(dim=1)
        whole = _pool(
            features_bchw, rois.masked_fill(broken[:, None], 0.0), stride, size, sampling_ratio
        )
        return whole.masked_fill(broken[:, None, None, None], float("nan"))
    pooled: Tensor = torchvision.ops.roi_align(
        features_bchw, rois, (size, size), 1.0 / stride, sampling_ratio, True
    )
    return pooled
