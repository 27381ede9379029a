"""Attention has a fused kernel's roundings, its fp32 log-sum-exp, and no matrix of weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from halftrack.precision import LiveBytes, Precision
from halftrack.precision import attention as module
from halftrack.precision.nonfinite import NonFiniteTrace

FP16 = Precision.named("fp16")
_aten = torch.ops.aten
attend = F.scaled_dot_product_attention


def operands(
    dtype: torch.dtype, *, heads: int = 4, of_keys: int = 4, size: float = 1.0
) -> list[Tensor]:
    """Query, key and value of 96 tokens; ``size`` squared is the deviation of the logits."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, count, 96, 32) for count in (heads, of_keys, of_keys)]
    query, key, value = (torch.randn(shape, generator=generator) for shape in shapes)
    return [each.to(dtype).requires_grad_() for each in (query * size, key * size, value)]


def options(kind: str, dtype: torch.dtype) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    some = torch.rand(2, 1, 1, 96, generator=generator) > 0.3
    return {
        "no mask": {},
        "padding": {"attn_mask": some},
        "bias": {"attn_mask": torch.randn(1, 4, 96, 96, generator=generator).to(dtype)},
        "smallest numbers": {"attn_mask": torch.where(some, 0.0, torch.finfo(dtype).min).to(dtype)},
        "causal": {"is_causal": True},
        "scale": {"scale": 0.5},
    }[kind]


def in_fp64(like: list[Tensor], **how: Any) -> tuple[list[Tensor], dict[str, Any]]:
    mask = how.get("attn_mask")
    if mask is not None and mask.dtype != torch.bool:
        how["attn_mask"] = mask.double()
    return [each.detach().double().requires_grad_() for each in like], how


def error(ours: Tensor, exact: Tensor) -> float:
    return ((ours.double() - exact).norm() / exact.norm()).item()


KINDS = ["no mask", "padding", "bias", "smallest numbers", "causal", "scale"]


