"""Scaled dot-product attention as a GPU's fused kernels compute it, forward and backward.

The arithmetic of FlashAttention-2 (Dao 2023, arXiv 2307.08691): products of halves are summed in
fp32, softmax and its log-sum-exp stay fp32, the weights are rounded to half for the product with
the values before they are divided by their sum, and each result is rounded once. A kernel that
goes through the keys in blocks rounds weights against the largest score so far; here it is that of
all keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from halftrack.precision.dtypes import HALF, widen

__all__ = ["KERNELS", "attention"]

_composite = torch.ops.aten.scaled_dot_product_attention.default
# One block of queries is computed at a time, so that no more scores than these exist at once.
_SCORES_AT_ONCE = 1 << 22

# Ops of their own, so that traces and meters see attention as one op, as on a GPU.
_library = torch.library.Library("halftrack", "DEF")
_HOW = "Tensor? mask, bool is_causal, float scale, float dropout_p, Tensor? drawn_from"
_library.define(
    f"scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, {_HOW})"
    " -> (Tensor, Tensor)"
)
_library.define(
    "scaled_dot_product_attention_backward(Tensor gradient, Tensor out, Tensor logsumexp, "
    f"Tensor query, Tensor key, Tensor value, {_HOW}, bool learns_mask)"
    " -> (Tensor, Tensor, Tensor, Tensor?)"
)
_forward = torch.ops.halftrack.scaled_dot_product_attention.default
_backward = torch.ops.halftrack.scaled_dot_product_attention_backward.default


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention with the arguments of ``torch.nn.functional.scaled_dot_product_attention``.

    What a GPU computes with other ops is computed with them here too: attention in fp32, of other
    than 4 dimensions, and all within ``sdpa_kernel(SDPBackend.MATH)``. Dropout draws what it draws
    in fp32 on a CPU.

    Raises:
        RuntimeError: by a backward pass of the backward pass, as the fused kernels do.
    """
    if not _is_fused(query, key, value, attn_mask, is_causal, enable_gqa):
        composed: Tensor = _composite.decompose(
            *(query, key, value, attn_mask, dropout_p, is_causal),
            scale=scale,
            enable_gqa=enable_gqa,
        )
        return composed
    if scale is None:
        scale = query.shape[-1] ** -0.5
    drawn_from = torch.get_rng_state() if dropout_p > 0.0 else None
    how = (attn_mask, is_causal, scale, dropout_p, drawn_from)
    fused: Tensor = _Attention.apply(query, key, value, *how)
    return fused


def _is_fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    enable_gqa: bool,
) -> bool:
    """True where a GPU has one kernel for all of it, and the arguments fit together."""
    three = (query, key, value)
    if query.dtype not in HALF or any(each.dtype != query.dtype for each in three):
        return False
    if any(each.dim() != 4 or each.numel() == 0 for each in three):
        return False
    if key.shape[:3] != value.shape[:3] or query.shape[0] != key.shape[0]:
        return False
    groups, left = divmod(query.shape[1], key.shape[1])
    if query.shape[3] != key.shape[3] or left or (groups > 1 and not enable_gqa):
        return False
    if mask is not None and (is_causal or mask.dtype not in (torch.bool, query.dtype)):
        return False
    switches = torch.backends.cuda
    return torch._C._functorch.peek_interpreter_stack() is None and (
        switches.flash_sdp_enabled()
        or switches.mem_efficient_sdp_enabled()
        or switches.cudnn_sdp_enabled()
    )


class _Attention(torch.autograd.Function):
    """Attention that keeps its operands, result and log-sum-exp, and no matrix of weights."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, *how: Any) -> Tensor:
        # With gradients enabled, for traces take it that the newest node is this op's.
        with torch.enable_grad(), torch._C._AutoDispatchBelowAutograd():
            out, logsumexp = _forward(query, key, value, *how)
        mask, *ctx.how = how
        ctx.save_for_backward(out, logsumexp, query, key, value, mask)
        result: Tensor = out
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        learns_mask = ctx.needs_input_grad[3]
        gradients = _Gradients.apply(gradient, *ctx.saved_tensors, *ctx.how, learns_mask)
        return (*gradients, None, None, None, None)


class _Gradients(torch.autograd.Function):
    """The backward pass, which has none itself."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        *_, drawn_from, _ = inputs
        # The draws of dropout are taken again; the random numbers of the step stay where they are.
        forked = torch.random.fork_rng(devices=[], enabled=drawn_from is not None)
        with torch._C._AutoDispatchBelowAutograd(), forked:
            return _backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(
            "a GPU's fused attention has no second derivative: compute what needs one, such as a "
            "gradient penalty, within torch.nn.attention.sdpa_kernel(SDPBackend.MATH)"
        )


class _Block(NamedTuple):
    """Some queries with all keys."""

    rows: slice
    scores: Tensor
    """Scaled products in fp32 with the mask added, -inf where a key is hidden."""
    kept: Tensor | None
    """What dropout leaves, 1 or 0; None without dropout."""


