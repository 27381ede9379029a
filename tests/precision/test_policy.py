"""A precision is decided once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from halftrack.precision import Precision
from halftrack.precision.rehearsal import is_rehearsing


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_inference_has_the_precisions_arithmetic_and_no_gradients(name: str) -> None:
    precision, layer = Precision.named(name), nn.Linear(2, 2)
    with precision.inference("cpu"):
        answer = layer(torch.ones(1, 2))
        assert is_rehearsing() == (name != "fp32")
    assert answer.dtype == precision.dtype
    assert not answer.requires_grad
    assert torch.is_grad_enabled()
    assert not is_rehearsing()
