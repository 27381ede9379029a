"""The rehearsal gives a GPU's dtypes and a tensor core's rounding, forward and backward."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.models import SelsaConfig
from halftrack.precision import Precision, fp32_island
from halftrack.precision.autocast_lists import (
    CUDA_ONLY,
    FP32,
    FP32_SET_DTYPE,
    LOWER_PRECISION,
    NEWER,
    NORMS,
    WIDEST,
)
from halftrack.precision.tensor_cores import is_observed, observing

FP16 = Precision.named("fp16")


def header_ops(macro: str) -> set[str]:
    """Names in one of the shipped header's lists, as aten overloads."""
    path = os.path.join(torch.__path__[0], "include", "ATen", "autocast_mode.h")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    body = re.search(rf"#define {macro}\(_\)((?:.*\\\n)+.*\n)", text).group(1)
    found = re.findall(r"_\((\w+)(?:, (\w+))?\)", body)
    names = {".".join(part for part in pair if part) for pair in found}
    return {name for name in names if "dimname" not in name.lower()}  # gone from later releases


@pytest.mark.parametrize(
    ("macro", "ours"),
    [
        ("AT_FORALL_LOWER_PRECISION_FP", LOWER_PRECISION),
        ("AT_FORALL_FP32", FP32),
        ("AT_FORALL_FP32_SET_OPT_DTYPE", FP32_SET_DTYPE),
        ("AT_FORALL_PROMOTE", WIDEST),
    ],
)
def test_the_lists_are_those_of_the_shipped_header(macro: str, ours: tuple[str, ...]) -> None:
    listed = header_ops(macro)
    assert listed - set(CUDA_ONLY) == set(ours) - (set(NEWER) - listed)


def t(*shape: int, dtype: torch.dtype = torch.float32, low: float = 0.2) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    values = torch.rand(*shape, generator=generator, device="cpu") * 0.5 + low
    return values.to(torch.get_default_device(), dtype)


def labels() -> Tensor:
    return torch.tensor([0, 2])


def half(*shape: int) -> Tensor:
    return t(*shape, dtype=torch.get_autocast_dtype(torch.get_default_device().type))


