"""Region proposal network on one map or a pyramid (Ren et al. 2015), as mmdet's RPNHead.

Shapes: maps, a list with one tensor a level: features ``(b, c, h, w)``, logits ``(b, a, h, w)``,
deltas ``(b, 4a, h, w)`` with a anchors a cell; n anchors on all maps of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.boxes import decode_deltas, encode_deltas, on_device, unsuppressed
from halftrack.frames import Frame
from halftrack.layers import AnchorGrid
from halftrack.models.detector_config import RPNConfig
from halftrack.models.matching import (
    Draws,
    Objects,
    assign_objects,
    mean_loss,
    sample_boxes,
)

__all__ = ["RPN"]

Maps = Sequence[Tensor]


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
        self,
        logits: Maps,
        deltas: Maps,
        frames: Sequence[Frame],
        *,
        learned: bool | Sequence[bool],
    ) -> list[Tensor]:
        """The best proposals of each frame of a batch, fp32 ``(k, 5)``: xyxy and score.

        The host waits twice for all frames: for the suppression, and for the numbers it leaves.

        Args:
            logits: of the batch.
            deltas: of the batch.
            frames: what the batch was made of.
            learned: whether the frames are learned, or each of them; those that are have limits of
                their own.
        """
        config = self.config
        kinds = [learned] * len(frames) if isinstance(learned, bool) else learned
        boxes, scores, levels = self._ranked(logits, deltas, frames, kinds)
        kept = unsuppressed(boxes, scores, levels, config.nms_iou)
        limits = [config.train_post_nms_topk if k else config.test_post_nms_topk for k in kinds]
        counts = kept.count_nonzero(dim=1).tolist()
        best = scores.masked_fill(~kept, -1.0).sort(dim=1, descending=True, stable=True).indices
        best = best[:, : max(limits), None]
        rows = torch.cat([boxes, scores[..., None]], dim=-1).take_along_dim(best, dim=1)
        return [
            row[: min(count, limit)] for row, count, limit in zip(rows, counts, limits, strict=True)
        ]

    def losses(
        self,
        logits: Maps,
        deltas: Maps,
        frames: Sequence[Frame],
        *,
        each: bool = False,
        draws: Draws = None,
    ) -> dict[str, Tensor]:
        """Losses over a sample of each frame's anchors; zero, not NaN, without any.

        Args:
            logits: of the batch.
            deltas: of the batch.
            frames: what the batch was made of, with their objects.
            each: average the losses that each frame has alone, not those of all samples.
            draws: random numbers of each frame.
        """
        anchors, objects = torch.cat(self.anchors(logits)), Objects.of(frames)
        may_learn = self._may_learn(anchors, frames)
        matching = self.config.matching
        assigned = assign_objects(anchors, objects, matching, allowed=may_learn)
        chosen = sample_boxes(assigned, matching, draws)
        positive = chosen.rows[chosen.positive]
        scores = _by_anchor(logits, 1).flatten()[chosen.rows].float()
        wanted = torch.zeros_like(scores).index_fill_(0, chosen.positive, 1.0)
        moves = _by_anchor(deltas, 4).flatten(0, 1)[positive].float()
        targets = encode_deltas(
            anchors[positive % len(anchors)], objects.boxes_xyxy[chosen.objects]
        )
        # None of a kind counts as one of it, in the reference too.
        counts = [sum(max(found, 1) for found in image) for image in chosen.counts]
        sampled, found = [sum(image) for image in chosen.counts], [p for p, _ in chosen.counts]
        if not each:
            counts, sampled, found = [sum(counts)], [sum(sampled)], [sum(found)]
        smooth_l1 = partial(F.smooth_l1_loss, beta=self.config.smooth_l1_beta)
        # Sums of nothing are 0 and keep the graph, so an image without objects trains the scores
        # alone.
        score_loss = mean_loss(F.binary_cross_entropy_with_logits, scores, wanted, sampled, counts)
        move_loss = mean_loss(smooth_l1, moves, targets, found, counts)
        return {"loss_rpn_cls": score_loss, "loss_rpn_bbox": move_loss}

    def _may_learn(self, anchors: Tensor, frames: Sequence[Frame]) -> Tensor:
        """Which anchors ``(b, n)`` a frame may teach anything."""
        if not self.config.allow_border:
            limits = _limits(frames, anchors.device)[..., 2:]
            inside = (anchors[:, :2] >= 0).all(dim=1)
            return inside & (anchors[:, 2:] < limits).all(dim=2)
        limits = _limits(frames, anchors.device, divisor=self.config.size_divisor)[..., 2:]
        # Centres lie on whole pixels; the half keeps their rounding out of the comparison.
        centres = (anchors[:, :2] + anchors[:, 2:]) * 0.5
        return (centres < limits - 0.5).all(dim=2)

    def _ranked(
        self, logits: Maps, deltas: Maps, frames: Sequence[Frame], learned: Sequence[bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes ``(b, k, 4)``, scores ``(b, k)`` and maps ``(k,)`` of each map's best anchors."""
        config = self.config
        limits = [config.train_pre_nms_topk if k else config.test_pre_nms_topk for k in learned]
        scores = _by_anchor(logits, 1)[..., 0].float().sigmoid()
        rows, sizes, start = [], [level[0].numel() for level in logits], 0
        for count in sizes:
            if count > min(limits):
                part = scores[:, start : start + count]
                best = part.sort(dim=1, descending=True, stable=True).indices[:, : max(limits)]
                rows.append(best + start)
            else:
                every = torch.arange(start, start + count, device=scores.device)
                rows.append(every.expand(len(frames), -1))
            start += count
        chosen = torch.cat(rows, dim=1)
        moves = _by_anchor(deltas, 4).take_along_dim(chosen[..., None], dim=1)
        anchors = torch.cat(self.anchors(logits))[chosen]
        size = _limits(frames, scores.device)[:, None] if config.clip_to_image else None
        boxes = decode_deltas(anchors, moves[..., None, :], size=size)[..., 0, :]
        ranks = [np.arange(part.shape[1]) for part in rows]
        beyond = np.concatenate(ranks) >= np.array(limits)[:, None]
        if beyond.any():
            # Without an area, they are not kept.
            boxes = boxes.masked_fill(on_device(beyond, boxes.device)[..., None], 0.0)
        levels = np.repeat(np.arange(len(rows)), [len(rank) for rank in ranks])
        return boxes, scores.gather(1, chosen), on_device(levels, boxes.device)


def _by_anchor(maps: Maps, values: int) -> Tensor:
    """Maps ``(b, values * a, h, w)`` as ``(b, n, values)``, in the order of the anchors."""
    cells = [level.flatten(2).transpose(1, 2) for level in maps]
    return torch.cat(cells, dim=1).reshape(len(maps[0]), -1, values)


def _limits(frames: Sequence[Frame], device: torch.device, *, divisor: int = 1) -> Tensor:
    """Width, height, width and height ``(b, 1, 4)`` of each image, padded to the divisor."""
    sides = [[-(-side // divisor) * divisor for side in frame.size[::-1]] * 2 for frame in frames]
    return on_device(np.array(sides, dtype=np.float32)[:, None], device)
