"""SELSA's second stage: two shared FCs, each followed by aggregation (Wu et al. 2019).

Shapes: roi features ``(n, c, 7, 7)``, embedded rois ``(n, d)`` (the first FC's output), keys
``(heads, m, d / heads)`` and values the same over m reference rois, logits ``(n, classes + 1)``
with background last, deltas ``(n, 4 * classes)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.boxes import decode_deltas, encode_deltas, nms_by_class
from halftrack.frames import Detections, Frame
from halftrack.models.matching import MatchingConfig, assign, sample

__all__ = ["Memory", "RoIHead", "RoIHeadConfig", "SampledRoIs", "SelsaBBoxHead"]

Memory = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of the references, for each of the shared FCs."""


@dataclass(frozen=True, kw_only=True)
class RoIHeadConfig:
    """Size, matching and test settings; the defaults are SELSA's published ones."""

    classes: int = 30
    """Classes without the background."""
    channels: int = 1024
    """Width of the shared FCs."""
    heads: int = 16
    """Attention heads of an aggregator."""
    roi_size: int = 7
    """Cells a side of a pooled roi."""
    sampling: int = 2
    """Points a side of each cell."""
    std: float = 0.2
    """Unit of the box deltas."""
    matching: MatchingConfig = MatchingConfig(
        positive_iou=0.5, negative_iou=0.5, low_quality_iou=None, samples=256, positive_share=0.25
    )
    """Which proposals learn what."""
    score_threshold: float = 1e-4
    """Least score of a detection."""
    suppression: float = 0.5
    """IoU above which the lesser of two detections of a class goes."""
    detections: int = 100
    """Most detections a frame."""

    def __post_init__(self) -> None:
        if self.channels % self.heads:
            raise ValueError(f"{self.channels} channels cannot be split among {self.heads} heads")


@dataclass(frozen=True)
class SampledRoIs:
    """Proposals drawn for training, positives first, with what they are to learn."""

    boxes_xyxy: Tensor
    """``(n, 4)``."""
    labels: Tensor
    """int64 ``(n,)``; the background is the last."""
    targets: Tensor
    """Deltas ``(p, 4)`` of the p positive ones."""