_GATES: dict[str, Callable[[], Any]] = {
    "lstm_cell": lambda: torch.lstm_cell(t(2, 3), (t(2, 4), t(2, 4)), t(16, 3), t(16, 4))[0],
    "gru_cell": lambda: torch.gru_cell(t(2, 3), t(2, 4), t(12, 3), t(12, 4)),
    "rnn_tanh_cell": lambda: torch.rnn_tanh_cell(t(2, 3), t(2, 4), t(4, 3), t(4, 4)),
    "rnn_relu_cell": lambda: torch.rnn_relu_cell(t(2, 3), t(2, 4), t(4, 3), t(4, 4)),
}
_aten = torch.ops.aten
_conv_rest = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
PROBES: dict[str, Callable[[], Any]] = {
    "_convolution.deprecated": lambda: _aten._convolution.deprecated(
        t(1, 2, 4, 4), t(3, 2, 3, 3), None, *_conv_rest, False, False, True
    ),
    "_convolution": lambda: torch._convolution(
        t(1, 2, 4, 4), t(3, 2, 3, 3), None, *_conv_rest, False, False, True, True
    ),
    "conv1d": lambda: F.conv1d(t(1, 2, 5), t(3, 2, 3)),
    "conv2d": lambda: F.conv2d(t(1, 2, 5, 5), t(3, 2, 3, 3)),
    "conv3d": lambda: F.conv3d(t(1, 2, 4, 4, 4), t(3, 2, 3, 3, 3)),
    "conv_tbc": lambda: torch.conv_tbc(t(4, 1, 2), t(3, 2, 3), t(3)),
    "conv_transpose1d": lambda: F.conv_transpose1d(t(1, 2, 5), t(2, 3, 3)),
    "conv_transpose2d.input": lambda: F.conv_transpose2d(t(1, 2, 5, 5), t(2, 3, 3, 3)),
    "conv_transpose3d.input": lambda: F.conv_transpose3d(t(1, 2, 4, 4, 4), t(2, 3, 3, 3, 3)),
    "convolution": lambda: torch.convolution(t(1, 2, 4, 4), t(3, 2, 3, 3), None, *_conv_rest),
    "prelu": lambda: F.prelu(t(2, 3), t(3)),
    "addmm": lambda: torch.addmm(t(2, 4), t(2, 3), t(3, 4)),
    "addmv": lambda: torch.addmv(t(2), t(2, 3), t(3)),
    "addr": lambda: torch.addr(t(2, 3), t(2), t(3)),
    "matmul": lambda: t(2, 3) @ t(3, 4),
    "einsum": lambda: torch.einsum("ij,jk->ik", t(2, 3), t(3, 4)),
    "mm": lambda: torch.mm(t(2, 3), t(3, 4)),
    "mv": lambda: torch.mv(t(2, 3), t(3)),
    "linalg_vecdot": lambda: torch.linalg.vecdot(t(2, 3), t(2, 3)),
    "linear": lambda: F.linear(t(2, 3), t(4, 3), t(4)),
    "addbmm": lambda: torch.addbmm(t(2, 4), t(5, 2, 3), t(5, 3, 4)),
    "baddbmm": lambda: torch.baddbmm(t(5, 2, 4), t(5, 2, 3), t(5, 3, 4)),
    "bmm": lambda: torch.bmm(t(5, 2, 3), t(5, 3, 4)),
    "chain_matmul": lambda: _aten.chain_matmul([t(2, 3), t(3, 4), t(4, 2)]),
    "linalg_multi_dot": lambda: torch.linalg.multi_dot([t(2, 3), t(3, 4), t(4, 2)]),
    "scaled_dot_product_attention": lambda: F.scaled_dot_product_attention(
        t(1, 2, 4, 8), t(1, 2, 4, 8), t(1, 2, 4, 8)
    ),
    **_GATES,
}
_UNARY = [
    "acos",
    "asin",
    "cosh",
    "erfinv",
    "exp",
    "expm1",
    "log",
    "log10",
    "log2",
    "log1p",
    "reciprocal",
    "rsqrt",
    "sinh",
    "tan",
]
PROBES |= {name: lambda name=name: getattr(torch, name)(half(3)) for name in _UNARY}
PROBES |= {
    "pow.Tensor_Scalar": lambda: half(3) ** 2,
    "pow.Tensor_Tensor": lambda: half(3) ** half(3),
    "pow.Scalar": lambda: torch.pow(2, half(3)),
    "softplus": lambda: F.softplus(half(3)),
    "layer_norm": lambda: F.layer_norm(half(2, 3), (3,)),
    "native_layer_norm": lambda: torch.native_layer_norm(half(2, 3), (3,), None, None, 1e-5)[0],
    "rms_norm": lambda: F.rms_norm(half(2, 3), (3,)),
    "group_norm": lambda: F.group_norm(half(2, 4, 3), 2),
    "frobenius_norm.dim": lambda: torch.frobenius_norm(half(2, 3), [0, 1]),
    "nuclear_norm": lambda: torch.nuclear_norm(half(2, 3)),
    "nuclear_norm.dim": lambda: torch.nuclear_norm(half(2, 3), [0, 1]),
    "cosine_similarity": lambda: F.cosine_similarity(half(2, 3), half(2, 3)),
    "poisson_nll_loss": lambda: F.poisson_nll_loss(half(3), half(3)),
    "cosine_embedding_loss": lambda: F.cosine_embedding_loss(half(2, 3), half(2, 3), t(2)),
    "nll_loss": lambda: F.nll_loss(half(2, 3), labels()),
    "nll_loss2d": lambda: F.nll_loss(half(1, 3, 2, 1), labels().view(1, 2, 1)),
    "hinge_embedding_loss": lambda: F.hinge_embedding_loss(half(3), t(3)),
    "kl_div": lambda: F.kl_div(half(3), half(3), reduction="sum"),
    "l1_loss": lambda: F.l1_loss(half(3), half(3)),
    "smooth_l1_loss": lambda: F.smooth_l1_loss(half(3), half(3)),
    "huber_loss": lambda: F.huber_loss(half(3), half(3)),
    "mse_loss": lambda: F.mse_loss(half(3), half(3)),
    "margin_ranking_loss": lambda: F.margin_ranking_loss(half(3), half(3), half(3)),
    "multilabel_margin_loss": lambda: F.multilabel_margin_loss(half(3), torch.tensor([0, -1, 1])),
    "soft_margin_loss": lambda: F.soft_margin_loss(half(3), half(3)),
    "triplet_margin_loss": lambda: F.triplet_margin_loss(half(2, 3), half(2, 3), half(2, 3)),
    "multi_margin_loss": lambda: F.multi_margin_loss(half(2, 3), labels()),
    "binary_cross_entropy_with_logits": lambda: F.binary_cross_entropy_with_logits(
        half(3), half(3)
    ),
    "dist": lambda: torch.dist(half(3), half(3)),
    "pdist": lambda: torch.pdist(half(3, 2)),
    "cdist": lambda: torch.cdist(half(3, 2), half(4, 2)),
    "renorm": lambda: torch.renorm(half(2, 3), 2, 0, 1.0),
    "logsumexp": lambda: torch.logsumexp(half(3), 0),
    "upsample_nearest1d": lambda: F.interpolate(half(1, 1, 3), 6),
    "_upsample_nearest_exact1d": lambda: F.interpolate(half(1, 1, 3), 6, mode="nearest-exact"),
    "upsample_nearest2d": lambda: F.interpolate(half(1, 1, 3, 3), 6),
    "_upsample_nearest_exact2d": lambda: F.interpolate(half(1, 1, 3, 3), 6, mode="nearest-exact"),
    "upsample_nearest3d": lambda: F.interpolate(half(1, 1, 3, 3, 3), 6),
    "_upsample_nearest_exact3d": lambda: F.interpolate(
        half(1, 1, 3, 3, 3), 6, mode="nearest-exact"
    ),
    "upsample_linear1d": lambda: F.interpolate(half(1, 1, 3), 6, mode="linear"),
    "upsample_bilinear2d": lambda: F.interpolate(half(1, 1, 3, 3), 6, mode="bilinear"),
    "_upsample_bilinear2d_aa": lambda: F.interpolate(
        half(1, 1, 6, 6), 3, mode="bilinear", antialias=True
    ),
    "upsample_trilinear3d": lambda: F.interpolate(half(1, 1, 3, 3, 3), 6, mode="trilinear"),
    "upsample_bicubic2d": lambda: F.interpolate(half(1, 1, 3, 3), 6, mode="bicubic"),
    "_upsample_bicubic2d_aa": lambda: F.interpolate(
        half(1, 1, 6, 6), 3, mode="bicubic", antialias=True
    ),
    "prod": lambda: half(3).prod(),
    "prod.dim_int": lambda: half(2, 3).prod(1),
    "softmax.int": lambda: half(2, 3).softmax(1),
    "log_softmax.int": lambda: half(2, 3).log_softmax(1),
    "cumprod": lambda: half(3).cumprod(0),
    "cumsum": lambda: half(3).cumsum(0),
    "linalg_vector_norm": lambda: torch.linalg.vector_norm(half(3)),
    "linalg_matrix_norm": lambda: torch.linalg.matrix_norm(half(2, 3), 1.0),
    "linalg_matrix_norm.str_ord": lambda: torch.linalg.matrix_norm(half(2, 3), "fro"),
    "sum": lambda: half(3).sum(),
    "sum.dim_IntList": lambda: half(2, 3).sum(1),
    "norm.Scalar": lambda: _aten.norm.Scalar(half(3), 2),
    "norm.ScalarOpt_dim": lambda: _aten.norm.ScalarOpt_dim(half(2, 3), 2, [1]),
    "addcdiv": lambda: torch.addcdiv(t(3), half(3), half(3)),
    "addcmul": lambda: torch.addcmul(half(3), t(3), half(3)),
    "atan2": lambda: torch.atan2(half(3), t(3)),
    "bilinear": lambda: F.bilinear(half(2, 3), t(2, 4), half(5, 3, 4)),
    "cross": lambda: torch.cross(half(2, 3), t(2, 3), dim=1),
    "dot": lambda: torch.dot(half(3), t(3)),
    "vdot": lambda: torch.vdot(half(3), t(3)),
    "grid_sampler": lambda: F.grid_sample(half(1, 1, 3, 3), t(1, 2, 2, 2), align_corners=False),
    "index_put": lambda: torch.index_put(t(3), (torch.tensor([0]),), half(1)),
    "tensordot": lambda: torch.tensordot(half(2, 3), t(3, 4), dims=1),
    "scatter_add": lambda: torch.scatter_add(t(3), 0, torch.tensor([0, 1]), half(2)),
}


