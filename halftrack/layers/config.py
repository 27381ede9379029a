"""The configuration of a ResNet backbone, which every model has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from halftrack.bounds import Bounds, check_bounds
from halftrack.errors import UserError

__all__ = ["BLOCKS", "ResNetConfig"]

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks of each stage, by depth."""


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
        if self.depth not in BLOCKS:
            raise UserError(f"depth={self.depth}: expected one of {', '.join(map(str, BLOCKS))}")
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
