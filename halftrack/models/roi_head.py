"""The second stage: two shared FCs tell class and box of each roi (Girshick 2015, Ren et al. 2015).

Shapes: roi features ``(n, c, 7, 7)``, logits ``(n, classes + 1)`` with background last, deltas
``(n, 4 * classes)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.boxes import decode_deltas, encode_deltas, nms_by_class
from halftrack.frames import Detections, Frame
from halftrack.models.matching import MatchingConfig, assign, sample

__all__ = [
    "BBoxHead",
    "RandomSampler",
    "RoIHead",
    "RoIHeadConfig",
    "SampledRoIs",
    "Sampler",
    "to_rois",
    "xavier_linear",
]


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
        low_quality_iou=None,
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


@dataclass(frozen=True)
class SampledRoIs:
    """Proposals of one frame drawn for training, positives first, with what they are to learn."""

    boxes_xyxy: Tensor
    """``(n, 4)``."""
    labels: Tensor
    """int64 ``(n,)``; the background is the last."""
    targets: Tensor
    """Deltas ``(p, 4)`` of the p positive ones."""


class Sampler(Protocol):
    """Chooses the rois of a frame that the second stage learns from."""

    def __call__(self, proposals_xyxy: Tensor, frame: Frame) -> SampledRoIs:
        """Rois of a frame with its objects and proposals ``(k, 4)``."""


@dataclass(frozen=True)
class RandomSampler:
    """Draws at random, as many positive and negative rois as ``config.matching`` has."""

    config: RoIHeadConfig

    @torch.no_grad()
    def __call__(self, proposals_xyxy: Tensor, frame: Frame) -> SampledRoIs:
        """Rois drawn from a frame's objects and proposals ``(k, 4)``, in this order."""
        objects = frame.boxes_xyxy
        known = torch.arange(len(objects), device=objects.device)
        assigned = torch.cat([known, assign(proposals_xyxy, objects, self.config.matching)])
        candidates = torch.cat([objects, proposals_xyxy])
        chosen = sample(assigned, self.config.matching)
        boxes = candidates[torch.cat([chosen.positive, chosen.negative])]
        labels = frame.labels.new_full((len(boxes),), self.config.num_classes)
        labels[: len(chosen.positive)] = frame.labels[chosen.objects]
        targets = encode_deltas(
            candidates[chosen.positive], objects[chosen.objects], std=self.config.delta_std
        )
        return SampledRoIs(boxes, labels, targets)


class BBoxHead(nn.Module):
    """Two shared FCs, then one for the class and one for the box."""

    def __init__(self, config: RoIHeadConfig, *, in_channels: int) -> None:
        super().__init__()
        width = config.fc_out_channels
        self.fc_cls = nn.Linear(width, config.num_classes + 1)
        self.fc_reg = nn.Linear(width, 4 * config.num_classes)
        self.shared_fcs = nn.ModuleList(
            [
                xavier_linear(in_channels * config.roi_feat_size**2, width),
                xavier_linear(width, width),
            ]
        )

    def forward(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and deltas of pooled rois."""
        hidden = roi_features.flatten(1)
        for layer in self.shared_fcs:
            hidden = layer(hidden).relu_()
        return self.fc_cls(hidden), self.fc_reg(hidden)


class RoIHead(nn.Module):
    """Sampling, losses and detections around a box head (key ``bbox_head``).

    ``sampler`` chooses what is learned, at random unless another one is set.
    """

    def __init__(self, config: RoIHeadConfig, bbox_head: BBoxHead) -> None:
        super().__init__()
        self.config = config
        self.sampler: Sampler = RandomSampler(config)
        self.bbox_head = bbox_head
        # Small: at first every roi is a bit of every class, and stays where it is.
        for layer, std in ((bbox_head.fc_cls, 0.01), (bbox_head.fc_reg, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def losses(
        self, logits: Tensor, deltas: Tensor, sampled: Sequence[SampledRoIs]
    ) -> dict[str, Tensor]:
        """Losses over the rois of all frames, and the share ``acc`` (percent) of right classes."""
        labels = torch.cat([rois.labels for rois in sampled])
        targets = torch.cat([rois.targets for rois in sampled])
        count = max(len(labels), 1)
        logits = logits.float()
        by_class = deltas.view(len(deltas), self.config.num_classes, 4)
        # Each frame's positives lead its rois.
        rows, start = [], 0
        for rois in sampled:
            rows.append(torch.arange(start, start + len(rois.targets), device=deltas.device))
            start += len(rois.labels)
        positive = torch.cat(rows)
        moves = by_class[positive, labels[positive]]
        correct = (logits.argmax(dim=1) == labels).sum()
        return {
            "loss_cls": F.cross_entropy(logits, labels, reduction="sum") / count,
            "loss_bbox": F.smooth_l1_loss(moves.float(), targets, reduction="sum") / count,
            "acc": correct * (100.0 / count),
        }

    def decode(
        self, logits: Tensor, deltas: Tensor, boxes_xyxy: Tensor, frame: Frame
    ) -> tuple[Tensor, Tensor]:
        """Boxes ``(n, classes, 4)`` in original pixels and scores ``(n, classes)`` of each roi."""
        scores = logits.float().softmax(dim=1)[:, :-1]
        by_class = deltas.view(len(deltas), self.config.num_classes, 4)
        size = frame.size if self.config.clip_to_image else None
        boxes = decode_deltas(boxes_xyxy, by_class, std=self.config.delta_std, size=size)
        return boxes / boxes.new_tensor(frame.scale_xy * 2), scores

    def detect(
        self, logits: Tensor, deltas: Tensor, proposals_xyxy: Tensor, frame: Frame
    ) -> Detections:
        """Boxes in original pixels from the second stage's output for all proposals of a frame."""
        boxes, scores = self.decode(logits, deltas, proposals_xyxy, frame)
        rows, labels = torch.nonzero(scores > self.config.score_threshold, as_tuple=True)
        boxes, scores = boxes[rows, labels], scores[rows, labels]
        kept = nms_by_class(boxes, scores, labels, self.config.nms_iou)
        kept = kept[: self.config.max_detections]
        return Detections(boxes_xyxy=boxes[kept], scores=scores[kept], labels=labels[kept])


def to_rois(boxes_xyxy: Sequence[Tensor]) -> Tensor:
    """fp32 ``(n, 5)``, index into the batch first, of the boxes ``(k, 4)`` of each image."""
    return torch.cat(
        [
            torch.cat([boxes.new_full((len(boxes), 1), float(i)), boxes], dim=1)
            for i, boxes in enumerate(boxes_xyxy)
        ]
    )


def xavier_linear(inp: int, out: int) -> nn.Linear:
    """A linear layer with Xavier's weights and no bias at first."""
    layer = nn.Linear(inp, out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