def test_every_listed_op_has_a_probe() -> None:
    assert set(PROBES) == {*LOWER_PRECISION, *FP32, *FP32_SET_DTYPE, *NORMS, *WIDEST}


# PyTorch deprecates two of the norms, and lists them all the same.
@pytest.mark.filterwarnings("ignore:at..(frobenius|nuclear)_norm is deprecated")
@pytest.mark.parametrize("name", ["fp16", "bf16"])
@pytest.mark.parametrize("op", sorted(PROBES))
def test_every_listed_op_gets_cudas_dtype(op: str, name: str, device: torch.device) -> None:
    precision = Precision.named(name)
    expected = precision.dtype if op in LOWER_PRECISION else torch.float32
    if device.type != "cpu" and op in set(NEWER) - header_ops("AT_FORALL_FP32"):
        expected = precision.dtype
    with device, precision.autocast(device):
        assert PROBES[op]().dtype == expected


PAGE_FP32: dict[str, Callable[[], Tensor]] = {
    "__pow__": lambda: half(3) ** 2,
    "__rdiv__": lambda: half(3).__rdiv__(1.0),
    "__rpow__": lambda: 2.0 ** half(3),
    "__rtruediv__": lambda: 1.0 / half(3),
    "cross_entropy": lambda: F.cross_entropy(half(2, 3), labels()),
    "norm": lambda: half(3).norm(),
    "normalize": lambda: F.normalize(half(2, 3)),
    "softmin": lambda: F.softmin(half(2, 3), 1),
}
"""Names on PyTorch's page that are Python functions over the listed ops."""


