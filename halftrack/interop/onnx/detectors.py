"""Detectors of one image in tensors alone, whose numbers of boxes no trace makes constants.

They answer as ``FasterRCNN`` and ``SELSA`` do. Loops over frames, host syncs and numpy are what a
graph cannot have; the layers are the models' own. Shapes: k proposals, n detections.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.boxes import decode_deltas, nms
from halftrack.layers.pixels import mean_and_std
from halftrack.layers.roi_pooling import pyramid_levels, roi_align
from halftrack.models import SELSA, FasterRCNN
from halftrack.models.roi_head import RoIHead
from halftrack.models.rpn import RPN

__all__ = ["Detector", "FrameOfVideo", "References"]

Found = tuple[Tensor, Tensor, Tensor]
"""Boxes ``(n, 4)`` in pixels of the image, scores and labels ``(n,)``, best first."""


class Detector(nn.Module):
    """Faster R-CNN: an image gives its detections."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_chw: Tensor, score_threshold: Tensor) -> Found:
        """Detections in an image, RGB, 0 to 255, of any size.

        Args:
            image_chw: fp32 ``(3, height, width)``.
            score_threshold: least score of a detection, fp32 ``()``.
        """
        model, head = self.model, self.model.roi_head
        maps = model.neck(model.backbone(_normalised(image_chw, model.config.rpn.size_divisor)))
        boxes = _proposals(model.rpn_head, maps, image_chw)
        answer = head.bbox_head(self._pooled(maps[:-1], boxes))
        return _detections(head, answer, boxes, image_chw, score_threshold)

    def _pooled(self, maps: Sequence[Tensor], boxes_xyxy: Tensor) -> Tensor:
        head, levels = self.model.config.roi_head, pyramid_levels(boxes_xyxy, len(maps))
        rois, size = _as_rois(boxes_xyxy), head.roi_feat_size
        pooled = maps[0].new_zeros((boxes_xyxy.shape[0], maps[0].shape[1], size, size))
        for level, (features, stride) in enumerate(
            zip(maps, self.model.config.rpn.strides, strict=False)
        ):
            rows = (levels == level).nonzero()[:, 0]
            part = roi_align(
                features, rois[rows], stride=stride, size=size, sampling_ratio=head.sampling_ratio
            )
            pooled = pooled.index_copy(0, rows, part)
        return pooled


