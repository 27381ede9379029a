"""Configurations of the models that trackers need beside a detector: ReID and SiamRPN++."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from halftrack.bounds import Bounds, check_bounds
from halftrack.errors import UserError
from halftrack.layers.config import ResNetConfig
from halftrack.layers.siamese import SiameseGeometry
from halftrack.models.detector_config import MatchingConfig

if TYPE_CHECKING:
    from halftrack.models.reid import ReID
    from halftrack.models.siamrpn import SiamRPN

__all__ = ["ReIDConfig", "SiamRPNConfig"]


def _reid_backbone() -> ResNetConfig:
    return ResNetConfig(
        strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1), frozen_stages=-1, frozen_bn=False
    )


@dataclass(frozen=True, kw_only=True)
class ReIDConfig:
    """The whole model; the defaults are the published R50."""

    backbone: ResNetConfig = field(default_factory=_reid_backbone)
    """The feature extractor."""
    hidden_channels: Annotated[int, Bounds(least=1, most=65_536)] = 1024
    """Width of the hidden FC."""
    out_channels: Annotated[int, Bounds(least=1, most=65_536)] = 128
    """Dimensions of the embedding."""
    num_identities: Annotated[int | None, Bounds(least=1, most=10_000_000)] = None
    """Individuals told apart in training; None: as many as the data or the checkpoint hold."""
    margin: Annotated[float, Bounds(least=0, most=1000)] = 0.3
    """Margin of the triplet loss, as a distance of embeddings.

    The farthest crop of the same individual must be nearer by it than the nearest of another.
    """
    crop_size: Annotated[tuple[int, int], Bounds(least=1, most=4096)] = (256, 128)
    """Height and width that crops are resized to."""

    def __post_init__(self) -> None:
        check_bounds(self)

    def build(self) -> ReID:
        """The model with random weights.

        Raises:
            ValueError: if the number of identities is not settled.
        """
        from halftrack.models.reid import ReID

        return ReID(self)


def _siamese_backbone() -> ResNetConfig:
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

    backbone: ResNetConfig = field(default_factory=_siamese_backbone)
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
        from halftrack.models.siamrpn import SiamRPN

        return SiamRPN(self)