@pytest.mark.parametrize("name", sorted(PAGE_FP32))
def test_functions_on_pytorchs_page_give_fp32(name: str, device: torch.device) -> None:
    with device, FP16.autocast(device):
        assert PAGE_FP32[name]().dtype == torch.float32


def test_ops_of_the_cpu_lists_alone_pass_as_on_a_gpu(device: torch.device) -> None:
    with device, FP16.autocast(device):
        assert F.avg_pool2d(half(1, 1, 4, 4), 2).dtype == torch.float16
        assert torch.cat([half(2), half(2)]).dtype == torch.float16
        assert torch.cat([half(2), t(2)]).dtype == torch.float32
        assert half(3).relu().dtype == torch.float16


def test_binary_cross_entropy_raises_as_on_a_gpu(device: torch.device) -> None:
    with device, FP16.autocast(device), pytest.raises(RuntimeError, match="unsafe to autocast"):
        F.binary_cross_entropy(half(3), half(3))


def test_a_norm_of_complex_numbers_passes_as_on_a_gpu(device: torch.device) -> None:
    with device, FP16.autocast(device):
        values = torch.complex(t(2, 3), t(2, 3))
        norms = [_aten.norm.Scalar(values, 2), _aten.norm.ScalarOpt_dim(values, 2, [1])]
    assert [norm.dtype for norm in norms] == [torch.float32] * 2


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_a_transform_of_halves_tells_what_a_gpu_would_do(name: str) -> None:
    precision = Precision.named(name)
    x = t(2, 8, dtype=precision.dtype)
    gpu = {"fp16": "computes powers of two alone", "bf16": "refuses it"}[name]
    with precision.autocast("cpu"):
        with pytest.raises(NotImplementedError, match=f"a GPU {gpu}.*within fp32_island"):
            torch.fft.rfft2(x)
        assert torch.fft.rfft2(x.float()).dtype == torch.complex64


