"""RoIAlign where a roi is no box."""

from __future__ import annotations

import pytest
import torch

from halftrack.layers import roi_align, roi_align_pyramid
from halftrack.precision import LiveBytes


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_a_roi_that_is_not_finite_gives_nan_and_harms_no_other(
    value: float, sampling_ratio: int
) -> None:
    features = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[0.0, 8.0, 8.0, 90.0, 70.0], [0.0, 4.0, value, 60.0, 50.0]])
    alone = roi_align(features, rois[:1], stride=8, sampling_ratio=sampling_ratio)
    both = roi_align(features.requires_grad_(), rois, stride=8, sampling_ratio=sampling_ratio)
    assert torch.equal(both[:1], alone)
    assert both[1].isnan().all()
    both[0].sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_a_roi_that_is_not_finite_keeps_its_row_in_a_pyramid() -> None:
    maps = [torch.rand(1, 3, 32 // 2**k, 32 // 2**k) for k in range(2)]
    rois = torch.tensor(
        [[0.0, float("nan"), 8.0, 60.0, 50.0], [0.0, 0.0, 0.0, 120.0, 120.0], [0.0, 4, 4, 20, 20]]
    )
    pooled = roi_align_pyramid(maps, rois, strides=(4, 8), size=7, sampling_ratio=0)
    assert pooled.isnan().flatten(1).all(dim=1).tolist() == [True, False, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_many_rois_of_a_half_map_are_read_as_alone_and_few_are_held_in_fp32(
    dtype: torch.dtype,
) -> None:
    source = torch.Generator().manual_seed(0)
    features = torch.rand(2, 8, 12, 16, generator=source).to(dtype).requires_grad_()
    corners = torch.rand(1500, 2, generator=source) * 80
    sides = torch.rand(1500, 2, generator=source) * 40 + 2
    rois = torch.cat([(torch.arange(1500) % 2)[:, None], corners, corners + sides], dim=1)
    with LiveBytes(torch.nn.Identity()) as meter:
        pooled = roi_align(features, rois, stride=8)
        pooled.backward(torch.ones_like(pooled))
    assert pooled.dtype == dtype
    assert torch.equal(pooled, torch.cat([roi_align(features, r[None], stride=8) for r in rois]))
    # The features, and their gradient, in half; and a third of one of them in fp32.
    assert meter.peak < pooled.nbytes * 2.9
    assert features.grad is not None
    wide = features.detach().float().requires_grad_()
    roi_align(wide, rois, stride=8).sum().backward()
    # Summed over the parts in fp32, and rounded once.
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(features.grad.float(), wide.grad, rtol=rounding, atol=0.0)


def test_many_rois_of_a_map_in_double_precision_are_read_in_it() -> None:
    features = torch.rand(1, 2, 12, 16, dtype=torch.float64)
    rois = torch.tensor([[0.0, 8.0, 8.0, 90.0, 70.0]], dtype=torch.float64).expand(600, 5)
    pooled = roi_align(features, rois, stride=8)
    assert pooled.dtype == torch.float64
    assert torch.equal(pooled[-1:], roi_align(features, rois[:1], stride=8))
