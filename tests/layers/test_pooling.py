"""Pooling of the stem is torch's, whatever the memory layout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from halftrack.layers.pooling import pool_stem


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(7, 12), (1, 1)])
def test_values_and_gradients_are_torchs(
    dtype: torch.dtype, layout: torch.memory_format, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    # Few different values: many windows have several greatest ones, of which the first counts.
    maps = torch.randint(0, 3, (2, 4, *size), generator=generator).to(dtype)
    maps = maps.contiguous(memory_format=layout).requires_grad_()
    theirs, ours = F.max_pool2d(maps, 3, 2, 1), pool_stem(maps)
    assert torch.equal(ours, theirs)
    assert ours.stride() == theirs.stride()
    wanted = torch.rand(ours.shape, generator=generator).to(dtype)
    (first,), (second,) = (torch.autograd.grad(x, maps, wanted) for x in (theirs, ours))
    assert torch.equal(first, second)
