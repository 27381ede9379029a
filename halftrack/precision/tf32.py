"""TF32: products of fp32 numbers whose operands a GPU rounds to 10 of their 23 mantissa bits.

Rehearsed on a CPU: sums, results and everything that is no product stay fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from halftrack.precision.tensor_cores import Kernel, TensorCores

__all__ = ["KERNELS", "round_to_tf32", "tf32_rehearsal"]

_aten = torch.ops.aten


def round_to_tf32(tensor: Tensor) -> Tensor:
    """An fp32 tensor rounded to 10 mantissa bits, ties away from zero; NaN and infinities stay.

    Half a unit of the last bit that stays is added to the magnitude, then the 13 bits behind it are
    cleared. What rounds beyond fp32's largest number becomes infinite.
    """
    bits = tensor.view(torch.int32) + 0x1000
    rounded = bits.bitwise_and_(~0x1FFF).view(torch.float32)
    return torch.where(tensor.isnan(), tensor, rounded)


def _rounding(op: Kernel, *operands: int) -> Kernel:
    """The op with these of its arguments rounded; what is added to the product is not."""

    def kernel(args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
        rounded = list(args)
        for place in operands:
            rounded[place] = round_to_tf32(args[place])
        return op(*rounded, **kwargs)

    return kernel


_forward = _rounding(_aten.convolution.default, 0, 1)


def _convolution(args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    x, weight, _, *_, transposed, _, groups = args
    if _has_own_kernel(x, weight, transposed, groups):
        return _aten.convolution.default(*args, **kwargs)
    return _forward(args, kwargs, dtype)


def _convolution_backward(args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    """Both products from rounded operands; the bias's gradient is a sum of what came, unrounded."""
    gradient, x, weight, _, *_, transposed, _, groups, wanted = args
    if _has_own_kernel(x, weight, transposed, groups):
        return _aten.convolution_backward.default(*args, **kwargs)
    dx, dw, _ = _aten.convolution_backward.default(
        *map(round_to_tf32, (gradient, x, weight)), *args[3:-1], [*wanted[:2], False]
    )
    rest = [0, *range(2, gradient.dim())]
    return dx, dw, gradient.sum(rest) if wanted[2] else None


def _has_own_kernel(x: Tensor, weight: Tensor, transposed: bool, groups: int) -> bool:
    """True for depthwise convolutions: torch's kernel for them on a GPU multiplies in fp32."""
    channels = x.shape[1]
    return not transposed and 1 < groups == channels and weight.shape[0] % channels == 0


# Products of a matrix and a vector, or of two vectors, take no tensor cores.
KERNELS: dict[Any, Kernel] = {
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
    _aten.mm.default: _rounding(_aten.mm.default, 0, 1),
    _aten.bmm.default: _rounding(_aten.bmm.default, 0, 1),
    _aten.addmm.default: _rounding(_aten.addmm.default, 1, 2),
    _aten.baddbmm.default: _rounding(_aten.baddbmm.default, 1, 2),
    _aten.addbmm.default: _rounding(_aten.addbmm.default, 1, 2),
}
"""The ops that a GPU computes in TF32, and how a CPU computes them so."""

_PRODUCTS = TensorCores(KERNELS, (torch.float32,))


@contextmanager
def tf32_rehearsal() -> Iterator[None]:
    """Compute with a GPU's TF32 on a CPU, forward and backward, inside the context.

    Nested entries count once.
    """
    if _PRODUCTS in _get_current_dispatch_mode_stack():
        yield
        return
    with _PRODUCTS:
        yield