@pytest.mark.parametrize("name", ["fp16", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_pass_rounds_weights_and_result_once_each(kind: str, name: str) -> None:
    precision = Precision.named(name)
    three = operands(precision.dtype)
    with precision.arithmetic("cpu"), precision.autocast("cpu"):
        ours = attend(*three, **options(kind, precision.dtype))
    (query, key, value), how = in_fp64(three, **options(kind, precision.dtype))
    scores = query @ key.mT * how.get("scale", 32**-0.5)
    if how.get("is_causal"):
        how["attn_mask"] = torch.ones(96, 96, dtype=torch.bool).tril()
    mask = how.get("attn_mask")
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        )
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    exact = weights.to(precision.dtype).double() @ value / weights.sum(-1, keepdim=True)
    assert ours.dtype == precision.dtype
    assert (ours == exact.to(ours.dtype)).double().mean() >= 0.99


@pytest.mark.parametrize("size", [1.0, 4.0])
@pytest.mark.parametrize("name", ["fp16", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_as_near_as_those_of_a_fp32_logsumexp(
    kind: str, name: str, size: float
) -> None:
    precision = Precision.named(name)
    dtype = precision.dtype
    three, how = operands(dtype, size=size), options(kind, dtype)
    upstream = torch.randn(three[0].shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    with precision.arithmetic("cpu"):
        ours = torch.autograd.grad(attend(*three, **how), three, upstream)
    wide, wide_how = in_fp64(three, **how)
    exact = torch.autograd.grad(attend(*wide, **wide_how), wide, upstream.double())
    mask = how.pop("attn_mask", None)
    if mask is not None:
        bias = (
            torch.zeros(mask.shape).masked_fill_(~mask, -torch.inf)
            if mask.dtype == torch.bool
            else mask
        )
        how["attn_mask"] = bias.float()
    causal = how.pop("is_causal", False)
    floats = [each.detach().float() for each in three]
    out, logsumexp = _aten._scaled_dot_product_flash_attention_for_cpu(*floats, 0.0, causal, **how)
    kept_in_fp32 = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
        upstream.float(), *floats, out.to(dtype).float(), logsumexp, 0.0, causal, **how
    )
    for mine, theirs, right in zip(ours, kept_in_fp32, exact, strict=True):
        assert error(mine, right) <= 2 * error(theirs.to(dtype), right)


def test_dropout_draws_what_it_draws_in_fp32_and_draws_it_again_backward() -> None:
    three = operands(torch.float16)
    wide, _ = in_fp64(three)
    upstream = torch.ones_like(three[0])
    drawn = []
    for each in (three, wide):
        torch.manual_seed(3)
        with FP16.arithmetic("cpu"):
            out = attend(*each, dropout_p=0.3)
            drawn.append(torch.rand(1))
            out.backward(upstream.to(out.dtype))
            drawn.append(torch.rand(1))
    assert drawn[:2] == drawn[2:]
    assert all(error(half.grad, exact.grad) < 1e-3 for half, exact in zip(three, wide, strict=True))


def test_dropout_of_everything_gives_zeros_and_passes_zeros_back() -> None:
    three = operands(torch.float16)
    with FP16.arithmetic("cpu"):
        out = attend(*three, dropout_p=1.0)
        out.sum().backward()
    assert not out.any()
    assert all(each.grad is not None and not each.grad.any() for each in three)


def test_heads_of_keys_are_shared_and_a_bias_learns() -> None:
    three = [*operands(torch.float16, heads=8, of_keys=2)]
    wide, _ = in_fp64(three)
    bias = torch.randn(1, 8, 1, 96, generator=torch.Generator().manual_seed(4)).half()
    half, double = bias.clone().requires_grad_(), bias.double().requires_grad_()
    with FP16.arithmetic("cpu"):
        attend(*three, attn_mask=half, enable_gqa=True).sum().backward()
    attend(*wide, attn_mask=double, enable_gqa=True).sum().backward()
    for mine, exact in zip([*three, half], [*wide, double], strict=True):
        assert mine.grad.dtype == torch.float16
        assert error(mine.grad, exact.grad) < 2e-3


def test_a_query_without_a_key_gives_zero_and_passes_nothing_back() -> None:
    three = operands(torch.float16)
    nothing = torch.zeros(2, 1, 1, 96, dtype=torch.bool)
    with FP16.arithmetic("cpu"):
        out = attend(*three, attn_mask=nothing)
        out.sum().backward()
    assert (out == 0).all()
    assert all((each.grad == 0).all() for each in three)


def test_blocks_of_queries_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for scores_at_once in (1 << 22, 2 * 4 * 96 * 7):
        monkeypatch.setattr(module, "_SCORES_AT_ONCE", scores_at_once)
        three = operands(torch.float16)
        torch.manual_seed(5)
        with FP16.arithmetic("cpu"):
            out = attend(*three, is_causal=True, dropout_p=0.1)
            out.sum().backward()
        found.append([out.detach(), *(each.grad for each in three)])
    for whole, parts in zip(*found, strict=True):
        assert error(parts, whole.double()) < 1e-4


def test_a_second_derivative_is_refused_as_on_a_gpu_but_composed_when_asked_for() -> None:
    (query, *_) = operands(torch.float16)

    def penalty() -> None:
        with FP16.arithmetic("cpu"):
            out = attend(query, query, query).float().square().sum()
            (gradient,) = torch.autograd.grad(out, query, create_graph=True)
            gradient.float().square().sum().backward()

    with pytest.raises(RuntimeError, match=r"no second derivative.*SDPBackend\.MATH"):
        penalty()
    with sdpa_kernel(SDPBackend.MATH):
        penalty()
    assert query.grad.isfinite().all()


def test_no_matrix_of_weights_is_charged() -> None:
    class Attend(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return attend(x, x, x, dropout_p=0.1)

    model, x = Attend(), torch.randn(1, 4, 512, 32, requires_grad=True)
    with FP16.arithmetic("cpu"), LiveBytes(model) as meter:
        with FP16.autocast("cpu"):
            out = model(x)
        out.sum().backward()
    half, row = 4 * 512 * 32 * 2, 4 * 512 * 4
    # The input's cast, the result, a log-sum-exp a query, and a scalar loss.
    assert meter.peak_by_kind["activations"] == 2 * half + row + 4
    assert meter.peak < 10 * half


@pytest.mark.parametrize("training", [True, False])
def test_padded_batches_go_through_torchs_own_layers(training: bool) -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).train(training)
    several = nn.MultiheadAttention(32, 4, batch_first=True).train(training)
    x = torch.randn(2, 8, 32, generator=torch.Generator().manual_seed(6))
    padding = torch.tensor([[False] * 8, [False] * 5 + [True] * 3])
    bias = torch.zeros(8, 8)
    with FP16.arithmetic("cpu"):
        with FP16.autocast("cpu"):
            encoded = layer(x, src_key_padding_mask=padding)
            mixed, _ = several(x, x, x, attn_mask=bias, need_weights=False)
        (encoded.float() + mixed).sum().backward()
    assert mixed.dtype == torch.float16
    assert all(p.grad.isfinite().all() for part in (layer, several) for p in part.parameters())


def test_a_trace_names_attention_in_its_module() -> None:
    class Attend(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return attend(x, x, x * 1e4, dropout_p=0.1)

    model = nn.Sequential(nn.Linear(32, 32), Attend())
    (x, *_) = operands(torch.float32)
    with FP16.arithmetic("cpu"), NonFiniteTrace(model, ("a", "b")) as trace:
        with FP16.autocast("cpu"):
            out = model(x)
        out.sum().mul(64.0).backward()
    event = trace.origin([x.grad])
    assert (event.module, event.operation) == ("1", "scaled_dot_product_attention")
    assert event.direction == "backward"
    assert event.kind == "overflow"
    assert event.magnitude > 65504
