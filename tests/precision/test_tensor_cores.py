"""Operands are widened into memory that is kept, to the values and strides of ``Tensor.float``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


def widened(scratch: Scratch, *args: Any) -> Any:
    """The one argument that an op is called with, or all of them."""
    seen = scratch.call(lambda *wide: wide, args, {})
    return seen[0] if len(args) == 1 else seen


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_widened_operand_has_the_values_and_strides_of_float(
    layout: str, dtype: torch.dtype
) -> None:
    x = LAYOUTS[layout](torch.randn(8, 8, 32, 32).to(dtype))
    wide = widened(Scratch(), x)
    assert wide.dtype == torch.float32
    assert torch.equal(wide, x.float())
    assert wide.stride() == x.float().stride()


def test_memory_is_kept_by_place_and_grows() -> None:
    scratch, large = Scratch(), torch.ones(1 << 15, dtype=torch.float16)
    first, other = widened(scratch, large, large)
    assert first.data_ptr() != other.data_ptr()
    assert widened(scratch, large[: 1 << 14]).data_ptr() == first.data_ptr()
    assert torch.equal(widened(scratch, large.repeat(2)), torch.ones(1 << 16))
    assert torch.equal(other, torch.ones(1 << 15))


def test_an_op_within_an_op_leaves_its_operands_as_they_are() -> None:
    scratch, ones = Scratch(), torch.ones(1 << 15, dtype=torch.float16)

    def outer(wide: Tensor) -> Tensor:
        assert torch.equal(widened(scratch, ones * 2), torch.full((1 << 15,), 2.0))
        return wide.clone()

    assert torch.equal(scratch.call(outer, (ones,), {}), torch.ones(1 << 15))


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64])
def test_a_default_dtype_of_ones_own_changes_no_product(default: torch.dtype) -> None:
    half, hidden = torch.randn(128, 128).half(), torch.ones(128, 128).bool().tril()
    before, made = torch.get_default_dtype(), []
    for dtype in (before, default):
        torch.set_default_dtype(dtype)
        try:
            with Precision("fp16", 1.0).arithmetic("cpu"):
                heads = half.unflatten(1, (1, 2, 64)).permute(1, 2, 0, 3)
                attended = F.scaled_dot_product_attention(heads, heads, heads, hidden)
                made.append((half @ half, attended))
        finally:
            torch.set_default_dtype(before)
    for expected, found in zip(*made, strict=True):
        assert torch.equal(expected, found)


class Products(nn.Module):
    """Products in threads of torch's own, to which a rehearsal goes along."""

    def forward(self, operands: list[Tensor]) -> list[Tensor]:
        running = [torch.jit.fork(torch.mm, each, each) for each in operands]
        return [torch.jit.wait(each) for each in running]


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_products_of_many_threads_at_once_are_those_of_one() -> None:
    operands = [torch.randn(256, 256).half() for _ in range(16)]
    scripted = torch.jit.script(Products())
    with Precision("fp16", 1.0).arithmetic("cpu"):
        expected = [each @ each for each in operands]
        for _ in range(5):
            for alone, forked in zip(expected, scripted(operands), strict=True):
                assert torch.equal(alone, forked)


def test_other_values_pass_as_they_are() -> None:
    scratch, x = Scratch(), torch.ones(1 << 15)
    assert widened(scratch, x) is x
    assert widened(scratch, None) is None


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
