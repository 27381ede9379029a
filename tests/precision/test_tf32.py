"""A rehearsal of TF32 rounds the operands of products as a GPU does, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.precision import LiveBytes, Precision, find_culprit
from halftrack.precision.tf32 import KERNELS, round_to_tf32, tf32_rehearsal

TF32, FP32 = Precision("tf32"), Precision()


def nearest(x: Tensor) -> Tensor:
    """The nearest number of 11 significant bits in fp64, ties away from zero."""
    mantissa, exponent = torch.frexp(x.double())
    whole = (mantissa * 2**11).abs().add(0.5).floor().copysign(mantissa)
    return (whole * 2.0 ** (exponent - 11).double()).float()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("given", "rounded"),
    [
        (1024.5, 1025.0),
        (-1024.5, -1025.0),
        (1024.499, 1024.0),
        (1 + 2**-11, 1 + 2**-10),
        (1 + 2**-11 - 2**-23, 1.0),
        (2 - 2**-23, 2.0),
        (0.0, 0.0),
        (2.0**-126, 2.0**-126),
        (2.0**-137, 2.0**-136),
        (2.0**-149, 0.0),
        (torch.finfo(torch.float32).max, math.inf),
        (-math.inf, -math.inf),
    ],
)
def test_values_are_rounded_to_10_bits_ties_away_from_zero(given: float, rounded: float) -> None:
    assert round_to_tf32(torch.tensor(given)).item() == rounded


def test_every_nan_stays_one_and_signs_of_zero_stay() -> None:
    patterns = torch.tensor([0x7FFFFFFF, 0x7F800001, -1, 0x7FC00000], dtype=torch.int32)
    assert round_to_tf32(patterns.view(torch.float32)).isnan().all()
    assert round_to_tf32(torch.tensor(-0.0)).signbit()


def test_numbers_of_all_sizes_are_the_nearest_ones() -> None:
    exponents = torch.linspace(-100, 120, 20_000)
    numbers = normal(20_000) * 2**exponents
    assert torch.equal(round_to_tf32(numbers), nearest(numbers))
    turned = numbers.view(100, 200).t()
    assert torch.equal(round_to_tf32(turned), nearest(turned))


class Operands(TorchDispatchMode):
    """Remembers the tensors that products are computed from."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in KERNELS:
            tensors = [value.clone() for value in args if isinstance(value, Tensor)]
            self.seen.append((func._schema.name.removeprefix("aten::"), tensors))
        return func(*args, **(kwargs or {}))


def conv(stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> Any:
    return lambda x, w: F.conv2d(x, w, None, stride, padding, dilation, groups)


# The kinds of SELSA's products: kernel, stride and dilation are its own, channels and maps small.
SHAPES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...], tuple[int, ...]]] = {
    "stem": (conv(2, 3), (1, 3, 40, 64), (16, 3, 7, 7)),
    "1x1": (conv(), (3, 64, 10, 16), (96, 64, 1, 1)),
    "1x1 of many channels": (conv(), (1, 1024, 5, 8), (32, 1024, 1, 1)),
    "1x1 stride 2": (conv(2), (1, 48, 10, 16), (32, 48, 1, 1)),
    "3x3": (conv(1, 1), (3, 32, 10, 16), (24, 32, 3, 3)),
    "3x3 stride 2": (conv(2, 1), (1, 32, 10, 16), (24, 32, 3, 3)),
    "3x3 dilation 2": (conv(1, 2, 2), (1, 64, 10, 16), (64, 64, 3, 3)),
    "3x3 groups": (conv(1, 1, groups=4), (1, 32, 10, 16), (32, 8, 3, 3)),
    "linear": (F.linear, (64, 700), (48, 700)),
    "attention": (torch.bmm, (4, 30, 16), (4, 16, 50)),
}


def computed(
    run: Callable[[Tensor, Tensor], Tensor], x: Tensor, w: Tensor, upstream: Tensor | None = None
) -> list[Tensor]:
    """Result and both gradients, the upstream gradient last."""
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
    y = run(x, w)
    given = normal(*y.shape, seed=2).to(y.dtype) if upstream is None else upstream
    return [y.detach(), *torch.autograd.grad(y, (x, w), given), given]


@pytest.mark.parametrize("name", SHAPES)
def test_products_are_sums_in_fp32_over_rounded_operands(name: str) -> None:
    run, x_shape, w_shape = SHAPES[name]
    x, w = normal(*x_shape), normal(*w_shape, seed=1)
    with TF32.arithmetic("cpu"):
        *ours, upstream = computed(run, x, w)
    rounded = [nearest(each).double() for each in (x, w, upstream)]
    exact = computed(run, *rounded)
    sizes = computed(run, *[each.abs() for each in rounded])
    terms = math.prod(w_shape[1:]), math.prod(w_shape) // w_shape[-3:][0], upstream.numel()
    for mine, true, size, count in zip(ours, exact[:3], sizes[:3], terms, strict=True):
        # Higham and Mary 2019: the error of a sum in fp32 grows as the root of its length.
        assert ((mine - true).abs() <= 2 * count**0.5 * 2.0**-24 * size).all()
        assert mine.dtype == torch.float32
    plain = computed(run, x, w, upstream)
    assert all(not torch.equal(a, b) for a, b in zip(ours, plain[:3], strict=True))


