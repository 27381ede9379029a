"""The gradient of RoIAlign on a CPU equals torchvision's."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from halftrack.layers.roi_gradient import roi_align_on_cpu
from halftrack.precision import Launches

SCALE = 0.25


def some_rois(count: int) -> Tensor:
    """Boxes of two images: small, large, beyond every border, turned inside out, and of no side."""
    generator = torch.Generator().manual_seed(count)
    corners = torch.rand((count, 2), generator=generator) * 100 - 30
    sides = torch.rand((count, 2), generator=generator) * 130 - 20
    images = torch.randint(0, 2, (count, 1), generator=generator)
    rois = torch.cat([images, corners, corners + sides], dim=1)
    rois[0, 3:] = rois[0, 1:3]
    return rois


def gradients(features: Tensor, rois: Tensor, ratio: int, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """torchvision's gradient and ours."""
    theirs = torchvision.ops.roi_align(features, rois, (7, 7), SCALE, ratio, True)
    ours = roi_align_on_cpu(features, rois, size=7, scale=SCALE, sampling_ratio=ratio)
    assert torch.equal(theirs, ours)
    found = [torch.autograd.grad(pooled, features, wanted)[0] for pooled in (theirs, ours)]
    return found[0], found[1]


@pytest.mark.parametrize("ratio", [0, 1, 2])
@pytest.mark.parametrize("size", [(13, 19), (1, 5), (2, 1)])
def test_it_is_torchvisions_up_to_the_order_of_its_sums(ratio: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(ratio)
    features = torch.rand((2, 3, *size), generator=generator, dtype=torch.float64)
    wanted = torch.randn((40, 3, 7, 7), generator=generator, dtype=torch.float64)
    rois = some_rois(40).double()
    theirs, ours = gradients(features.requires_grad_(), rois, ratio, wanted)
    assert theirs.abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ratio", [0, 2])
def test_without_any_roi_it_is_zero(ratio: int) -> None:
    features = torch.rand((2, 3, 5, 5)).requires_grad_()
    theirs, ours = gradients(features, torch.zeros((0, 5)), ratio, torch.zeros((0, 3, 7, 7)))
    assert torch.equal(theirs, ours)


def test_it_is_one_kernel_to_a_counter() -> None:
    features = torch.rand((2, 3, 13, 19)).requires_grad_()
    pooled = roi_align_on_cpu(features, some_rois(5), size=7, scale=SCALE, sampling_ratio=0)
    wanted = torch.rand_like(pooled)
    with Launches() as launches:
        torch.autograd.grad(pooled, features, wanted)
    assert launches.kernels == 1
    assert launches.waits == 0


def test_without_values_it_has_the_size_of_the_map() -> None:
    with torch._subclasses.FakeTensorMode():
        features = torch.empty((2, 3, 13, 19)).requires_grad_()
        pooled = roi_align_on_cpu(
            features, torch.empty((6, 5)), size=7, scale=SCALE, sampling_ratio=0
        )
        (gradient,) = torch.autograd.grad(pooled.sum(), features)
    assert gradient.shape == features.shape
