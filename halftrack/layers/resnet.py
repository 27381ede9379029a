"""ResNet and ResNeXt backbones in the 'pytorch' style (stride in the 3x3), with dilated stages.

He et al. 2016, Xie et al. 2017; keys are torchvision's and mmdet's. A frozen BN is folded into its
convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from halftrack.bounds import Bounds, check_bounds
from halftrack.errors import UserError
from halftrack.layers.folding import FoldingConv2d, Folds, Norm, conv_bn, fold
from halftrack.layers.norms import BatchNorm2d

__all__ = ["ResNet", "ResNetConfig"]

_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """Settings of a ResNet; the defaults are SELSA's R50-DC5."""

    depth: Literal[18, 50, 101] = 50
    """Number of layers."""
    base_channels: Annotated[int, Bounds(least=1, most=4096)] = 64
    """Channels of the stem."""
    groups: Annotated[int, Bounds(least=1, most=1024)] = 1
    """Groups of the 3x3 convolutions; 64 for ResNeXt-101 64x4d."""
    width_per_group: Annotated[int, Bounds(least=1, most=4096)] = 64
    """Channels per group in the first stage, for a stem of 64; 4 for ResNeXt-101 64x4d."""
    strides: Annotated[tuple[int, ...], Bounds(least=1, most=8)] = (1, 2, 2, 1)
    """Stride of each stage."""
    dilations: Annotated[tuple[int, ...], Bounds(least=1, most=64)] = (1, 1, 1, 2)
    """Dilation of each stage, from its first block on."""
    siamese: bool = False
    """SiamRPN++'s own padding and dilation (Li et al. 2019, arXiv 1812.11703): none around strided
    convolutions, half the dilation in the first block of a stage, 3x3 shortcuts there."""
    outputs: Annotated[tuple[int, ...], Bounds(least=1, most=4)] = (4,)
    """Stages (1 to 4) whose features are returned, in rising order."""
    frozen_stages: Annotated[int, Bounds(least=-1, most=4)] = 1
    """Stages, with the stem, whose parameters do not train; -1 for none, not even the stem."""
    frozen_bn: bool = True
    """BN normalises with its running statistics in training too; scale and shift still train."""
    norm: Literal["batch", "group"] = "batch"
    """``group`` (8 groups) is for training from scratch on few images (He et al. 2019, Rethinking
    ImageNet Pre-training): it keeps no statistics, which might not fit another video."""
    recompute: Annotated[tuple[int, ...], Bounds(least=1, most=4)] = ()
    """Stages (1 to 4) whose activations are computed again in the backward pass."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.depth not in _BLOCKS:
            raise UserError(f"depth={self.depth}: expected one of {', '.join(map(str, _BLOCKS))}")
        for name in ("strides", "dilations"):
            if len(getattr(self, name)) != 4:
                raise UserError(f"{name}={getattr(self, name)}: expected one for each of 4 stages")
        if not self.outputs or list(self.outputs) != sorted(set(self.outputs) & {1, 2, 3, 4}):
            raise UserError(f"outputs={self.outputs}: expected stages 1 to 4 in rising order")
        if self.recompute and self.norm == "batch" and not self.frozen_bn:
            raise UserError(
                f"recompute={self.recompute} needs frozen_bn: a recomputed stage would count every "
                "image twice in its batch norm's statistics"
            )
        self._check_channels()

    def _check_channels(self) -> None:
        """Channels must suffice for each block, and be as many as the norm's groups share."""
        if self.depth == 18 and (self.groups, self.width_per_group) != (1, 64):
            raise UserError(
                f"groups={self.groups}, width_per_group={self.width_per_group}: the blocks of "
                "depth=18 have no groups; expected groups=1 and width_per_group=64"
            )
        middle = self.base_channels * self.width_per_group // 64 * self.groups
        if middle < 1:
            raise UserError(
                f"base_channels={self.base_channels}, width_per_group={self.width_per_group}: the "
                "blocks would have no channel; expected a product of at least 64"
            )
        if self.norm == "group" and (self.base_channels % 8 or middle % 8):
            raise UserError(
                f"base_channels={self.base_channels}, groups={self.groups}, width_per_group="
                f"{self.width_per_group}: norm='group' has 8 groups, expected channels of the stem "
                f"and of the blocks ({middle}) in multiples of 8"
            )

    @property
    def feature_strides(self) -> tuple[int, ...]:
        """Pixels of the image between two cells of each returned stage's map."""
        return tuple(4 * math.prod(self.strides[:stage]) for stage in self.outputs)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each returned stage."""
        expansion = 1 if self.depth == 18 else 4
        return tuple(self.base_channels * expansion * 2 ** (stage - 1) for stage in self.outputs)

    @property
    def display_name(self) -> str:
        """Name of the backbone in tables, e.g. R-50-DC5."""
        name = f"X-{self.depth}-{self.groups}x{self.width_per_group}d" if self.groups > 1 else ""
        dilated = "-DC5" if self.dilations[-1] > 1 and not self.siamese else ""
        return f"{name or f'R-{self.depth}'}{dilated}{' (SOT)' if self.siamese else ''}"


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
        conv, bn = self.downsample
        assert isinstance(conv, FoldingConv2d)
        assert isinstance(bn, Norm)
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
        for stage, blocks in enumerate(_BLOCKS[config.depth]):
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
        x = F.max_pool2d(x, 3, 2, 1)
        features = []
        for number, stage in enumerate(self.stages, start=1):
            if number in self.config.recompute and torch.is_grad_enabled():
                x = checkpoint(stage, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = stage(x)
            if number in self.config.outputs:
                features.append(x)
        return tuple(features)
