"""Configurations of the detectors SELSA and Faster R-CNN, and of the stages they are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.errors import UserError
from halftrack.layers.config import ResNetConfig

if TYPE_CHECKING:
    from halftrack.models.faster_rcnn import FasterRCNN
    from halftrack.models.selsa import SELSA

__all__ = ["FasterRCNNConfig", "MatchingConfig", "RPNConfig", "RoIHeadConfig", "SelsaConfig"]


@dataclass(frozen=True, kw_only=True)
class MatchingConfig:
    """Thresholds of the assignment and size of the sample."""

    positive_iou: Share
    """Least IoU with an object of a positive box."""
    negative_iou: Share
    """IoU below which a box is negative."""
    low_quality_iou: Annotated[float | None, Bounds(least=0, most=1)]
    """Least IoU at which an object's best boxes are positive anyway; None: never."""
    num_samples: Annotated[int, Bounds(least=1, most=1_000_000)] = 256
    """Boxes sampled."""
    positive_fraction: Share = 0.5
    """Share of them that may be positive."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class RPNConfig:
    """Anchors, matching and proposals; the defaults are SELSA's published ones."""

    strides: Annotated[tuple[int, ...], Bounds(least=1, most=1024)] = (16,)
    """Pixels between anchors, for each map."""
    scales: Annotated[tuple[float, ...], Bounds(above=0, most=1024)] = (4.0, 8.0, 16.0, 32.0)
    """Sides of the anchors, in strides."""
    ratios: Annotated[tuple[float, ...], Bounds(least=1 / 64, most=64)] = (0.5, 1.0, 2.0)
    """Heights over widths."""
    size_divisor: Annotated[int, Bounds(least=1, most=1024)] = 16
    """Images are padded to a multiple of it."""
    allow_border: bool = False
    """Anchors that cross the image's border learn too, all but those beyond its padding."""
    clip_to_image: bool = True
    """Proposals are cut to the image."""
    matching: MatchingConfig = MatchingConfig(
        positive_iou=0.7,
        negative_iou=0.3,
        low_quality_iou=0.3,
        num_samples=256,
        positive_fraction=0.5,
    )
    """Matching of anchors to objects."""
    smooth_l1_beta: Annotated[float, Bounds(above=0, most=100)] = 1 / 9
    """Difference at which the smooth L1 loss turns from square to straight."""
    train_pre_nms_topk: Annotated[int, Bounds(least=1, most=1_000_000)] = 6000
    """Proposals of a map ranked before suppression where a frame is learned."""
    test_pre_nms_topk: Annotated[int, Bounds(least=1, most=1_000_000)] = 6000
    """The same of every other frame."""
    nms_iou: Share = 0.7
    """IoU above which the lesser of two proposals of a map goes."""
    train_post_nms_topk: Annotated[int, Bounds(least=1, most=1_000_000)] = 600
    """Proposals of a frame that is learned."""
    test_post_nms_topk: Annotated[int, Bounds(least=1, most=1_000_000)] = 300
    """Proposals of every other frame."""

    def __post_init__(self) -> None:
        check_bounds(self)
        for name in ("strides", "scales", "ratios"):
            if not getattr(self, name):
                raise UserError(f"{name}=(): expected at least one number")


