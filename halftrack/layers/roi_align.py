"""RoIAlign (He et al. 2017) with aligned corners: fp32 inside, half outside."""

from __future__ import annotations

import torchvision
from torch import Tensor

from halftrack.precision import fp32_island

__all__ = ["roi_align"]


def roi_align(
    features_bchw: Tensor, rois: Tensor, *, stride: int, size: int = 7, sampling: int = 2
) -> Tensor:
    """Features ``(n, c, size, size)`` of the rois, in the dtype of the map.

    Bilinear weights need the fraction of a coordinate, of which half precision leaves nothing
    beyond 1024 px; the result is cast back, so what is kept for the backward pass stays half.

    Args:
        features_bchw: the feature map.
        rois: fp32 ``(n, 5)``: index into the batch, then xyxy in pixels.
        stride: pixels a cell of the map.
        size: cells a side of the result.
        sampling: points a side of each of its cells.
    """
    return _pool(features_bchw, rois, stride, size, sampling).to(features_bchw.dtype)


@fp32_island
def _pool(features_bchw: Tensor, rois: Tensor, stride: int, size: int, sampling: int) -> Tensor:
    pooled: Tensor = torchvision.ops.roi_align(
        features_bchw, rois, (size, size), 1.0 / stride, sampling, True
    )
    return pooled
