"""Half tensors are known and widened; nothing else is touched."""

from __future__ import annotations

import pytest
import torch

from halftrack.precision.dtypes import HALF, is_half, widen


@pytest.mark.parametrize("dtype", HALF)
def test_half_tensors_are_widened(dtype: torch.dtype) -> None:
    half = torch.full((2,), 0.5, dtype=dtype)
    assert is_half(half)
    assert widen(half).dtype == torch.float32
    assert torch.equal(widen(half), torch.full((2,), 0.5))


@pytest.mark.parametrize(
    "other", [None, 1.0, torch.float16, torch.ones(1), torch.ones(1).double(), torch.ones(1).int()]
)
def test_other_values_are_not_half_and_stay_as_they_are(other: object) -> None:
    assert not is_half(other)
    assert widen(other) is other