def _blocks(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float,
    dropout_p: float,
    drawn_from: Tensor | None,
) -> Iterator[_Block]:
    shape = (*query.shape[:3], key.shape[2])
    bias = None if mask is None else _as_bias(mask).expand(shape)
    kept = None
    if drawn_from is not None:
        # The generator is put to where the draws began, and left where they end.
        torch.set_rng_state(drawn_from)
        kept = torch.empty(shape, dtype=torch.bool, device=query.device)
        kept.bernoulli_(1.0 - dropout_p)
    rows_at_once = max(1, _SCORES_AT_ONCE // (shape[0] * shape[1] * shape[3]))
    for start in range(0, shape[2], rows_at_once):
        rows = slice(start, start + rows_at_once)
        scores = torch.matmul(query[:, :, rows], key.transpose(2, 3)).mul_(scale)
        if bias is not None:
            scores += bias[:, :, rows]
        if is_causal:
            hidden = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device)
            scores.masked_fill_(hidden.triu_(start + 1), -torch.inf)
        yield _Block(rows, scores, None if kept is None else kept[:, :, rows])


def _kept_share(dropout_p: float) -> float:
    """What dropout divides by: 1 where nothing is kept, so that the result is 0."""
    return 1.0 - dropout_p or 1.0


def _as_bias(mask: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.float()
    bias = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    return bias.masked_fill_(~mask, -torch.inf)


def _per_query_head(tensor: Tensor, query: Tensor) -> Tensor:
    """Keys or values in fp32, repeated where several heads of queries share a head of theirs."""
    wide: Tensor = widen(tensor)
    groups = query.shape[1] // tensor.shape[1]
    return wide if groups == 1 else wide.repeat_interleave(groups, dim=1)


def _forward_kernel(query: Tensor, key: Tensor, value: Tensor, *how: Any) -> tuple[Tensor, Tensor]:
    """Result in the query's dtype, (N, H, L, Ev), and log-sum-exp in fp32, (N, H, L, 1)."""
    dtype, dropout_p = query.dtype, how[3]
    keys, values = _per_query_head(key, query), _per_query_head(value, query)
    results, sums = [], []
    for _, scores, kept in _blocks(widen(query), keys, *how):
        largest = scores.amax(3, keepdim=True)
        # A row without a key has the result 0: it subtracts and divides by what changes nothing.
        largest.masked_fill_(largest == -torch.inf, 0.0)
        weights = scores.sub_(largest).exp_()
        total = weights.sum(3, keepdim=True)
        total.masked_fill_(total == 0.0, 1.0)
        sums.append(largest.add_(total.log()))
        rounded = weights.to(dtype)
        if kept is not None:
            rounded *= kept
            total *= _kept_share(dropout_p)
        results.append((torch.matmul(widen(rounded), values) / total).to(dtype))
    return torch.cat(results, dim=2), torch.cat(sums, dim=2)


def _backward_kernel(
    gradient: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *how_and_whether: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of query, key, value and, where it learns, mask, in their dtypes."""
    *how, learns_mask = how_and_whether
    mask, _, scale, dropout_p, _ = how
    dtype, keep = query.dtype, _kept_share(dropout_p)
    queries, gradients = widen(query), widen(gradient)
    keys, values = _per_query_head(key, query), _per_query_head(value, query)
    products = (gradients * widen(out)).sum(3, keepdim=True)
    dq, dk, dv = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
    of_scores = []
    for rows, scores, kept in _blocks(queries, keys, *how):
        weights = scores.sub_(logsumexp[:, :, rows]).exp_()
        upstream = gradients[:, :, rows]
        rounded = weights.to(dtype)
        dweights = torch.matmul(upstream, values.transpose(2, 3))
        if kept is not None:
            rounded *= kept
            dweights *= kept
        dv += torch.matmul(widen(rounded).transpose(2, 3), upstream)
        # Dropout's factor 1 / keep is taken out of it and put into each product.
        dscores = dweights.sub_(products[:, :, rows] * keep).mul_(weights).to(dtype)
        dq[:, :, rows] = torch.matmul(widen(dscores), keys)
        dk += torch.matmul(widen(dscores).transpose(2, 3), queries[:, :, rows])
        if learns_mask:
            of_scores.append(dscores / keep)
    dmask = torch.cat(of_scores, dim=2).sum_to_size(mask.shape) if learns_mask else None
    factor = scale / keep
    dk, dv = (_per_key_head(each, key, dtype) for each in (dk.mul_(factor), dv.div_(keep)))
    return dq.mul_(factor).to(dtype), dk, dv, dmask


def _per_key_head(gradient: Tensor, like: Tensor, dtype: torch.dtype) -> Tensor:
    """The gradient of each query's head, rounded, and added up over those that shared a head."""
    rounded = gradient.to(dtype)
    heads = like.shape[1]
    if gradient.shape[1] == heads:
        return rounded
    total: Tensor = rounded.float().unflatten(1, (heads, -1)).sum(2)
    return total.to(dtype)


_library.impl("scaled_dot_product_attention", _forward_kernel, "CompositeExplicitAutograd")
_library.impl(
    "scaled_dot_product_attention_backward", _backward_kernel, "CompositeExplicitAutograd"
)


def _ignoring_dtype(kernel: Callable[..., Any]) -> Callable[..., Any]:
    return lambda args, kwargs, dtype: kernel(*args, **kwargs)


KERNELS = {_forward: _ignoring_dtype(_forward_kernel), _backward: _ignoring_dtype(_backward_kernel)}
"""The ops of attention and how they are computed, for ``TensorCores``."""