class _OfVideo(nn.Module):
    """What both graphs of SELSA begin with."""

    def __init__(self, model: SELSA) -> None:
        super().__init__()
        self.model = model

    def embedded(self, image_chw: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals ``(k, 4)`` of an image and their embedded rois ``(k, d)``."""
        model, config = self.model, self.model.config
        image = _normalised(image_chw, config.rpn.size_divisor)
        features = model.detector.neck(model.detector.backbone(image)[-1])
        boxes = _proposals(model.detector.rpn_head, [features], image_chw)
        pooled = roi_align(
            features,
            _as_rois(boxes),
            stride=config.rpn.strides[0],
            size=config.roi_head.roi_feat_size,
            sampling_ratio=config.roi_head.sampling_ratio,
        )
        return boxes, model.bbox_head.embed(pooled)

    def remembered(self, embedded: Tensor) -> tuple[Tensor, ...]:
        """Keys and values ``(heads, k, d / heads)`` of embedded rois, layer by layer."""
        return tuple(part for layer in self.model.bbox_head.remember(embedded) for part in layer)


class References(_OfVideo):
    """SELSA's first half: an image gives what it lends to the frames of its video."""

    def forward(self, image_chw: Tensor) -> tuple[Tensor, ...]:
        """Keys and values of each layer; those of several references are joined along axis 1."""
        return self.remembered(self.embedded(image_chw)[1])


class FrameOfVideo(_OfVideo):
    """SELSA's second half: an image, with what the references lend, gives its detections."""

    def forward(self, image_chw: Tensor, score_threshold: Tensor, *references: Tensor) -> Found:
        """Detections in a frame of a video, RGB, 0 to 255, of any size.

        Args:
            image_chw: fp32 ``(3, height, width)``.
            score_threshold: least score of a detection, fp32 ``()``.
            references: keys and values of each layer.
        """
        boxes, embedded = self.embedded(image_chw)
        parts = zip(references, self.remembered(embedded), strict=True)
        joined = [torch.cat([lent, own], dim=1) for lent, own in parts]
        memory = tuple(zip(joined[::2], joined[1::2], strict=True))
        answer = self.model.bbox_head.aggregate(embedded, memory)
        head = self.model.detector.roi_head
        return _detections(head, answer, boxes, image_chw, score_threshold)


def _normalised(image_chw: Tensor, divisor: int) -> Tensor:
    """A batch of one, padded with zeros right and below to multiples of the divisor."""
    mean, std = mean_and_std(image_chw.device)
    height, width = image_chw.shape[-2:]
    padding = (0, -width % divisor, 0, -height % divisor)
    return F.pad((image_chw - mean) / std, padding)[None]


def _limits(image_chw: Tensor) -> Tensor:
    """Width, height, width and height ``(4,)`` of an image."""
    height, width = image_chw.shape[-2:]
    sides = [torch.full((1,), side, dtype=torch.float32) for side in (width, height)]
    return torch.cat(sides * 2)


def _as_rois(boxes_xyxy: Tensor) -> Tensor:
    return F.pad(boxes_xyxy, (1, 0))  # all of image 0


def _proposals(rpn: RPN, maps: Sequence[Tensor], image_chw: Tensor) -> Tensor:
    """Test-time proposals ``(k, 4)``, as ``RPN.proposals`` has them."""
    config, found = rpn.config, []
    logits, deltas = rpn(maps)
    size = _limits(image_chw) if config.clip_to_image else None
    for level, anchors in enumerate(rpn.anchors(logits)):
        scores = logits[level][0].permute(1, 2, 0).flatten().float().sigmoid()
        # Rows without an area, of which all levels have enough, are not kept.
        scores = F.pad(scores, (0, config.test_pre_nms_topk), value=-1.0)
        best, rows = scores.topk(config.test_pre_nms_topk)
        rows = rows.masked_fill(best < 0, 0)
        moves = deltas[level][0].permute(1, 2, 0).reshape(-1, 4)[rows]
        boxes = decode_deltas(anchors[rows], moves[:, None], size=size)[:, 0]
        boxes = boxes.masked_fill((best < 0)[:, None], 0.0)
        found.append((boxes, best, torch.full_like(best, level)))
    boxes, scores, levels = map(torch.cat, zip(*found, strict=True))
    solid = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    boxes = boxes.masked_fill(~solid[:, None], 0.0)
    offsets = levels * (boxes.max() + 1)
    kept = nms(boxes + offsets[:, None], scores, config.nms_iou)
    return boxes[kept[solid[kept]][: config.test_post_nms_topk]]


def _detections(
    head: RoIHead,
    answer: tuple[Tensor, Tensor],
    proposals_xyxy: Tensor,
    image_chw: Tensor,
    score_threshold: Tensor,
) -> Found:
    """Boxes from the second stage's logits and deltas, as ``RoIHead.detect`` has them."""
    config = head.config
    boxes, scores = head.judged(*answer, proposals_xyxy, _limits(image_chw))
    chosen = scores > score_threshold
    # Of those chosen, of which there may be none.
    reach = boxes.masked_fill(~chosen[..., None], -1.0).max() + 1
    rows, labels = chosen.nonzero(as_tuple=True)
    boxes, scores = boxes[rows, labels], scores[rows, labels]
    offsets = labels.to(boxes) * reach
    kept = nms(boxes + offsets[:, None], scores, config.nms_iou)[: config.max_detections]
    return boxes[kept], scores[kept], labels[kept]