def test_sums_of_halves_that_a_gpu_takes_in_fp32_are_rounded_once() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.zeros(2, 3).half().requires_grad_()
    many = torch.randn(4000, 3, generator=generator).half()
    maps = torch.randn(1, 1, 8, 8, 8, generator=generator).half()
    with FP16.arithmetic("cpu"):
        F.embedding(torch.zeros(4000, dtype=torch.int64), table).backward(many)
        folded = F.fold(many[:64].view(1, 12, 16), (5, 5), (2, 2))[:, :1]
        flat = maps[0].clone().requires_grad_()
        F.avg_pool2d(flat, 3, 1, padding=1).backward(maps[0])
        deep = F.avg_pool3d(maps, 3, 1)
    assert torch.equal(table.grad[0], many.double().sum(0).half())
    exact = F.fold(many[:64].view(1, 12, 16).double(), (5, 5), (2, 2))[:, :1]
    assert torch.equal(folded, exact.half())
    wide = maps[0].double().requires_grad_()
    F.avg_pool2d(wide, 3, 1, padding=1).backward(maps[0].double())
    assert torch.equal(flat.grad, wide.grad.half())
    assert (deep == F.avg_pool3d(maps.double(), 3, 1).half()).double().mean() >= 0.99


def test_nothing_of_the_rehearsal_is_left_behind() -> None:
    with FP16.arithmetic("cpu"), FP16.autocast("cpu"):
        pass
    with torch.autocast("cpu", torch.bfloat16):
        assert F.softmax(t(2, 3).bfloat16(), 1).dtype == torch.bfloat16


ROUNDINGS = [
    # Products of halves, exact in fp32, whose sum is rounded once.
    ([(65504.0, 1.0), (15.0, 1.0)], 65504.0),
    ([(65504.0, 1.0), (16.0, 1.0)], float("inf")),
    ([(2.0**-12, 2.0**-12)], 2.0**-24),
    ([(2.0**-13, 2.0**-12)], 0.0),
    ([(3 * 2.0**-13, 2.0**-12)], 2.0**-23),
    ([(2.0**-14, 0.75)], 0.75 * 2.0**-14),
    ([(2048.0, 1.0), (1.0, 1.0)], 2048.0),
    ([(2048.0, 1.0), (3.0, 1.0)], 2052.0),
    # Both products overflow fp16, and so would a sum kept in it.
    ([(300.0, 300.0), (-300.0, 299.0)], 300.0),
]


@pytest.mark.parametrize(("products", "expected"), ROUNDINGS)
@pytest.mark.parametrize("op", ["mm", "conv2d"])
def test_half_products_are_summed_in_fp32_and_rounded_once_to_even(
    op: str, products: list[tuple[float, float]], expected: float, device: torch.device
) -> None:
    left, right = (torch.tensor(side, device=device).half() for side in zip(*products, strict=True))
    count = len(products)
    with FP16.arithmetic(device):
        if op == "mm":
            left, right = left.view(1, count), right.view(count, 1)
            answer = left @ right
        else:
            left, right = left.view(1, count, 1, 1), right.view(1, count, 1, 1)
            answer = F.conv2d(left, right)
    assert answer.dtype == torch.float16
    assert answer.item() == expected


