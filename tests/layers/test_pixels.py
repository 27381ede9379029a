"""Images become network input on their device; RoIAlign keeps half features half."""

from __future__ import annotations

import torch

from halftrack.layers import normalise_and_pad, roi_align
from halftrack.precision import Precision


def test_images_are_normalised_first_and_padded_with_zeros_after() -> None:
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    batch = normalise_and_pad([image, image[:, :16, :16]], divisor=16)
    assert batch.shape == (2, 3, 32, 32)
    assert batch[0, 0, 0, 0].item() == torch.tensor(-123.675 / 58.395).item()
    assert batch[0, :, 20:].abs().sum() == batch[1, :, :, 16:].abs().sum() == 0


def test_rois_are_pooled_in_fp32_and_kept_in_half() -> None:
    features = torch.rand(1, 2, 80, 80, generator=torch.Generator().manual_seed(0))
    # 1024 px and a bit: half precision would lose the fraction.
    rois = torch.tensor([[0.0, 1024.4, 1000.3, 1200.7, 1100.2]])
    exact = roi_align(features, rois, stride=16)
    with Precision("fp16").autocast("cpu"):
        pooled = roi_align(features.half(), rois, stride=16)
    assert pooled.dtype == torch.float16
    assert (pooled.float() - exact).abs().max() < 1e-3
