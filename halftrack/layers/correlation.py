"""Depthwise cross-correlation of SiamRPN++ (Li et al. 2019): a template slid over a region."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

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
    maps = F.conv2d(
        searches_bchw.reshape(1, batch * channels, height, width), kernels, groups=batch * channels
    )
    return maps.reshape(batch, channels, *maps.shape[2:])