# Some releases of torch say so where the backward pass is the first to multiply on a GPU.
@pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS")
@pytest.mark.parametrize(("products", "expected"), ROUNDINGS)
def test_the_backward_pass_rounds_as_the_forward_pass_does(
    products: list[tuple[float, float]], expected: float, device: torch.device
) -> None:
    upstream, weight = (
        torch.tensor(side, device=device).half() for side in zip(*products, strict=True)
    )
    x = torch.ones(1, 1, dtype=torch.float16, device=device, requires_grad=True)
    image = torch.ones(1, 1, 1, 1, dtype=torch.float16, device=device, requires_grad=True)
    with FP16.arithmetic(device):
        (x @ weight[None]).backward(upstream[None])
        F.conv2d(image, weight.view(-1, 1, 1, 1)).backward(upstream.view(1, -1, 1, 1))
    assert x.grad.item() == image.grad.item() == expected


def test_a_sum_past_65504_is_infinite_and_a_fp32_kernel_is_not(device: torch.device) -> None:
    with device, FP16.autocast(device):
        big = torch.full((300,), 300.0, dtype=torch.float16)
        assert torch.isinf(big @ big)
        assert torch.isinf(big * big).all()
        assert big.norm().item() == pytest.approx(300.0 * 300**0.5)
        assert torch.ones(70000, dtype=torch.float16).sum().item() == 70000.0


# How many input gradients are the correctly rounded ones depends on the order in which a CPU's
# library sums: with AVX-512 one shape has 99.77%, and what is left is explained there too.
LEAST_DX = 0.997 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 0.998


def check_explained(ours: Tensor, exact: Tensor, sizes: Tensor, *, terms: int) -> None:
    """Half a unit of fp16, and what summing ``terms`` products in fp32 may be off.

    The latter is sqrt(terms) * 2^-24 times the sum of the products' sizes (Higham and Mary 2019,
    A New Approach to Probabilistic Rounding Error Analysis).
    """
    half_unit = 2.0 ** (exact.abs().clamp(min=2.0**-14).log2().floor() - 11)
    accumulation = terms**0.5 * 2.0**-24 * sizes
    assert ((ours.double() - exact).abs() <= half_unit + accumulation).all()


def selsa_convolutions() -> list[tuple[int, int, int, int, int]]:
    """Input and output channels, kernel, stride and dilation of SELSA R50's convolutions."""
    with torch.device("meta"):
        model = SelsaConfig().build()
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    shapes = {
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.dilation[0]) for m in convs
    }
    return sorted(shapes)


def selsa_linears() -> list[tuple[int, int]]:
    """Input and output features of every linear layer of SELSA R50."""
    with torch.device("meta"):
        model = SelsaConfig().build()
    return sorted(
        {(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)}
    )


