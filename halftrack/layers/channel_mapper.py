"""The neck of the dilated detectors: one 3x3 convolution and a ReLU. Keys ``convs.0.conv.*``."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["ChannelMapper"]


class _ConvModule(nn.Module):
    """A convolution under the key ``conv``, followed by a ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, features_bchw: Tensor) -> Tensor:
        mapped: Tensor = self.conv(features_bchw)
        return mapped.relu_()


class ChannelMapper(nn.Module):
    """Maps ``(b, in_channels, h, w)`` to ``(b, out_channels, h, w)``."""

    def __init__(self, *, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([_ConvModule(in_channels, out_channels)])

    def forward(self, features_bchw: Tensor) -> Tensor:
        """The mapped features."""
        mapped: Tensor = self.convs[0](features_bchw)
        return mapped
