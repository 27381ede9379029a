"""SiamRPN++: where in a search region is what the template shows.

Li et al. 2019 (arXiv 1812.11703); numerically MMTracking 0.14's SiamRPN, with its state-dict keys.
Legend: n anchors in the order (row, column, anchor); boxes in pixels of their crop; RGB, 0 to 255.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.bounds import Bounds, check_bounds
from halftrack.boxes import encode_deltas
from halftrack.errors import UserError
from halftrack.frames import PairBatch
from halftrack.layers import (
    ConvNorm,
    LinearMapper,
    ResNet,
    ResNetConfig,
    SiameseGeometry,
    depthwise_correlation,
)
from halftrack.models.matching import MatchingConfig, assign, require_area, sample
from halftrack.precision import fp32_island

__all__ = ["PairTargets", "SiamRPN", "SiamRPNConfig"]


def _backbone() -> ResNetConfig:
    return ResNetConfig(
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        siamese=True,
        outputs=(2, 3, 4),
        frozen_stages=4,
    )


@dataclass(frozen=True, kw_only=True)
class SiamRPNConfig:
    """The whole model; the defaults are the published R50."""

    backbone: ResNetConfig = field(default_factory=_backbone)
    """The feature extractor."""
    neck_channels: Annotated[int, Bounds(least=1, most=16_384)] = 256
    """Channels of every map behind the neck."""
    norm: Literal["batch", "group"] = "batch"
    """Norm of neck and head; ``group`` for training from scratch on few videos."""
    geometry: SiameseGeometry = field(default_factory=SiameseGeometry)
    """Sizes of template and search region, and the anchors; data and tracker take them too."""
    matching: MatchingConfig = MatchingConfig(
        positive_iou=0.6,
        negative_iou=0.3,
        low_quality_iou=None,
        num_samples=64,
        positive_fraction=0.25,
    )
    """Matching of anchors to the object of a positive pair."""
    num_negatives: Annotated[int, Bounds(least=1, most=100_000)] = 16
    """Anchors drawn of a negative pair."""
    negative_cells: Annotated[int, Bounds(least=1, most=512)] = 7
    """Cells a side, around the other object, that they are drawn from."""
    box_weight: Annotated[float, Bounds(least=0, most=1000)] = 1.2
    """Weight of the box loss."""

    def __post_init__(self) -> None:
        check_bounds(self)
        backbone = self.backbone
        if not backbone.siamese or set(backbone.feature_strides) != {self.geometry.stride}:
            raise UserError(
                f"backbone.siamese={backbone.siamese}, backbone.strides={backbone.strides}, "
                f"backbone.outputs={backbone.outputs}: the cells of the geometry are "
                f"{self.geometry.stride} pixels apart on every map"
            )
        if self.norm == "group" and self.neck_channels % 8:
            raise UserError(
                f"neck_channels={self.neck_channels}: norm='group' has 8 groups, expected a "
                "multiple of 8"
            )

    def build(self) -> SiamRPN:
        """The model with random weights."""
        return SiamRPN(self)


@dataclass(frozen=True)
class PairTargets:
    """Targets of the anchors of one pair."""

    sampled: Tensor
    """int64 ``(s,)`` anchors whose class counts, positives first."""
    positive: Tensor
    """int64 ``(p,)`` anchors that are on the object."""
    deltas: Tensor
    """``(p, 4)`` from these to the object."""
    weights: Tensor
    """``(s,)`` of the sampled ones: each side of a pair weighs a half."""


class SiamRPN(nn.Module):
    """In training pairs give losses; in evaluation a template is embedded and compared."""

    def __init__(self, config: SiamRPNConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNet(config.backbone)
        self.neck = LinearMapper(
            in_channels=config.backbone.out_channels,
            out_channels=config.neck_channels,
            norm=config.norm,
        )
        self.head = _Head(config)

    def forward(self, pairs: PairBatch) -> dict[str, Tensor]:
        """fp32 losses in training mode.

        Raises:
            TypeError: in evaluation mode, which is for ``embed`` and ``compare``.
            UserError: if the box of a pair has no area or is not finite.
        """
        if not self.training or not isinstance(pairs, PairBatch):
            raise TypeError(
                "SiamRPN takes a PairBatch in training mode; in evaluation mode call embed() and "
                f"compare(), got a {type(pairs).__name__}"
            )
        # Host sync: flags and boxes at once.
        flags = pairs.positive[:, None].to(pairs.boxes_xyxy)
        *corners, positive = zip(*torch.cat([pairs.boxes_xyxy, flags], dim=1).tolist(), strict=True)
        require_area(corners, pairs.sample_ids)
        logits, deltas = self.head(
            self._centres(self.features(pairs.templates)), self.features(pairs.searches)
        )
        rows, columns = logits.shape[-2:]
        targets = [
            self.assign(box, bool(flag), rows, columns)
            for box, flag in zip(pairs.boxes_xyxy, positive, strict=True)
        ]
        return self._losses(_by_anchor(logits, 2), _by_anchor(deltas, 4), targets)

    def features(self, images_bchw: Tensor) -> list[Tensor]:
        """Maps ``(b, c, h, w)`` of raw RGB images."""
        # BGR, not normalised: what the published backbone was trained on.
        maps: list[Tensor] = self.neck(self.backbone(images_bchw.float().flip(1)))
        return maps

    @torch.no_grad()
    def embed(self, template_chw: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Template features of each level, slid over search regions; computed once a video."""
        template = template_chw.to(self.head.cls_weight.device)
        return self.head.embed(self._centres(self.features(template[None])))

    @torch.no_grad()
    def compare(
        self, embedding: list[tuple[Tensor, Tensor]], search_chw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores ``(n,)`` in [0, 1] and deltas ``(n, 4)`` of all anchors of a search region."""
        search = search_chw.to(self.head.cls_weight.device)
        logits, deltas = self.head.compare(embedding, self.features(search[None]))
        scores = _by_anchor(logits, 2)[0].float().softmax(dim=1)[:, 1]
        return scores, _by_anchor(deltas, 4)[0].float()

    def anchors(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """fp32 ``(n, 4)`` xyxy in pixels of the search region."""
        geometry = self.config.geometry
        return geometry.anchors(rows, columns, device) + geometry.search_size // 2

    @torch.no_grad()
    def assign(self, box_xyxy: Tensor, positive: bool, rows: int, columns: int) -> PairTargets:
        """Targets of a pair: the object's place, or that a negative pair has no object.

        Args:
            box_xyxy: ``(4,)`` the object in the search region; of a negative pair another object.
            positive: whether template and search region show the same object.
            rows: of the response map.
            columns: of the response map.
        """
        anchors = self.anchors(rows, columns, box_xyxy.device)
        if not positive:
            near = self._around(box_xyxy, rows, columns)
            order = torch.randperm(len(near), device="cpu")[: self.config.num_negatives]
            drawn = near[order.to(near.device)]
            weights = anchors.new_full((len(drawn),), 0.5 / max(len(drawn), 1))
            return PairTargets(drawn, drawn[:0], anchors[:0], weights)
        matching = self.config.matching
        chosen = sample(assign(anchors, box_xyxy[None], matching), matching)
        limit = int(matching.num_samples * (1 - matching.positive_fraction))
        negative = chosen.negative[:limit]
        weights = torch.cat(
            [
                anchors.new_full((len(part),), 0.5 / max(len(part), 1))
                for part in (chosen.positive, negative)
            ]
        )
        wanted = box_xyxy[None].expand(len(chosen.positive), 4)
        return PairTargets(
            sampled=torch.cat([chosen.positive, negative]),
            positive=chosen.positive,
            deltas=encode_deltas(anchors[chosen.positive], wanted),
            weights=weights,
        )

    def _around(self, box_xyxy: Tensor, rows: int, columns: int) -> Tensor:
        """Anchors of the cells around a box ``(m,)``."""
        geometry, reach = self.config.geometry, self.config.negative_cells // 2
        centre = (box_xyxy[:2] + box_xyxy[2:]) * 0.5 - geometry.search_size // 2
        column, row = (math.ceil(v / geometry.stride + 0.5) for v in centre.tolist())
        row, column = row + rows // 2, column + columns // 2
        cells = torch.arange(rows * columns, device=box_xyxy.device).reshape(rows, columns)
        near = cells[
            max(row - reach, 0) : max(row + reach + 1, 0),
            max(column - reach, 0) : max(column + reach + 1, 0),
        ].flatten()
        count = len(geometry.anchor_ratios)
        return (near[:, None] * count + torch.arange(count, device=near.device)).flatten()

    def _losses(
        self, logits: Tensor, deltas: Tensor, targets: Sequence[PairTargets]
    ) -> dict[str, Tensor]:
        score_loss = logits.sum(dtype=torch.float32) * 0.0
        box_loss = deltas.sum(dtype=torch.float32) * 0.0
        for pair, target in enumerate(targets):
            labels = torch.zeros_like(target.sampled)
            labels[: len(target.positive)] = 1
            each = F.cross_entropy(logits[pair, target.sampled].float(), labels, reduction="none")
            score_loss = score_loss + (each * target.weights).sum()
            apart = (deltas[pair, target.positive].float() - target.deltas).abs().sum()
            box_loss = box_loss + apart / max(len(target.positive), 1)
        count = len(targets)
        return {
            "loss_rpn_cls": score_loss / count,
            "loss_rpn_bbox": box_loss * (self.config.box_weight / count),
        }

    def _centres(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The middle of a template's maps."""
        keep = self.config.geometry.template_cells
        start = [(x.shape[-1] - keep) // 2 for x in maps]
        return [x[:, :, s : s + keep, s : s + keep] for x, s in zip(maps, start, strict=True)]


class _Branch(nn.Module):
    """One level's answer to one question: template and search region correlated, then judged."""

    def __init__(self, config: SiamRPNConfig, out_channels: int) -> None:
        super().__init__()
        channels, norm = config.neck_channels, config.norm
        self.kernel_convs = ConvNorm(channels, channels, kernel=3, norm=norm)
        self.search_convs = ConvNorm(channels, channels, kernel=3, norm=norm)
        self.head_convs = nn.Sequential(
            ConvNorm(channels, channels, kernel=1, norm=norm),
            ConvNorm(channels, out_channels, kernel=1, norm=None),
        )

    def embed(self, template_bchw: Tensor) -> Tensor:
        embedded: Tensor = self.kernel_convs(template_bchw)
        return embedded.relu_()

    def compare(self, embedded: Tensor, search_bchw: Tensor) -> Tensor:
        return self._judge(embedded, self.search_convs(search_bchw).relu_())

    # fp32 to the end: rounded to half before the first 1x1 convolution, the sums that correlation
    # keeps finite would be infinite after all. It costs a few percent of the backbone's products.
    @fp32_island
    def _judge(self, embedded: Tensor, search_bchw: Tensor) -> Tensor:
        hidden = self.head_convs[0](depthwise_correlation(search_bchw, embedded)).relu_()
        answer: Tensor = self.head_convs[1](hidden)
        return answer


class _Head(nn.Module):
    """Three levels' answers, weighed by what training found them worth."""

    def __init__(self, config: SiamRPNConfig) -> None:
        super().__init__()
        levels, anchors = len(config.backbone.outputs), len(config.geometry.anchor_ratios)
        self.cls_weight = nn.Parameter(torch.ones(levels))
        self.reg_weight = nn.Parameter(torch.ones(levels))
        self.cls_heads = _branches(config, 2 * anchors)
        self.reg_heads = _branches(config, 4 * anchors)

    def forward(
        self, templates: Sequence[Tensor], searches: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Logits ``(b, 2a, h, w)`` and deltas ``(b, 4a, h, w)``."""
        return self.compare(self.embed(templates), searches)

    def embed(self, templates: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Kernels of both questions, for each level."""
        return [
            (score.embed(template), box.embed(template))
            for (score, box), template in zip(self._levels(), templates, strict=True)
        ]

    def compare(
        self, kernels: Sequence[tuple[Tensor, Tensor]], searches: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """As ``forward``, of kernels made before."""
        score_weights = self.cls_weight.softmax(dim=0)
        box_weights = self.reg_weight.softmax(dim=0)
        logits = deltas = torch.zeros((), device=searches[0].device)
        levels = zip(self._levels(), kernels, searches, strict=True)
        for level, ((score, box), (score_kernel, box_kernel), search) in enumerate(levels):
            logits = logits + score_weights[level] * score.compare(score_kernel, search)
            deltas = deltas + box_weights[level] * box.compare(box_kernel, search)
        return logits, deltas

    def _levels(self) -> Iterator[tuple[_Branch, _Branch]]:
        for score, box in zip(self.cls_heads, self.reg_heads, strict=True):
            assert isinstance(score, _Branch)
            assert isinstance(box, _Branch)
            yield score, box


def _branches(config: SiamRPNConfig, out_channels: int) -> nn.ModuleList:
    return nn.ModuleList([_Branch(config, out_channels) for _ in config.backbone.outputs])


def _by_anchor(maps: Tensor, values: int) -> Tensor:
    """``(b, values * a, h, w)`` to ``(b, h * w * a, values)``; channels are (value, anchor)."""
    batch, channels, rows, columns = maps.shape
    split = maps.reshape(batch, values, channels // values, rows, columns)
    return split.permute(0, 3, 4, 2, 1).reshape(batch, -1, values)
