"""Convolutions whose frozen batch norm is folded into their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from halftrack.precision import fp32_island

__all__ = ["FoldingConv2d", "Norm", "conv_bn"]

Norm = nn.BatchNorm2d | nn.GroupNorm


class FoldingConv2d(nn.Conv2d):
    """A convolution that can take a batch norm's statistics into its weights; keys as Conv2d's.

    Folded weights that need no gradient are kept until a tensor that they are made of changes. A
    copy makes its own. Changes made through ``.data`` in place are not noticed, as torch does not
    count them.
    """

    _kept: _Fold | None = None

    def folded(self, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
        """The weight and bias of the convolution and the norm behind it, as one convolution."""
        sources = (self.weight, bn.weight, bn.bias, bn.running_mean, bn.running_var)
        present = [tensor for tensor in sources if tensor is not None]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in present):
            return _fold(*sources, bn.eps)
        if bn.num_batches_tracked is not None:
            # Batch norm moves its running statistics without counting a new version of them.
            present.append(bn.num_batches_tracked)
        kept = self._kept
        if kept is None or not kept.is_made_of(present):
            kept = self._kept = _Fold(_versions(present), *_fold(*sources, bn.eps))
        return kept.weight, kept.bias

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_kept"}


def conv_bn(x: Tensor, conv: FoldingConv2d, bn: Norm) -> Tensor:
    """Convolution and batch norm; as one convolution where the statistics are frozen.

    With fixed statistics BN is a scale and a shift, and these can move into the convolution's
    weights: ``conv(x, w * s) + (beta - mean * s)``, ``s = gamma / sqrt(var + eps)``. Gradients
    reach w, gamma and beta through the product. The convolution's own output is then never stored
    nor rounded, which nearly halves the activations of a training step and spares two passes over
    them.
    """
    if isinstance(bn, nn.GroupNorm) or bn.training:
        normed: Tensor = bn(conv(x))
        return normed
    weight, bias = conv.folded(bn)
    # Through the module, so that one that is kept in fp32 computes in fp32 here as well.
    convolved: Tensor = conv._conv_forward(x, weight, bias)
    return convolved


class _Version(NamedTuple):
    """The state a tensor was in."""

    tensor: ref[Tensor]
    number: int
    storage: StorageWeakRef
    """Keeps the address from being given to another storage."""


class _Fold(NamedTuple):
    """A folded weight and bias, and what they were made of."""

    versions: tuple[_Version, ...]
    weight: Tensor
    bias: Tensor

    def is_made_of(self, tensors: Sequence[Tensor]) -> bool:
        return len(tensors) == len(self.versions) and all(
            then.tensor() is now
            and then.number == now._version
            and then.storage.cdata == now.untyped_storage()._cdata
            for then, now in zip(self.versions, tensors, strict=True)
        )


def _versions(tensors: Sequence[Tensor]) -> tuple[_Version, ...]:
    return tuple(
        _Version(ref(tensor), tensor._version, StorageWeakRef(tensor.untyped_storage()))
        for tensor in tensors
    )


@fp32_island
def _fold(
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    # Frozen statistics must not be rounded: eps alone is below the smallest half step of a
    # variance.
    assert mean is not None
    assert variance is not None
    scale = gamma * torch.rsqrt(variance + eps)
    return weight * scale[:, None, None, None], beta - mean * scale
