"""Small modules that use torch.nn in the ways of other people's code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Padded", "Scaled", "Tagger", "Words", "Wrapped", "attended", "masked", "within"]


class Tagger(nn.Module):
    """A recurrent network with a head."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 32)
        self.recurrent, self.head = kind(32, 32, batch_first=True), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of each place."""
        return self.head(self.recurrent(self.embed(x))[0])


class Padded(nn.Module):
    """An encoder with a padding mask."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of each place; the last two are padding."""
        padding = torch.zeros(x.shape[:2], dtype=torch.bool)
        padding[:, -2:] = True
        return self.head(self.encoder(x, src_key_padding_mask=padding))


class Wrapped(nn.Module):
    """Two layers around a middle part that is computed as some people's code does it."""

    def __init__(self, middle: Callable[[nn.Module, Tensor], Tensor], inner: nn.Module) -> None:
        super().__init__()
        self.first, self.inner, self.head = nn.Linear(32, 64), inner, nn.Linear(64, 5)
        self._middle = middle

    def forward(self, x: Tensor) -> Tensor:
        """The scores of each place."""
        return self.head(self._middle(self.inner, self.first(x).relu()))


class Scaled(torch.autograd.Function):
    """A function of one's own that asks for fp32."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Half the values."""
        return x * 0.5

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Half the gradient."""
        return gradient * 0.5


class Words(nn.Module):
    """Embeddings with sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 32, sparse=True)
        self.body, self.head = nn.Linear(32, 64), nn.Linear(64, 5)

    def forward(self, words: Tensor) -> Tensor:
        """The scores of each place."""
        return self.head(self.body(self.embed(words)).relu())


def within(device: str) -> Callable[[nn.Module, Tensor], Tensor]:
    def middle(inner: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast(device, enabled=False):
            return inner(x.float())

    return middle


def attended(inner: nn.Module, x: Tensor, **how: Any) -> Tensor:
    return x + inner(x, x, x, **how)[0]


def masked(inner: nn.Module, x: Tensor) -> Tensor:
    heads = inner(x).unflatten(2, (4, 16)).transpose(1, 2)
    hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
    made = F.scaled_dot_product_attention(heads, heads, heads, attn_mask=hidden)
    return made.transpose(1, 2).flatten(2)
