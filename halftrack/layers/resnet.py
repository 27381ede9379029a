"""ResNet and ResNeXt backbones in the 'pytorch' style (stride in the 3x3), with dilated stages.

He et al. 2016, Xie et al. 2017; keys are torchvision's and mmdet's. A frozen BN is folded into its
convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from halftrack.layers.config import BLOCKS, ResNetConfig
from halftrack.layers.folding import FoldingConv2d, Folds, Norm, conv_bn, fold
from halftrack.layers.norms import BatchNorm2d
from halftrack.layers.pooling import pool_stem

__all__ = ["ResNet"]


@dataclass(frozen=True)
class _Spatial:
    """Geometry of the 3x3 convolution that opens a block, and of the shortcut beside it."""

    stride: int = 1
    dilation: int = 1
    padding: int = 1
    shortcut: int = 1  # kernel


def _spatial(config: ResNetConfig, stage: int, block: int) -> _Spatial:
    """The geometry of a block, both numbers counted from 0."""
    dilation = config.dilations[stage]
    if block:
        return _Spatial(dilation=dilation, padding=dilation)
    stride = config.strides[stage]
    if not config.siamese:
        return _Spatial(stride, dilation, dilation)
    shortcut = 1 if stride == dilation == 1 else 3
    dilation = max(dilation // 2, 1)
    return _Spatial(stride, dilation, 0 if stride > 1 else dilation, shortcut)


def _conv(
    inp: int, out: int, kernel: int, spatial: _Spatial | None = None, groups: int = 1
) -> FoldingConv2d:
    at = spatial or _Spatial(padding=kernel // 2)
    padding, dilation = (0, 1) if kernel == 1 else (at.padding, at.dilation)
    conv = FoldingConv2d(inp, out, kernel, at.stride, padding, dilation, groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class _Block(nn.Module):
    """Base of both kinds of block, with the shortcut."""

    downsample: nn.Sequential | None

    def layers(self) -> list[tuple[FoldingConv2d, Norm]]:
        """Its convolutions and the norms behind them, the shortcut's last."""
        names = [name for name in ("1", "2", "3") if hasattr(self, f"conv{name}")]
        pairs = [(getattr(self, f"conv{name}"), getattr(self, f"bn{name}")) for name in names]
        if self.downsample is not None:
            pairs.append(cast(tuple[FoldingConv2d, Norm], tuple(self.downsample)))
        return pairs

    def shortcut(self, x: Tensor, folds: Folds | None) -> Tensor:
        if self.downsample is None:
            return x
        conv, bn = self.layers()[-1]
        return conv_bn(x, conv, bn, folds)


class _BasicBlock(_Block):
    def __init__(
        self,
        inp: int,
        out: int,
        *,
        middle: int,
        spatial: _Spatial,
        groups: int,
        norm: Callable[[int], Norm],
    ) -> None:
        super().__init__()
        self.conv1 = _conv(inp, out, 3, spatial)
        self.bn1 = norm(out)
        self.conv2 = _conv(out, out, 3, _Spatial(1, spatial.dilation, spatial.dilation))
        self.bn2 = norm(out)
        self.downsample = _downsample(inp, out, spatial, norm)

    def forward(self, x: Tensor, folds: Folds | None = None) -> Tensor:
        out = conv_bn(x, self.conv1, self.bn1, folds).relu_()
        out = conv_bn(out, self.conv2, self.bn2, folds)
        return out.add_(self.shortcut(x, folds)).relu_()


class _Bottleneck(_Block):
    def __init__(
        self,
        inp: int,
        out: int,
        *,
        middle: int,
        spatial: _Spatial,
        groups: int,
        norm: Callable[[int], Norm],
    ) -> None:
        super().__init__()
        self.conv1 = _conv(inp, middle, 1)
        self.bn1 = norm(middle)
        self.conv2 = _conv(middle, middle, 3, spatial, groups)
        self.bn2 = norm(middle)
        self.conv3 = _conv(middle, out, 1)
        self.bn3 = norm(out)
        self.downsample = _downsample(inp, out, spatial, norm)

    def forward(self, x: Tensor, folds: Folds | None = None) -> Tensor:
        out = conv_bn(x, self.conv1, self.bn1, folds).relu_()
        out = conv_bn(out, self.conv2, self.bn2, folds).relu_()
        out = conv_bn(out, self.conv3, self.bn3, folds)
        return out.add_(self.shortcut(x, folds)).relu_()