class Aggregator(nn.Module):
    """Attention from rois of the key frame to rois of the references."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.fc_embed = _xavier(channels, channels)
        self.ref_fc_embed = _xavier(channels, channels)
        self.fc = _xavier(channels, channels)
        self.ref_fc = _xavier(channels, channels)

    def remember(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of reference rois ``(m, d)``."""
        return self._split(self.ref_fc_embed(references)), self._split(self.ref_fc(references))

    def forward(self, rois: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What the references say about each roi, ``(n, d)``."""
        # The query is scaled before the product: 64-term products of fp16 features pass 65504 from
        # |q| = 33 on.
        queries = self._split(self.fc_embed(rois)) * (keys.shape[-1] ** -0.5)
        # fp32: the softmax sums thousands of terms of which a few matter.
        weights = torch.bmm(queries, keys.transpose(1, 2)).softmax(dim=2, dtype=torch.float32)
        gathered = torch.bmm(weights.to(values.dtype), values)
        answer: Tensor = self.fc(gathered.transpose(0, 1).flatten(1))
        return answer

    def _split(self, features: Tensor) -> Tensor:
        # Not -1: without any roi (features that are not finite give none) it could not be told.
        width = features.shape[1] // self._heads
        return features.view(len(features), self._heads, width).transpose(0, 1)


class SelsaBBoxHead(nn.Module):
    """Embeds rois, mixes the references in, and tells class and box."""

    def __init__(self, config: RoIHeadConfig, *, in_channels: int) -> None:
        super().__init__()
        width = config.channels
        self.fc_cls = nn.Linear(width, config.classes + 1)
        self.fc_reg = nn.Linear(width, 4 * config.classes)
        self.shared_fcs = nn.ModuleList(
            [_xavier(in_channels * config.roi_size**2, width), _xavier(width, width)]
        )
        self.aggregator = nn.ModuleList([Aggregator(width, config.heads) for _ in self.shared_fcs])
        for layer, std in ((self.fc_cls, 0.01), (self.fc_reg, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def embed(self, roi_features: Tensor) -> Tensor:
        """The first FC's output ``(n, d)``, before its activation."""
        embedded: Tensor = self.shared_fcs[0](roi_features.flatten(1))
        return embedded

    def remember(self, embedded: Tensor) -> Memory:
        """What references lend to every key frame; depends on none of them."""
        memory = []
        for index, aggregator in enumerate(self.aggregator):
            assert isinstance(aggregator, Aggregator)
            if index:
                embedded = self.shared_fcs[index](embedded.relu())
            memory.append(aggregator.remember(embedded))
        return tuple(memory)

    def forward(self, embedded: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Logits and deltas of embedded rois, aggregated before each activation."""
        for index, (keys, values) in enumerate(memory):
            if index:
                embedded = self.shared_fcs[index](embedded)
            embedded = (embedded + self.aggregator[index](embedded, keys, values)).relu()
        return self.fc_cls(embedded), self.fc_reg(embedded)


class RoIHead(nn.Module):
    """Sampling, losses and detections around the box head (key ``bbox_head``)."""

    def __init__(self, config: RoIHeadConfig, *, in_channels: int) -> None:
        super().__init__()
        self.config = config
        self.bbox_head = SelsaBBoxHead(config, in_channels=in_channels)

    @torch.no_grad()
    def sample(self, proposals_xyxy: Tensor, frame: Frame) -> SampledRoIs:
        """Draw from the key frame's objects and proposals ``(k, 4)``, in this order."""
        objects = frame.boxes_xyxy
        known = torch.arange(len(objects), device=objects.device)
        assigned = torch.cat([known, assign(proposals_xyxy, objects, self.config.matching)])
        candidates = torch.cat([objects, proposals_xyxy])
        chosen = sample(assigned, self.config.matching)
        boxes = candidates[torch.cat([chosen.positive, chosen.negative])]
        labels = frame.labels.new_full((len(boxes),), self.config.classes)
        labels[: len(chosen.positive)] = frame.labels[chosen.objects]
        targets = encode_deltas(
            candidates[chosen.positive], objects[chosen.objects], std=self.config.std
        )
        return SampledRoIs(boxes, labels, targets)

    def losses(self, logits: Tensor, deltas: Tensor, rois: SampledRoIs) -> dict[str, Tensor]:
        """Losses over the sampled rois, and the share ``acc`` (percent) of right classes."""
        count, positives = max(len(rois.labels), 1), len(rois.targets)
        logits = logits.float()
        by_class = deltas.view(len(deltas), self.config.classes, 4)
        rows = torch.arange(positives, device=deltas.device)
        moves = by_class[rows, rois.labels[:positives]]
        correct = (logits.argmax(dim=1) == rois.labels).sum()
        return {
            "loss_cls": F.cross_entropy(logits, rois.labels, reduction="sum") / count,
            "loss_bbox": F.smooth_l1_loss(moves.float(), rois.targets, reduction="sum") / count,
            "acc": correct * (100.0 / count),
        }

    def detect(
        self, logits: Tensor, deltas: Tensor, proposals_xyxy: Tensor, frame: Frame
    ) -> Detections:
        """Boxes in original pixels from the second stage's output for all proposals of a frame."""
        scores = logits.float().softmax(dim=1)[:, :-1]
        by_class = deltas.view(len(deltas), self.config.classes, 4)
        boxes = decode_deltas(proposals_xyxy, by_class, std=self.config.std, size=frame.size)
        boxes = boxes / boxes.new_tensor(frame.scale_xy * 2)
        rows, labels = torch.nonzero(scores > self.config.score_threshold, as_tuple=True)
        boxes, scores = boxes[rows, labels], scores[rows, labels]
        kept = nms_by_class(boxes, scores, labels, self.config.suppression)
        kept = kept[: self.config.detections]
        return Detections(boxes_xyxy=boxes[kept], scores=scores[kept], labels=labels[kept])


def _xavier(inp: int, out: int) -> nn.Linear:
    layer = nn.Linear(inp, out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