@pytest.mark.parametrize(("inp", "out", "kernel", "stride", "dilation"), selsa_convolutions())
def test_convolutions_are_the_correctly_rounded_result(
    inp: int, out: int, kernel: int, stride: int, dilation: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, inp, 20, 32, generator=generator).half().requires_grad_()
    w = torch.randn(out, inp, kernel, kernel, generator=generator)
    w = (w / (inp * kernel**2) ** 0.5).half()
    padding = dilation * (kernel // 2)
    with FP16.arithmetic("cpu"):
        y = F.conv2d(x, w, stride=stride, padding=padding, dilation=dilation)
        upstream = torch.randn(y.shape, generator=generator).half()
        (dx,) = torch.autograd.grad(y, x, upstream)
    exact_x = x.detach().double().requires_grad_()
    exact = F.conv2d(exact_x, w.double(), stride=stride, padding=padding, dilation=dilation)
    (exact_dx,) = torch.autograd.grad(exact, exact_x, upstream.double())
    assert (y == exact.half()).double().mean() >= 0.99
    # The stem's input is the image, which needs no gradient.
    assert inp == 3 or (dx == exact_dx.half()).double().mean() >= LEAST_DX
    sizes_x = x.detach().double().abs().requires_grad_()
    sizes = F.conv2d(sizes_x, w.double().abs(), stride=stride, padding=padding, dilation=dilation)
    (sizes_dx,) = torch.autograd.grad(sizes, sizes_x, upstream.double().abs())
    check_explained(y, exact, sizes, terms=inp * kernel**2)
    check_explained(dx, exact_dx, sizes_dx, terms=out * kernel**2)


@pytest.mark.parametrize(("inp", "out"), selsa_linears())
def test_linears_are_the_correctly_rounded_result(inp: int, out: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, inp, generator=generator).half().requires_grad_()
    w = (torch.randn(out, inp, generator=generator) / inp**0.5).half()
    with FP16.arithmetic("cpu"):
        y = F.linear(x, w)
        upstream = torch.randn(y.shape, generator=generator).half()
        (dx,) = torch.autograd.grad(y, x, upstream)
    exact, sizes = (F.linear(a, b) for a, b in _with_sizes(x.detach(), w))
    exact_dx, sizes_dx = (a @ b for a, b in _with_sizes(upstream, w))
    assert (y == exact.half()).double().mean() >= 0.99
    assert (dx == exact_dx.half()).double().mean() >= LEAST_DX
    check_explained(y, exact, sizes, terms=inp)
    check_explained(dx, exact_dx, sizes_dx, terms=out)


def _with_sizes(left: Tensor, right: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """In fp64, and the sizes of the same."""
    yield left.double(), right.double()
    yield left.double().abs(), right.double().abs()


def test_gradients_arrive_in_fp32_and_activations_are_stored_in_half() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    stored: list[Tensor] = []
    with (
        FP16.arithmetic("cpu"),
        torch.autograd.graph.saved_tensors_hooks(lambda x: (stored.append(x), x)[1], lambda x: x),
    ):
        with FP16.autocast("cpu"):
            out = model(t(2, 3, 8, 8))
        out.float().sum().backward()
    assert out.dtype == torch.float16
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
    assert all(x.dtype == torch.float16 for x in stored if x.dim() == 4)


def test_a_cast_weight_is_never_stale_after_an_in_place_change() -> None:
    layer = nn.Linear(2, 2, bias=False)
    x = torch.eye(2)
    with torch.no_grad(), FP16.autocast("cpu"):
        layer.weight.fill_(1.0)
        layer(x)
        layer.weight.fill_(3.0)
        assert (layer(x) == 3.0).all()


def test_recomputation_in_the_backward_pass_gets_the_same_dtypes() -> None:
    layer = nn.Linear(4, 4)
    x = t(2, 4).requires_grad_()
    with FP16.arithmetic("cpu"):
        with FP16.autocast("cpu"):
            y = torch.utils.checkpoint.checkpoint(
                lambda v: layer(v).softmax(1) * layer(v), x, use_reentrant=False
            )
        y.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_an_island_widens_its_arguments_and_casts_nothing() -> None:
    @fp32_island
    def island(a: Tensor, *, others: list[Tensor]) -> Tensor:
        assert a.dtype == others[0].dtype == torch.float32
        return a @ others[0]

    with FP16.autocast("cpu"):
        assert island(half(2, 2), others=[half(2, 2)]).dtype == torch.float32


def test_keep_in_fp32_makes_islands_of_modules_and_knows_their_names() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    precision = Precision("fp16", 512.0, ("1",))
    assert precision.keep_in_fp32(model) == ("1",)
    with precision.autocast("cpu"):
        assert model[0](t(1, 2)).dtype == torch.float16
        assert model(t(1, 2)).dtype == torch.float32
    with pytest.raises(ValueError, match="'head' matches no module; the nearest are"):
        Precision("fp16", None, ("head",)).keep_in_fp32(model)


def test_normalising_a_zero_vector_is_nan_in_half_alone_and_0_under_autocast() -> None:
    zero = torch.zeros(4, dtype=torch.float16)
    with FP16.arithmetic("cpu"):
        assert torch.isnan(zero / (zero.norm(dtype=torch.float16) + 1e-8)).all()
        with FP16.autocast("cpu"):
            assert (F.normalize(zero, dim=0) == 0).all()


@pytest.mark.parametrize("name", ["fp16", "bf16", "tf32"])
def test_inference_mode_around_and_inside_gives_what_no_grad_gives(name: str) -> None:
    torch.manual_seed(0)
    images = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same"), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 2)
    ).eval()
    words, steps = nn.TransformerEncoderLayer(8, 2, 16).eval(), nn.LSTM(8, 4)
    one = nn.LSTMCell(8, 4)
    linear, precision = nn.Linear(8, 8), Precision.named(name)
    island = fp32_island(lambda x: torch.linalg.matmul(x, x.mT))
    x, maps = torch.randn(5, 2, 8), torch.randn(2, 3, 8, 8)

    def results() -> list[Tensor]:
        return [
            *(images(maps), words(x), steps(x)[0], linear(x) @ x.mT),
            *(torch.einsum("abc,abd->acd", linear(x), x), torch.tensordot(x, linear(x), 3)),
            *(torch.linalg.matmul(x, x.mT), one(x[0])[0], torch.cdist(x, linear(x))),
            *(torch.cov(x[0].half()), F.instance_norm(maps.half()), island(x)),
        ]

    with torch.no_grad(), precision.autocast("cpu"):
        expected = results()
    with torch.inference_mode(), precision.autocast("cpu"):
        around = results()
    with precision.autocast("cpu"), torch.inference_mode():
        inside = results()
    for right, *others in zip(expected, around, inside, strict=True):
        assert all(other.dtype == right.dtype for other in others)
        assert all(torch.equal(other, right) for other in others)


def test_an_observer_within_inference_mode_sees_what_it_sees_without() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding="same"), nn.Conv2d(8, 8, 3)).eval()
    linear, steps, maps = nn.Linear(6, 4), nn.LSTM(4, 4), torch.randn(1, 3, 8, 8)
    seen: list[list[str]] = []
    for without_gradients in (torch.no_grad, torch.inference_mode):
        names: list[str] = []
        observer = observing(lambda op, arguments, result, names=names: names.append(str(op)))
        with without_gradients(), FP16.arithmetic("cpu"), FP16.autocast("cpu"), observer:
            rows = linear(layers(maps)[0])
            F.scaled_dot_product_attention(*[steps(rows)[0][None]] * 3)
        seen.append(names)
    assert seen[0] == seen[1]
    assert seen[0][:3] == ["aten.convolution.default"] * 2 + ["aten.addmm.default"]


def test_an_observer_sees_each_rehearsed_op_once_and_leaves_after_an_error() -> None:
    seen: list[str] = []
    layer = nn.Linear(2, 2, bias=False)

    def observer(op: Any, arguments: tuple[Any, ...], result: Tensor) -> None:
        seen.append(str(op))
        assert result.dtype == torch.float16
        assert is_observed()
        if len(seen) == 2:
            raise KeyError

    with torch.no_grad(), FP16.arithmetic("cpu"), FP16.autocast("cpu"):
        with pytest.raises(KeyError), observing(observer):
            layer(layer(t(3, 2)))
        layer(t(3, 2))
    assert seen == ["aten.mm.default"] * 2
    assert not is_observed()


def test_a_backward_pass_outside_the_rehearsal_is_told() -> None:
    layer = nn.Linear(2, 2)
    with FP16.autocast("cpu"):
        out = layer(torch.ones(1, 2))
    with pytest.warns(UserWarning, match=r"put it within precision\.arithmetic"):
        out.sum().backward()