@dataclass(frozen=True, kw_only=True)
class RoIHeadConfig:
    """Size, matching and test settings; the defaults are SELSA's published ones."""

    num_classes: Annotated[int, Bounds(least=1, most=100_000)] = 30
    """Classes without the background."""
    fc_out_channels: Annotated[int, Bounds(least=1, most=65_536)] = 1024
    """Width of the shared FCs."""
    roi_feat_size: Annotated[int, Bounds(least=1, most=64)] = 7
    """Cells a side of a pooled roi."""
    sampling_ratio: Annotated[int, Bounds(least=0, most=64)] = 2
    """Points a side of each cell; 0 takes as many as the roi has map cells there."""
    delta_std: Annotated[tuple[float, float, float, float], Bounds(above=0, most=100)] = (
        0.2,
        0.2,
        0.2,
        0.2,
    )
    """Units of the box deltas."""
    clip_to_image: bool = True
    """Detections are cut to the image."""
    matching: MatchingConfig = MatchingConfig(
        positive_iou=0.5,
        negative_iou=0.5,
        low_quality_iou=0.5,
        num_samples=256,
        positive_fraction=0.25,
    )
    """Matching of proposals to objects."""
    score_threshold: Share = 1e-4
    """Least score of a detection."""
    nms_iou: Share = 0.5
    """IoU above which the lesser of two detections of a class goes."""
    max_detections: Annotated[int, Bounds(least=1, most=100_000)] = 100
    """Most detections a frame."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class SelsaConfig:
    """The whole model; the defaults are the published R50-DC5."""

    backbone: ResNetConfig = field(default_factory=ResNetConfig)
    """The feature extractor."""
    neck_channels: Annotated[int, Bounds(least=1, most=16_384)] = 512
    """Channels both stages see."""
    rpn: RPNConfig = field(default_factory=RPNConfig)
    """First stage."""
    roi_head: RoIHeadConfig = field(default_factory=RoIHeadConfig)
    """Second stage."""
    attention_heads: Annotated[int, Bounds(least=1, most=1024)] = 16
    """Heads of the attention behind each shared FC."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.roi_head.fc_out_channels % self.attention_heads:
            raise UserError(
                f"roi_head.fc_out_channels={self.roi_head.fc_out_channels}, attention_heads="
                f"{self.attention_heads}: the channels cannot be split among the heads"
            )
        apart = self.backbone.feature_strides[-1]
        if self.rpn.strides != (apart,):
            raise UserError(
                f"rpn.strides={self.rpn.strides}: the cells of the backbone's last map are {apart} "
                f"pixels apart; expected ({apart},)"
            )

    def build(self) -> SELSA:
        """The model with random weights."""
        from halftrack.models.selsa import SELSA

        return SELSA(self)


def _pyramid_backbone() -> ResNetConfig:
    return ResNetConfig(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1), outputs=(1, 2, 3, 4))


def _pyramid_rpn() -> RPNConfig:
    return RPNConfig(
        strides=(4, 8, 16, 32, 64),
        scales=(8.0,),
        size_divisor=32,
        allow_border=True,
        clip_to_image=False,
        train_pre_nms_topk=2000,
        test_pre_nms_topk=1000,
        train_post_nms_topk=1000,
        test_post_nms_topk=1000,
    )


def _pyramid_roi_head() -> RoIHeadConfig:
    return RoIHeadConfig(
        num_classes=1,
        sampling_ratio=0,
        delta_std=(0.1, 0.1, 0.2, 0.2),
        clip_to_image=False,
        matching=MatchingConfig(
            positive_iou=0.5,
            negative_iou=0.5,
            low_quality_iou=None,
            num_samples=512,
            positive_fraction=0.25,
        ),
        score_threshold=0.05,
    )


@dataclass(frozen=True, kw_only=True)
class FasterRCNNConfig:
    """The whole model; the defaults are the published R50-FPN for MOT17."""

    backbone: ResNetConfig = field(default_factory=_pyramid_backbone)
    """The feature extractor."""
    neck_channels: Annotated[int, Bounds(least=1, most=16_384)] = 256
    """Channels of the pyramid."""
    rpn: RPNConfig = field(default_factory=_pyramid_rpn)
    """First stage, on every map of the pyramid."""
    roi_head: RoIHeadConfig = field(default_factory=_pyramid_roi_head)
    """Second stage, on all maps but the coarsest."""

    def __post_init__(self) -> None:
        check_bounds(self)
        apart = self.backbone.feature_strides
        pyramid = (*apart, 2 * apart[-1])
        if self.rpn.strides != pyramid:
            raise UserError(
                f"rpn.strides={self.rpn.strides}: the pyramid of backbone.outputs="
                f"{self.backbone.outputs} has {len(pyramid)} maps, their cells {pyramid} pixels "
                "apart; expected the same"
            )

    def build(self) -> FasterRCNN:
        """The model with random weights."""
        from halftrack.models.faster_rcnn import FasterRCNN

        return FasterRCNN(self)
