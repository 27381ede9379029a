"""Operands are widened into memory that is kept, to the values and strides of ``Tensor.float``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from halftrack.precision import Precision
from halftrack.precision.tensor_cores import SCRATCH, Scratch

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(1, 3),
    "a part": lambda x: x[:, 1:],
    "expanded": lambda x: x[:1].expand(8, -1, -1, -1),
    "one element": lambda x: x[:1, :1, :1, :1],
    "none": lambda x: x[:0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_widened_operand_has_the_values_and_strides_of_float(
    layout: str, dtype: torch.dtype
) -> None:
    x = LAYOUTS[layout](torch.randn(8, 8, 32, 32).to(dtype))
    wide = Scratch().widen(0, x)
    assert wide.dtype == torch.float32
    assert torch.equal(wide, x.float())
    assert wide.stride() == x.float().stride()


def test_memory_is_kept_by_place_and_grows() -> None:
    scratch, large = Scratch(), torch.ones(1 << 15, dtype=torch.float16)
    first, other = scratch.widen(0, large), scratch.widen(1, large)
    assert first.data_ptr() != other.data_ptr()
    assert scratch.widen(0, large[: 1 << 14]).data_ptr() == first.data_ptr()
    assert torch.equal(scratch.widen(0, large.repeat(2)), torch.ones(1 << 16))
    assert torch.equal(other, torch.ones(1 << 15))


def test_other_values_pass_as_they_are() -> None:
    scratch, x = Scratch(), torch.ones(1 << 15)
    assert scratch.widen(0, x) is x
    assert scratch.widen(0, None) is None


def test_memory_that_inference_made_serves_training_and_is_given_back() -> None:
    images, weight = torch.ones(2, 8, 64, 64), torch.ones(8, 8, 3, 3, requires_grad=True)
    precision = Precision("fp16", 1.0)
    with precision.arithmetic("cpu"), precision.autocast("cpu"):
        with torch.inference_mode():
            expected = F.conv2d(images, weight)
        made = F.conv2d(images, weight)
        made.sum().backward()
        assert SCRATCH._memory
    assert torch.equal(made, expected)
    assert not SCRATCH._memory
