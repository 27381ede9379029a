"""The second stage: two shared FCs tell class and box of each roi (Girshick 2015, Ren et al. 2015).

Shapes: roi features ``(n, c, 7, 7)``, logits ``(n, classes + 1)`` with background last, deltas
``(n, 4 * classes)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.boxes import decode_deltas, encode_deltas, nms_by_class, on_device, pad_rows
from halftrack.frames import Detections, Frame
from halftrack.models.detector_config import RoIHeadConfig
from halftrack.models.matching import (
    NEITHER,
    Draws,
    Objects,
    assign_objects,
    mean_loss,
    sample_boxes,
)

__all__ = [
    "BBoxHead",
    "RandomSampler",
    "RoIHead",
    "SampledRoIs",
    "Sampler",
    "to_rois",
    "xavier_linear",
]


@dataclass(frozen=True)
class SampledRoIs:
    """Proposals drawn for training, frame after frame, with what they are to learn."""

    boxes_xyxy: Tensor
    """``(n, 4)``."""
    counts: tuple[int, ...]
    """Number of boxes of each frame."""
    positives: tuple[int, ...]
    """Number of them that are on an object."""
    labels: Tensor
    """int64 ``(n,)``; the background is the last."""
    positive: Tensor
    """int64 ``(p,)`` places of the boxes that are on an object."""
    targets: Tensor
    """Deltas ``(p, 4)`` of the p positive ones."""

    @property
    def per_frame(self) -> tuple[Tensor, ...]:
        """Boxes ``(k, 4)`` of each frame."""
        frames: tuple[Tensor, ...] = self.boxes_xyxy.split(self.counts)
        return frames


class Sampler(Protocol):
    """Chooses the rois of each frame that the second stage learns from."""

    def __call__(
        self, proposals_xyxy: Sequence[Tensor], frames: Sequence[Frame], draws: Draws = None
    ) -> SampledRoIs:
        """Rois of frames with their objects, proposals ``(k, 4)`` and random numbers."""


@dataclass(frozen=True)
class RandomSampler:
    """Draws at random, as many positive and negative rois as ``config.matching`` has."""

    config: RoIHeadConfig

    @torch.no_grad()
    def __call__(
        self, proposals_xyxy: Sequence[Tensor], frames: Sequence[Frame], draws: Draws = None
    ) -> SampledRoIs:
        """Rois drawn from each frame's objects and proposals ``(k, 4)``, in this order."""
        config, objects = self.config, Objects.of(frames)
        proposals = pad_rows(proposals_xyxy)
        assigned = assign_objects(
            proposals.rows, objects, config.matching, allowed=proposals.present
        )
        # Of the candidates the objects come first, each assigned to itself.
        own = torch.where(objects.places >= 0, objects.places, NEITHER)
        candidates = torch.cat([objects.padded_xyxy, proposals.rows], dim=1).flatten(0, 1)
        chosen = sample_boxes(torch.cat([own, assigned], dim=1), config.matching, draws)
        boxes, positive = candidates[chosen.rows], chosen.positive
        background = objects.labels.new_full((len(boxes),), config.num_classes)
        return SampledRoIs(
            boxes_xyxy=boxes,
            counts=tuple(map(sum, chosen.counts)),
            positives=tuple(found for found, _ in chosen.counts),
            labels=background.index_copy_(0, positive, objects.labels[chosen.objects]),
            positive=positive,
            targets=encode_deltas(
                boxes[positive], objects.boxes_xyxy[chosen.objects], std=config.delta_std
            ),
        )


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
        self, logits: Tensor, deltas: Tensor, rois: SampledRoIs, *, each: bool = False
    ) -> dict[str, Tensor]:
        """Losses over the rois of all frames, and the share ``acc`` (percent) of right classes.

        Args:
            logits: of the rois.
            deltas: of the rois.
            rois: of all frames, with what they are to learn.
            each: average the losses that each frame has alone, not those of all rois.
        """
        labels, positive = rois.labels, rois.positive
        rows, positives = (
            (rois.counts, rois.positives) if each else ((len(labels),), (len(positive),))
        )
        counts = [max(count, 1) for count in rows]
        logits = logits.float()
        by_class = deltas.view(len(deltas), self.config.num_classes, 4)
        moves = by_class[positive, labels[positive]].float()
        return {
            "loss_cls": mean_loss(F.cross_entropy, logits, labels, rows, counts),
            "loss_bbox": mean_loss(F.smooth_l1_loss, moves, rois.targets, positives, counts),
            "acc": mean_loss(_percent_right, logits, labels, rows, counts),
        }

    def judged(
        self, logits: Tensor, deltas: Tensor, boxes_xyxy: Tensor, size: tuple[int, int] | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes ``(n, classes, 4)`` in network pixels and scores ``(n, classes)`` of each roi.

        Args:
            logits: of the rois.
            deltas: of the rois.
            boxes_xyxy: the rois ``(n, 4)``.
            size: of the image, as ``halftrack.boxes.clip`` takes it.
        """
        scores = logits.float().softmax(dim=1)[:, :-1]
        by_class = deltas.view(-1, self.config.num_classes, 4)
        limits = size if self.config.clip_to_image else None
        return decode_deltas(boxes_xyxy, by_class, std=self.config.delta_std, size=limits), scores

    def decode(
        self, logits: Tensor, deltas: Tensor, boxes_xyxy: Tensor, frame: Frame
    ) -> tuple[Tensor, Tensor]:
        """Boxes ``(n, classes, 4)`` in original pixels and scores ``(n, classes)`` of each roi."""
        boxes, scores = self.judged(logits, deltas, boxes_xyxy, frame.size)
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


def _percent_right(logits: Tensor, labels: Tensor, *, reduction: str) -> Tensor:
    """100 for each roi whose class is right; their mean is what ``acc`` logs."""
    right = logits.detach().argmax(dim=1) == labels
    return right.sum() * 100.0 if reduction == "sum" else right * 100.0


def to_rois(boxes_xyxy: Sequence[Tensor]) -> Tensor:
    """fp32 ``(n, 5)``, index into the batch first, of the boxes ``(k, 4)`` of each image."""
    boxes = torch.cat(list(boxes_xyxy))
    images = np.repeat(np.arange(len(boxes_xyxy), dtype=np.float32), [*map(len, boxes_xyxy)])
    return torch.cat([on_device(images, boxes.device)[:, None], boxes], dim=1)


def xavier_linear(inp: int, out: int) -> nn.Linear:
    """A linear layer with Xavier's weights and no bias at first."""
    layer = nn.Linear(inp, out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