@pytest.mark.parametrize("name", SHAPES)
def test_every_operand_is_the_rounded_one_bit_by_bit(name: str) -> None:
    run, x_shape, w_shape = SHAPES[name]
    x, w = normal(*x_shape), normal(*w_shape, seed=1)
    with Operands() as operands, TF32.arithmetic("cpu"):
        *_, upstream = computed(run, x, w)
    known = [nearest(each) for each in (x, w, upstream)]
    known += [each.transpose(-2, -1) for each in known]
    seen = [tensor for _, tensors in operands.seen for tensor in tensors]
    assert len(seen) == (5 if x.dim() == 4 else 6)
    assert all(any(torch.equal(each, one) for one in known) for each in seen)


def test_what_is_added_to_a_product_is_not_rounded() -> None:
    bias = normal(6)
    x, w = torch.zeros(4, 3, 5, 5), torch.zeros(6, 3, 1, 1)
    batch = torch.zeros(2, 4, 3), torch.zeros(2, 3, 6)
    with TF32.arithmetic("cpu"):
        assert torch.equal(F.conv2d(x, w, bias)[0, :, 0, 0], bias)
        assert torch.equal(F.linear(torch.zeros(4, 3), w[:, :, 0, 0], bias)[0], bias)
        assert torch.equal(torch.baddbmm(bias, *batch)[0, 0], bias)
        assert torch.equal(torch.addbmm(bias.expand(4, 6), *batch)[0], bias)


def test_the_gradient_of_a_bias_is_a_sum_of_what_was_not_rounded() -> None:
    bias, upstream = torch.zeros(6, requires_grad=True), normal(4, 6, 5, 5)
    with TF32.arithmetic("cpu"):
        y = F.conv2d(normal(4, 3, 5, 5), normal(6, 3, 1, 1, seed=1), bias)
        (found,) = torch.autograd.grad(y, bias, upstream)
    torch.testing.assert_close(found, upstream.sum((0, 2, 3)), rtol=1e-6, atol=1e-6)


def test_depthwise_convolutions_and_products_with_a_vector_stay_fp32() -> None:
    def run(x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w, groups=8)

    x, w = normal(2, 8, 9, 9), normal(16, 1, 3, 3, seed=1)
    vector = normal(9)
    plain = [*computed(run, x, w), torch.mv(x[0, 0], vector), torch.dot(vector, vector)]
    with TF32.arithmetic("cpu"):
        ours = [*computed(run, x, w), torch.mv(x[0, 0], vector), torch.dot(vector, vector)]
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))


def test_everything_else_is_as_in_fp32() -> None:
    x = normal(4, 6)
    half, double = x.half(), x.double()
    with TF32.autocast("cpu"):
        assert not torch.is_autocast_enabled("cpu")
        assert torch.equal(x.softmax(1) * x.exp().sum(), _elementwise(x))
        assert (half @ half.t()).dtype == torch.float16
        assert torch.equal(double @ double.t(), normal(4, 6).double() @ normal(4, 6).double().t())


def _elementwise(x: Tensor) -> Tensor:
    with FP32.autocast("cpu"):
        return x.softmax(1) * x.exp().sum()


def test_nested_entries_count_once() -> None:
    with Operands() as operands, TF32.inference("cpu"), tf32_rehearsal():
        normal(2, 3) @ normal(3, 4)
    assert len(operands.seen) == 1
    assert not torch.equal(normal(2, 3) @ normal(3, 4), nearest(normal(2, 3)) @ normal(3, 4))


def test_the_backward_pass_of_a_model_computes_so_as_well() -> None:
    def gradients(precision: Precision) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
        with precision.arithmetic("cpu"):
            with precision.autocast("cpu"):
                loss = F.cross_entropy(model(normal(2, 3, 8, 8)), torch.tensor([0, 3]))
            loss.backward()
        return [parameter.grad for parameter in model.parameters()]

    for ours, plain in zip(gradients(TF32), gradients(FP32), strict=True):
        assert not torch.equal(ours, plain)
        assert float((ours - plain).norm() / plain.norm()) < 5e-3


def test_a_step_holds_what_it_holds_in_fp32() -> None:
    def peak(precision: Precision) -> dict[str, int]:
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
        with LiveBytes(model) as meter, precision.arithmetic("cpu"):
            model(normal(2, 3, 8, 8)).sum().backward()
        return meter.peak_by_kind

    assert peak(TF32) == peak(FP32)


class Batch:
    sample_ids = ("first", "second")


def test_a_step_that_is_not_finite_has_its_culprit() -> None:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(3e38)
    found = find_culprit(
        model,
        [Batch()],
        lambda _: {"loss": model(torch.full((2, 3), 1e10)).square().sum()},
        precision=TF32,
        loss_scale=1.0,
        device="cpu",
    )
    assert found is not None
    assert (found.direction, found.kind, found.dtype) == ("forward", "overflow", "float32")
