"""Necks, between a backbone and the heads, with mmdet's keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.layers.folding import FoldingConv2d, conv_bn
from halftrack.layers.norms import BatchNorm2d

__all__ = ["FPN", "ChannelMapper", "ConvNorm", "LinearMapper"]


class _Conv(nn.Module):
    """A convolution under the key ``conv``, with Xavier's weights."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, features_bchw: Tensor) -> Tensor:
        mapped: Tensor = self.conv(features_bchw)
        return mapped


class ConvNorm(nn.Module):
    """A convolution without padding and its norm, under the keys ``conv`` and ``bn``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int,
        norm: Literal["batch", "group"] | None = "batch",
    ) -> None:
        super().__init__()
        self.conv = FoldingConv2d(in_channels, out_channels, kernel, bias=norm is None)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        if norm is not None:
            group = norm == "group"
            self.bn = nn.GroupNorm(8, out_channels) if group else BatchNorm2d(out_channels)

    def forward(self, features_bchw: Tensor) -> Tensor:
        """The normalised maps; without a norm, those of the convolution."""
        if not hasattr(self, "bn"):
            plain: Tensor = self.conv(features_bchw)
            return plain
        return conv_bn(features_bchw, self.conv, self.bn)


class LinearMapper(nn.Module):
    """A 1x1 convolution and its norm for each map, without a ReLU; keys as ChannelMapper's.

    Args:
        in_channels: channels of each map that comes in.
        out_channels: channels of every map that goes out.
        norm: ``batch``, or ``group`` (8 groups).
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        out_channels: int,
        norm: Literal["batch", "group"] = "batch",
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [ConvNorm(c, out_channels, kernel=1, norm=norm) for c in in_channels]
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The mapped maps, in the same order."""
        return [conv(x) for conv, x in zip(self.convs, maps, strict=True)]


class ChannelMapper(nn.Module):
    """One 3x3 convolution and a ReLU: ``(b, in_channels, h, w)`` to ``(b, out_channels, h, w)``."""

    def __init__(self, *, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([_Conv(in_channels, out_channels, 3)])

    def forward(self, features_bchw: Tensor) -> Tensor:
        """The mapped features."""
        mapped: Tensor = self.convs[0](features_bchw)
        return mapped.relu_()


class FPN(nn.Module):
    """Feature pyramid (Lin et al. 2017, arXiv 1612.03144): coarse maps are added to finer ones.

    Args:
        in_channels: channels of each map that comes in, finest first.
        out_channels: channels of every map that goes out.
    """

    def __init__(self, *, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList([_Conv(c, out_channels, 1) for c in in_channels])
        self.fpn_convs = nn.ModuleList([_Conv(out_channels, out_channels, 3) for _ in in_channels])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """A map ``(b, out_channels, h, w)`` for each, then one of half the coarsest map's size."""
        levels = [conv(x) for conv, x in zip(self.lateral_convs, maps, strict=True)]
        for fine, coarse in zip(reversed(levels[:-1]), reversed(levels[1:]), strict=True):
            # In place: nobody reads a lateral map but the sum.
            fine += F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")
        levels = [conv(x) for conv, x in zip(self.fpn_convs, levels, strict=True)]
        return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]
