"""Region proposal network on one map or a pyramid (Ren et al. 2015), as mmdet's RPNHead.

Shapes: maps, a list with one tensor a level: features ``(b, c, h, w)``, logits ``(b, a, h, w)``,
deltas ``(b, 4a, h, w)`` with a anchors a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.boxes import decode_deltas, encode_deltas, nms_by_class
from halftrack.errors import UserError
from halftrack.frames import Frame
from halftrack.layers import AnchorGrid
from halftrack.models.matching import MatchingConfig, assign, sample

__all__ = ["RPN", "RPNConfig"]

Maps = Sequence[Tensor]


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


class RPN(nn.Module):
    """Scores anchors and moves them to objects."""

    def __init__(self, config: RPNConfig, *, channels: int) -> None:
        super().__init__()
        self.config = config
        self._grids = [
            AnchorGrid(stride=stride, scales=config.scales, ratios=config.ratios)
            for stride in config.strides
        ]
        per_cell = self._grids[0].per_cell
        self.rpn_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(channels, per_cell, 1)
        self.rpn_reg = nn.Conv2d(channels, 4 * per_cell, 1)
        for conv in (self.rpn_conv, self.rpn_cls, self.rpn_reg):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, levels: Maps) -> tuple[list[Tensor], list[Tensor]]:
        """Logits and deltas of all anchors, map by map."""
        logits, deltas = [], []
        for features_bchw in levels:
            hidden = self.rpn_conv(features_bchw).relu_()
            logits.append(self.rpn_cls(hidden))
            deltas.append(self.rpn_reg(hidden))
        return logits, deltas

    def anchors(self, logits: Maps) -> list[Tensor]:
        """The anchors ``(h * w * a, 4)`` of each map."""
        return [
            grid(scores.shape[-2], scores.shape[-1], scores.device)
            for grid, scores in zip(self._grids, logits, strict=True)
        ]

    @torch.no_grad()
    def proposals(
        self, logits: Maps, deltas: Maps, frames: Sequence[Frame], *, learned: bool
    ) -> list[Tensor]:
        """The best proposals of each frame of a batch, fp32 ``(k, 5)``: xyxy and score.

        Args:
            logits: of the batch.
            deltas: of the batch.
            frames: what the batch was made of.
            learned: whether the frames are learned, which have limits of their own.
        """
        anchors = self.anchors(logits)
        return [
            self._propose(anchors, [m[i] for m in logits], [m[i] for m in deltas], frame, learned)
            for i, frame in enumerate(frames)
        ]

    def losses(self, logits: Maps, deltas: Maps, frames: Sequence[Frame]) -> dict[str, Tensor]:
        """Losses over a sample of each frame's anchors; zero, not NaN, without any.

        Args:
            logits: of the batch.
            deltas: of the batch.
            frames: what the batch was made of, with their objects.
        """
        anchors = torch.cat(self.anchors(logits))
        scores, moves, wanted, targets = [], [], [], []
        count = 0
        for i, frame in enumerate(frames):
            candidates = torch.nonzero(self._may_learn(anchors, frame)).flatten()
            assigned = assign(anchors[candidates], frame.boxes_xyxy, self.config.matching)
            chosen = sample(assigned, self.config.matching)
            positive, negative = candidates[chosen.positive], candidates[chosen.negative]
            targets.append(encode_deltas(anchors[positive], frame.boxes_xyxy[chosen.objects]))
            of_frame = torch.cat([_by_anchor(level[i], 1) for level in logits])
            scores.append(of_frame[torch.cat([positive, negative]), 0])
            moves.append(torch.cat([_by_anchor(level[i], 4) for level in deltas])[positive])
            wanted += [torch.ones_like(positive), torch.zeros_like(negative)]
            # None of a kind counts as one of it, in the reference too.
            count += max(len(positive), 1) + max(len(negative), 1)
        score_loss = F.binary_cross_entropy_with_logits(
            torch.cat(scores).float(), torch.cat(wanted).float(), reduction="sum"
        )
        # Sums of nothing are 0 and keep the graph, so an image without objects trains the scores
        # alone.
        move_loss = F.smooth_l1_loss(
            torch.cat(moves).float(),
            torch.cat(targets),
            beta=self.config.smooth_l1_beta,
            reduction="sum",
        )
        return {"loss_rpn_cls": score_loss / count, "loss_rpn_bbox": move_loss / count}

    def _may_learn(self, anchors: Tensor, frame: Frame) -> Tensor:
        """Which anchors ``(n,)`` a frame may teach anything."""
        height, width = frame.size
        if not self.config.allow_border:
            inside = (anchors[:, :2] >= 0).all(dim=1)
            return inside & (anchors[:, 2] < width) & (anchors[:, 3] < height)
        divisor = self.config.size_divisor
        limit = [-(-side // divisor) * divisor for side in (width, height)]
        # Centres lie on whole pixels; the half keeps their rounding out of the comparison.
        centres = (anchors[:, :2] + anchors[:, 2:]) * 0.5
        return (centres < anchors.new_tensor(limit) - 0.5).all(dim=1)

    def _propose(
        self, anchors: Maps, logits: Maps, deltas: Maps, frame: Frame, learned: bool
    ) -> Tensor:
        """Proposals of one frame from its logits ``(a, h, w)`` and deltas ``(4a, h, w)``."""
        config = self.config
        ranked = config.train_pre_nms_topk if learned else config.test_pre_nms_topk
        boxes, scores, levels = [], [], []
        for level, (grid, logit, delta) in enumerate(zip(anchors, logits, deltas, strict=True)):
            score = _by_anchor(logit, 1).flatten().float().sigmoid()
            moves = _by_anchor(delta, 4)
            if len(score) > ranked:
                order = score.sort(descending=True, stable=True).indices[:ranked]
                score, moves, grid = score[order], moves[order], grid[order]
            size = frame.size if config.clip_to_image else None
            boxes.append(decode_deltas(grid, moves[:, None], size=size)[:, 0])
            scores.append(score)
            levels.append(torch.full_like(score, level, dtype=torch.int64))
        box, score, level_of = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        solid = ((box[:, 2:] - box[:, :2]) > 0).all(dim=1)
        box, score, level_of = box[solid], score[solid], level_of[solid]
        kept = nms_by_class(box, score, level_of, config.nms_iou)
        kept = kept[: config.train_post_nms_topk if learned else config.test_post_nms_topk]
        return torch.cat([box[kept], score[kept, None]], dim=1)


def _by_anchor(maps: Tensor, values: int) -> Tensor:
    """``(values * a, h, w)`` to ``(h * w * a, values)``, in the order of the anchors."""
    return maps.permute(1, 2, 0).reshape(-1, values)
