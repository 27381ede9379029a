"""Depthwise correlation equals a convolution with a group for each channel, its gradients too."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from halftrack.layers import depthwise_correlation


@pytest.mark.parametrize("templates", [1, 3])
def test_values_and_gradients_are_those_of_a_grouped_convolution(templates: int) -> None:
    generator = torch.Generator().manual_seed(templates)
    searches = torch.rand((3, 4, 9, 11), generator=generator, dtype=torch.float64)
    kernels = torch.rand((templates, 4, 5, 5), generator=generator, dtype=torch.float64)
    given = (searches.requires_grad_(), kernels.requires_grad_())
    ours = depthwise_correlation(*given)
    each = kernels.expand(3, -1, -1, -1)[:, :, None]
    theirs = torch.cat([F.conv2d(searches[i : i + 1], each[i], groups=4) for i in range(3)])
    torch.testing.assert_close(ours, theirs)
    wanted = torch.rand(ours.shape, generator=generator, dtype=torch.float64)
    for mine, plain in zip(
        torch.autograd.grad(ours, given, wanted),
        torch.autograd.grad(theirs, given, wanted),
        strict=True,
    ):
        torch.testing.assert_close(mine, plain)


@pytest.mark.parametrize("learned", [0, 1])
def test_only_what_learns_has_a_gradient(learned: int) -> None:
    given = [torch.rand((2, 4, 9, 9)), torch.rand((2, 4, 5, 5))]
    given[learned].requires_grad_()
    depthwise_correlation(*given).sum().backward()
    assert given[learned].grad is not None
    assert given[1 - learned].grad is None
