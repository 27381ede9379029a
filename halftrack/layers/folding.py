"""Convolutions whose frozen batch norm is folded into their weights, many in one pass."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, TypeGuard, TypeVar
from weakref import ref

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.multiprocessing.reductions import StorageWeakRef

__all__ = ["FoldingConv2d", "Folds", "Norm", "conv_bn", "fold", "folded_copy"]

Norm = nn.BatchNorm2d | nn.GroupNorm
ModelT = TypeVar("ModelT", bound=nn.Module)


class FoldingConv2d(nn.Conv2d):
    """A convolution that can take a batch norm's statistics into its weights; keys as Conv2d's.

    Folded weights that need no gradient are kept until a tensor that they are made of changes. A
    copy makes its own. Changes made through ``.data`` in place are not noticed, as torch does not
    count them.
    """

    _kept: _Kept | None = None

    def product_dtype(self) -> torch.dtype:
        """The dtype that it computes in here and now; one that is kept in fp32 says so."""
        kind = self.weight.device.type
        autocast = torch.is_autocast_enabled(kind)
        return torch.get_autocast_dtype(kind) if autocast else self.weight.dtype

    def train(self, mode: bool = True) -> Self:
        """Begin or end training; what an evaluation kept, training would hold without a use."""
        if mode:
            self._kept = None
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_kept"}


Folds = dict[FoldingConv2d, tuple[Tensor, Tensor]]
"""Weight and bias of each convolution, with the norm behind it in them."""


def conv_bn(x: Tensor, conv: FoldingConv2d, bn: Norm, folds: Folds | None = None) -> Tensor:
    """Convolution and batch norm; as one convolution where the statistics are frozen.

    With fixed statistics BN is a scale and a shift, and these can move into the convolution's
    weights: ``conv(x, w * s) + (beta - mean * s)``, ``s = gamma / sqrt(var + eps)``. Gradients
    reach w, gamma and beta through the product. The convolution's own output is then never stored
    nor rounded, which nearly halves the activations of a training step and spares two passes over
    them.

    Args:
        x: ``(b, c, h, w)``.
        conv: the convolution.
        bn: the norm behind it.
        folds: of a part of the network with this convolution in it; None to fold it alone.
    """
    folded = (fold([(conv, bn)]) if folds is None else folds).get(conv)
    if folded is None:
        normed: Tensor = bn(conv(x))
        return normed
    # Through the module, so that one that is kept in fp32 computes in fp32 here as well.
    convolved: Tensor = conv._conv_forward(x, *folded)
    return convolved


def fold(layers: Sequence[tuple[FoldingConv2d, Norm]]) -> Folds:
    """Fold every frozen norm among convolutions and the norms behind them, all in the same ops.

    The results are in the dtype that autocast would cast them to. What needs no gradient and has
    not changed is taken as it was kept.
    """
    if torch.compiler.is_compiling():
        return {conv: _traced(conv, bn) for conv, bn in layers if _is_frozen(bn)}
    folds: Folds = {}
    learned: list[tuple[FoldingConv2d, nn.BatchNorm2d]] = []
    changed: list[tuple[FoldingConv2d, nn.BatchNorm2d]] = []
    for conv, bn in layers:
        if not _is_frozen(bn):
            continue
        sources = _sources(conv, bn)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in sources):
            learned.append((conv, bn))
        elif conv._kept is not None and conv._kept.is_made_of(sources, conv.product_dtype()):
            folds[conv] = (conv._kept.weight, conv._kept.bias)
        else:
            changed.append((conv, bn))
    if learned:
        folds |= _folded(learned)
    if changed:
        with torch.no_grad():
            made = _folded(changed)
        for conv, bn in changed:
            conv._kept = _Kept(_versions(_sources(conv, bn)), *made[conv])
        folds |= made
    return folds


def folded_copy(model: ModelT) -> ModelT:
    """A copy for inference, whose batch norms are part of its convolutions and gone from its keys.

    In evaluation mode it answers as the model does; nothing of it can be trained.
    """
    made = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(made.modules()):
        for name, conv in list(module.named_children()):
            # Pairs are named conv1 and bn1, conv and bn, or stand one behind the other.
            behind = "1" if name == "0" else name.replace("conv", "bn")
            bn = getattr(module, behind, None)
            if isinstance(conv, FoldingConv2d) and isinstance(bn, nn.BatchNorm2d):
                conv.weight, conv.bias = map(_fixed, fold([(conv, bn)])[conv])
                setattr(module, behind, nn.Identity())
    return made


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


def _is_frozen(bn: Norm) -> TypeGuard[nn.BatchNorm2d]:
    return isinstance(bn, nn.BatchNorm2d) and not bn.training


def _traced(conv: FoldingConv2d, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The fold in ops that a compiler can read and join; nothing is kept."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight * (bn.running_var + bn.eps).rsqrt()
    weight, bias = conv.weight * scale[:, None, None, None], bn.bias - bn.running_mean * scale
    return weight.to(conv.product_dtype()), bias.to(conv.product_dtype())


def _folded(layers: Sequence[tuple[FoldingConv2d, nn.BatchNorm2d]]) -> Folds:
    convs = [conv for conv, _ in layers]
    tensors = zip(
        *[(c.weight, bn.weight, bn.bias, bn.running_mean, bn.running_var) for c, bn in layers],
        strict=True,
    )
    dtypes, eps = [conv.product_dtype() for conv in convs], [bn.eps for _, bn in layers]
    made = _Fold.apply(dtypes, eps, *(tensor for kind in tensors for tensor in kind))
    pairs = zip(made[: len(convs)], made[len(convs) :], strict=True)
    return dict(zip(convs, pairs, strict=True))


class _Fold(torch.autograd.Function):
    """All weights, then all biases, of weights, gammas, betas, means and variances.

    fp32 inside: frozen statistics must not be rounded, eps alone is below the smallest half step
    of a variance.
    """

    @staticmethod
    def forward(
        ctx: Any, dtypes: list[torch.dtype], eps: list[float], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        weights, gammas, betas, means, variances = _split(tensors, 5)
        inverses = torch._foreach_rsqrt(torch._foreach_add(variances, eps))
        scales = torch._foreach_mul(gammas, inverses)
        folded = torch._foreach_mul(weights, _by_channel(scales))
        biases = torch._foreach_sub(betas, torch._foreach_mul(means, scales))
        ctx.save_for_backward(*weights, *means, *inverses, *scales)
        return tuple(_cast([*folded, *biases], [*dtypes, *dtypes]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        weights, means, inverses, scales = _split(ctx.saved_tensors, 4)
        count = len(weights)
        widened = _cast(list(gradients), [weight.dtype for weight in weights] * 2)
        of_weights, of_biases = _split(widened, 2)
        of_gammas: Sequence[Tensor | None] = [None] * count
        if any(ctx.needs_input_grad[2 + count : 2 + 2 * count]):
            products = torch._foreach_mul(of_weights, weights)
            of_scales = [product.sum(dim=(1, 2, 3)) for product in products]
            del products
            shifts = torch._foreach_mul(of_biases, means)
            of_gammas = torch._foreach_mul(torch._foreach_sub(of_scales, shifts), inverses)
        scaled = torch._foreach_mul(of_weights, _by_channel(scales))
        return (None, None, *scaled, *of_gammas, *of_biases, *[None] * 2 * count)


def _split(tensors: Sequence[Tensor], parts: int) -> list[list[Tensor]]:
    size = len(tensors) // parts
    return [list(tensors[start : start + size]) for start in range(0, len(tensors), size)]


def _by_channel(scales: Sequence[Tensor]) -> list[Tensor]:
    return [scale[:, None, None, None] for scale in scales]


def _cast(tensors: list[Tensor], dtypes: Sequence[torch.dtype]) -> list[Tensor]:
    """The tensors in their dtypes; all that change are copied at once."""
    cast = [
        tensor if tensor.dtype == dtype else torch.empty_like(tensor, dtype=dtype)
        for tensor, dtype in zip(tensors, dtypes, strict=True)
    ]
    pairs = [(new, old) for new, old in zip(cast, tensors, strict=True) if new is not old]
    if pairs:
        torch._foreach_copy_([new for new, _ in pairs], [old for _, old in pairs])
    return cast


def _sources(conv: FoldingConv2d, bn: nn.BatchNorm2d) -> list[Tensor]:
    """What a fold is made of; a change of any of them makes it another."""
    sources = (conv.weight, bn.weight, bn.bias, bn.running_mean, bn.running_var)
    # Batch norm moves its running statistics without counting a new version of them.
    return [tensor for tensor in (*sources, bn.num_batches_tracked) if tensor is not None]


class _Version(NamedTuple):
    """The state a tensor was in."""

    tensor: ref[Tensor]
    number: int
    storage: StorageWeakRef
    """Keeps the address from being given to another storage."""


class _Kept(NamedTuple):
    """A folded weight and bias, and what they were made of."""

    versions: tuple[_Version, ...]
    weight: Tensor
    bias: Tensor

    def is_made_of(self, tensors: Sequence[Tensor], dtype: torch.dtype) -> bool:
        return (
            self.weight.dtype == dtype
            and len(tensors) == len(self.versions)
            and all(
                then.tensor() is now
                and then.number == now._version
                and then.storage.cdata == now.untyped_storage()._cdata
                for then, now in zip(self.versions, tensors, strict=True)
            )
        )


def _versions(tensors: Sequence[Tensor]) -> tuple[_Version, ...]:
    return tuple(
        _Version(ref(tensor), tensor._version, StorageWeakRef(tensor.untyped_storage()))
        for tensor in tensors
    )