def _downsample(
    inp: int, out: int, spatial: _Spatial, norm: Callable[[int], Norm]
) -> nn.Sequential | None:
    if inp == out and spatial.stride == 1:
        return None
    return nn.Sequential(_conv(inp, out, spatial.shortcut, spatial), norm(out))


class _Stage(nn.Sequential):
    """Blocks, whose frozen norms are folded in one pass: each alone would cost a dozen launches."""

    # By stage: one that is recomputed folds again and keeps no folded weights meanwhile.
    def forward(self, x: Tensor) -> Tensor:
        blocks = cast(list[_Block], list(self))
        folds = fold([pair for block in blocks for pair in block.layers()])
        for block in blocks:
            x = block(x, folds)
        return x


class ResNet(nn.Module):
    """Backbone: images ``(b, 3, h, w)`` to features ``(b, c, h / s, w / s)`` of some stages."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        stem = _Spatial(stride=2, padding=0 if config.siamese else 3)
        self.conv1 = _conv(3, config.base_channels, 7, stem)
        norm = BatchNorm2d if config.norm == "batch" else partial(nn.GroupNorm, 8)
        self.bn1 = norm(config.base_channels)
        channels = config.base_channels
        expansion = 1 if config.depth == 18 else 4
        for stage, blocks in enumerate(BLOCKS[config.depth]):
            planes = config.base_channels * 2**stage
            middle = planes * config.width_per_group // 64 * config.groups
            layers: list[nn.Module] = []
            for index in range(blocks):
                layers.append(
                    (_BasicBlock if expansion == 1 else _Bottleneck)(
                        channels,
                        planes * expansion,
                        middle=middle,
                        spatial=_spatial(config, stage, index),
                        groups=config.groups,
                        norm=norm,
                    )
                )
                channels = planes * expansion
            self.add_module(f"layer{stage + 1}", _Stage(*layers))
        if config.siamese and config.norm == "batch":
            # As mmdet without a checkpoint, each block begins as its shortcut: raw pixels would
            # else grow past fp16's 65504 where no training has measured what norms divide by.
            for name, weight in self.named_parameters():
                if name.endswith("bn2.weight" if expansion == 1 else "bn3.weight"):
                    nn.init.zeros_(weight)
        self._freeze()

    @property
    def stages(self) -> Sequence[nn.Module]:
        """``layer1`` to ``layer4``."""
        return [getattr(self, f"layer{stage}") for stage in range(1, 5)]

    def parts_in_order(self) -> list[list[nn.Module]]:
        """The stem, then each stage: processes that divide the weights make one whole at a time."""
        return [[self.conv1, self.bn1], *([stage] for stage in self.stages)]

    def _freeze(self) -> None:
        frozen: list[nn.Module] = []
        if self.config.frozen_stages >= 0:
            frozen = [self.conv1, self.bn1, *self.stages[: self.config.frozen_stages]]
        for module in frozen:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> ResNet:
        """Set training mode, except for BN with frozen statistics."""
        super().train(mode)
        still: Sequence[nn.Module] = [self]
        if not self.config.frozen_bn:
            still = self.stages[: max(self.config.frozen_stages, 0)]
            if self.config.frozen_stages >= 0:
                still = [self.bn1, *still]
        for part in still:
            for module in part.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images_bchw: Tensor) -> tuple[Tensor, ...]:
        """The features of the stages named by ``outputs``, in the memory format of the weights."""
        if self.conv1.weight.is_contiguous(memory_format=torch.channels_last):
            images_bchw = images_bchw.contiguous(memory_format=torch.channels_last)
        x = conv_bn(images_bchw, self.conv1, self.bn1).relu_()
        x = pool_stem(x)
        features = []
        for number, stage in enumerate(self.stages, start=1):
            if number in self.config.recompute and torch.is_grad_enabled():
                x = checkpoint(stage, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = stage(x)
            if number in self.config.outputs:
                features.append(x)
        return tuple(features)
