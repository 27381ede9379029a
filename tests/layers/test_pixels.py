"""Images become network input on their device; RoIAlign keeps half features half."""

from __future__ import annotations

import pytest
import torch

from halftrack.layers import normalise_and_pad, roi_align
from halftrack.precision import Precision


def test_images_are_normalised_first_and_padded_with_zeros_after() -> None:
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    batch = normalise_and_pad([image, image[:, :16, :16]], divisor=16)
    assert batch.shape == (2, 3, 32, 32)
    assert batch[0, 0, 0, 0].item() == torch.tensor(-123.675 / 58.395).item()
    assert batch[0, :, 20:].abs().sum() == batch[1, :, :, 16:].abs().sum() == 0


def test_images_without_values_leave_those_with_values_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first images of a device, as those of a new process, decide nothing for those after them.
    monkeypatch.setattr("halftrack.boxes._constants", {})
    with torch._subclasses.FakeTensorMode():
        empty = normalise_and_pad([torch.zeros(3, 16, 16)], divisor=16)
    assert isinstance(empty, torch._subclasses.FakeTensor)
    with torch.inference_mode():
        normalise_and_pad([torch.zeros(3, 16, 16)], divisor=16)
    batch = normalise_and_pad([torch.zeros(3, 16, 16)], divisor=16)
    assert type(batch) is torch.Tensor
    assert not batch.is_inference()


def test_images_of_a_scale_are_padded_to_few_sizes() -> None:
    sizes = set()
    for number in range(20):
        # As SELSA resizes images of all shapes from 6:5 to 12:5.
        shape = 1.2 + 1.2 * number / 19
        size = round(min(600, 1000 / shape)), round(min(1000, 600 * shape))
        batch = normalise_and_pad([torch.full((3, *size), 255.0)], divisor=16, few_sizes=True)
        sizes.add(tuple(batch.shape[2:]))
        assert batch[:, :, size[0] :].abs().sum() == batch[:, :, :, size[1] :].abs().sum() == 0
        assert (batch[:, :, : size[0], : size[1]] > 0).all()
    assert sizes == {(640, 768), (640, 896), (640, 1024), (512, 1024), (448, 1024)}


def test_rois_are_pooled_in_fp32_and_kept_in_half() -> None:
    features = torch.rand(1, 2, 80, 80, generator=torch.Generator().manual_seed(0))
    # 1024 px and a bit: half precision would lose the fraction.
    rois = torch.tensor([[0.0, 1024.4, 1000.3, 1200.7, 1100.2]])
    exact = roi_align(features, rois, stride=16)
    with Precision("fp16").autocast("cpu"):
        pooled = roi_align(features.half(), rois, stride=16)
    assert pooled.dtype == torch.float16
    assert (pooled.float() - exact).abs().max() < 1e-3
