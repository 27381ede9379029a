"""Region proposal network on one feature map (Ren et al. 2015), as mmdet's RPNHead.

Shapes: features ``(b, c, h, w)``, logits ``(b, a, h, w)``, deltas ``(b, 4a, h, w)`` with a anchors
a cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.boxes import decode_deltas, encode_deltas, nms
from halftrack.layers import AnchorGrid
from halftrack.models.matching import MatchingConfig, assign, sample

__all__ = ["RPN", "RPNConfig"]


@dataclass(frozen=True, kw_only=True)
class RPNConfig:
    """Anchors, matching and proposals; the defaults are SELSA's published ones."""

    stride: int = 16
    """Pixels between anchors."""
    scales: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0)
    """Sides of the anchors, in strides."""
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Heights over widths."""
    matching: MatchingConfig = MatchingConfig(
        positive_iou=0.7, negative_iou=0.3, low_quality_iou=0.3, samples=256, positive_share=0.5
    )
    """Which anchors learn what."""
    beta: float = 1 / 9
    """Where the smooth L1 loss turns from square to straight."""
    ranked: int = 6000
    """Proposals ranked before suppression."""
    suppression: float = 0.7
    """IoU above which the lesser of two proposals goes."""
    train_proposals: int = 600
    """Proposals of a key frame in training."""
    test_proposals: int = 300
    """Proposals of every other frame."""


class RPN(nn.Module):
    """Scores anchors and moves them to objects."""

    def __init__(self, config: RPNConfig, *, channels: int) -> None:
        super().__init__()
        self.config = config
        self.anchors = AnchorGrid(stride=config.stride, scales=config.scales, ratios=config.ratios)
        self.rpn_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(channels, self.anchors.per_cell, 1)
        self.rpn_reg = nn.Conv2d(channels, 4 * self.anchors.per_cell, 1)
        for conv in (self.rpn_conv, self.rpn_cls, self.rpn_reg):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, features_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and deltas of all anchors."""
        hidden = self.rpn_conv(features_bchw).relu_()
        return self.rpn_cls(hidden), self.rpn_reg(hidden)

    @torch.no_grad()
    def proposals(
        self, logits: Tensor, deltas: Tensor, size: tuple[int, int], *, limit: int
    ) -> Tensor:
        """The best proposals of ONE image, fp32 ``(k, 5)``: xyxy inside the image and score.

        Args:
            logits: ``(a, h, w)``.
            deltas: ``(4a, h, w)``.
            size: height and width of the image without padding.
            limit: most proposals returned.
        """
        anchors = self.anchors(logits.shape[-2], logits.shape[-1], logits.device)
        scores = _by_anchor(logits, 1).flatten().float().sigmoid()
        moves = _by_anchor(deltas, 4)
        if len(scores) > self.config.ranked:
            order = scores.sort(descending=True, stable=True).indices[: self.config.ranked]
            scores, moves, anchors = scores[order], moves[order], anchors[order]
        boxes = decode_deltas(anchors, moves[:, None], size=size)[:, 0]
        solid = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)
        boxes, scores = boxes[solid], scores[solid]
        kept = nms(boxes, scores, self.config.suppression)[:limit]
        return torch.cat([boxes[kept], scores[kept, None]], dim=1)

    def losses(
        self, logits: Tensor, deltas: Tensor, size: tuple[int, int], objects_xyxy: Tensor
    ) -> dict[str, Tensor]:
        """Losses of ONE image over a sample of the anchors inside it; zero, not NaN, without any.

        Args:
            logits: ``(a, h, w)``.
            deltas: ``(4a, h, w)``.
            size: height and width of the image without padding.
            objects_xyxy: ground truth ``(n, 4)``.
        """
        height, width = size
        anchors = self.anchors(logits.shape[-2], logits.shape[-1], logits.device)
        inside = (anchors[:, :2] >= 0).all(dim=1)
        inside &= (anchors[:, 2] < width) & (anchors[:, 3] < height)
        candidates = torch.nonzero(inside).flatten()
        chosen = sample(
            assign(anchors[candidates], objects_xyxy, self.config.matching), self.config.matching
        )
        positive, negative = candidates[chosen.positive], candidates[chosen.negative]
        targets = encode_deltas(anchors[positive], objects_xyxy[chosen.objects])
        sampled = torch.cat([positive, negative])
        scores = _by_anchor(logits, 1).flatten()[sampled]
        is_object = torch.zeros_like(scores, dtype=torch.float32)
        is_object[: len(positive)] = 1.0
        moves = _by_anchor(deltas, 4)[positive]
        count = max(len(sampled), 1)
        score_loss = F.binary_cross_entropy_with_logits(scores.float(), is_object, reduction="sum")
        # Sums of nothing are 0 and keep the graph, so an image without objects trains the scores
        # alone.
        move_loss = F.smooth_l1_loss(moves.float(), targets, beta=self.config.beta, reduction="sum")
        return {"loss_rpn_cls": score_loss / count, "loss_rpn_bbox": move_loss / count}


def _by_anchor(maps: Tensor, values: int) -> Tensor:
    """``(values * a, h, w)`` to ``(h * w * a, values)``, in the order of the anchors."""
    return maps.permute(1, 2, 0).reshape(-1, values)
