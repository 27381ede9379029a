"""Faster R-CNN with a feature pyramid, the detector of Tracktor: boxes may leave the image.

Ren et al. 2015 and Lin et al. 2017; numerically MMTracking 0.14's model (mmdet 2.28), with its
state-dict keys. Shapes: five maps ``(b, c, h, w)`` at strides 4 to 64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from halftrack.frames import Detections, Frame, FrameBatch
from halftrack.layers import FPN, ResNet, normalise_and_pad, roi_align_pyramid
from halftrack.layers.compilable import Compilable, coarse, fixed_shapes
from halftrack.models.detector_config import FasterRCNNConfig
from halftrack.models.roi_head import BBoxHead, RoIHead, to_rois
from halftrack.models.rpn import RPN

__all__ = ["FasterRCNN"]


class FasterRCNN(Compilable):
    """In training a batch of frames gives losses; in evaluation a frame gives detections."""

    def __init__(self, config: FasterRCNNConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.neck_channels
        self.backbone = ResNet(config.backbone)
        self.neck = FPN(in_channels=config.backbone.out_channels, out_channels=channels)
        self.rpn_head = RPN(config.rpn, channels=channels)
        self.roi_head = RoIHead(config.roi_head, BBoxHead(config.roi_head, in_channels=channels))
        self._seen: list[tuple[Frame, list[Tensor]]] = []

    def forward(
        self, inputs: FrameBatch | Frame | Sequence[Frame]
    ) -> dict[str, Tensor] | Detections | list[Detections]:
        """Losses of a ``FrameBatch`` in training mode, ``Detections`` of a ``Frame`` in evaluation.

        Several frames in evaluation mode share a pass, and each has its own ``Detections``.

        Raises:
            TypeError: if the mode and the inputs do not go together.
        """
        if self.training and isinstance(inputs, FrameBatch):
            return self.losses(inputs)
        if not self.training and isinstance(inputs, Frame):
            return self.detect(inputs)
        if not self.training and isinstance(inputs, Sequence):
            return self.detect_all(inputs)
        wanted = "a FrameBatch in training mode" if self.training else "a Frame in evaluation mode"
        raise TypeError(f"FasterRCNN takes {wanted}, got a {type(inputs).__name__}")

    def features(self, frames: Sequence[Frame]) -> list[Tensor]:
        """The pyramid of frames of any sizes, padded to a common one."""
        maps: list[Tensor] = self.neck(self.backbone(self._images(frames)))
        return maps

    def _images(self, frames: Sequence[Frame]) -> Tensor:
        divisor, few = self.config.rpn.size_divisor, self.is_compiled
        return normalise_and_pad([f.pixels for f in frames], divisor=divisor, few_sizes=few)

    @fixed_shapes
    def _dense(self, images_bchw: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """The pyramid of images, and the RPN's answers on it."""
        maps: list[Tensor] = self.neck(self.backbone(images_bchw))
        logits, deltas = self.rpn_head(maps)
        return maps, logits, deltas

    def losses(self, batch: FrameBatch) -> dict[str, Tensor]:
        """fp32 losses of both stages."""
        maps, logits, deltas = self._dense(self._images(batch.frames))
        losses: dict[str, Tensor] = self.rpn_head.losses(logits, deltas, batch.frames)
        proposals = self.rpn_head.proposals(logits, deltas, batch.frames, learned=True)
        rois = self.roi_head.sampler([boxes[:, :4] for boxes in proposals], batch.frames)
        answer = self._second_stage(maps, rois.per_frame)
        return losses | self.roi_head.losses(*answer, rois)

    def detect(self, frame: Frame) -> Detections:
        """Detections in a frame, in original pixels; public boxes serve as proposals."""
        return self.detect_all([frame])[0]

    @torch.no_grad()
    def detect_all(self, frames: Sequence[Frame]) -> list[Detections]:
        """Detections in each of several frames, all of one size, in one pass.

        Either all of the frames have public boxes or none.
        """
        maps = self.features(frames)
        self._seen = [
            (frame, [level[i : i + 1] for level in maps]) for i, frame in enumerate(frames)
        ]
        proposals = [frame.public_xyxy for frame in frames if frame.public_xyxy is not None]
        if not proposals:
            logits, deltas = self.rpn_head(maps)
            ranked = self.rpn_head.proposals(logits, deltas, frames, learned=False)
            proposals = [boxes[:, :4] for boxes in ranked]
        counts = [len(boxes) for boxes in proposals]
        logits, deltas = self._second_stage(maps, proposals)
        return [
            self.roi_head.detect(*each)
            for each in zip(
                logits.split(counts), deltas.split(counts), proposals, frames, strict=True
            )
        ]

    @torch.no_grad()
    def regress(self, frame: Frame, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
        """The second stage on given boxes, neither suppressed nor thresholded.

        The pyramid of a frame of the last pass of ``detect`` or ``detect_all`` is used again.

        Args:
            frame: where to look.
            boxes_xyxy: ``(n, 4)`` in original pixels, on any device.

        Returns:
            Boxes ``(n, classes, 4)`` in original pixels and scores ``(n, classes)``.

        Source: MMTracking 0.14, Tracktor's use of mmdet's simple_test_bboxes.
        """
        return self.regress_on(self.pyramid(frame), frame, boxes_xyxy)

    @torch.no_grad()
    def pyramid(self, frame: Frame) -> list[Tensor]:
        """The maps ``(1, c, h, w)`` of a frame, those of the last pass if it was in it."""
        maps = next((maps for seen, maps in self._seen if seen is frame), None)
        if maps is None:
            maps = self.features([frame])
            self._seen = [(frame, maps)]
        return maps

    @torch.no_grad()
    def regress_on(
        self, maps: Sequence[Tensor], frame: Frame, boxes_xyxy: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``regress`` where the frame's ``pyramid`` is known; its pixels are not looked at."""
        boxes = boxes_xyxy.to(maps[0].device, torch.float32)
        boxes = boxes * boxes.new_tensor(frame.scale_xy * 2)
        return self.roi_head.decode(*self._second_stage(maps, [boxes]), boxes, frame)

    def _second_stage(
        self, maps: Sequence[Tensor], boxes_xyxy: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Logits and deltas of the boxes of each image, image after image."""
        pooled = roi_align_pyramid(
            maps[:-1],
            to_rois(boxes_xyxy),
            strides=self.config.rpn.strides[:-1],
            size=self.config.roi_head.roi_feat_size,
            sampling_ratio=self.config.roi_head.sampling_ratio,
        )
        if not self.is_compiled:
            return self._judge(pooled)
        rows = len(pooled)
        logits, deltas = self._judge(F.pad(pooled, (0, 0) * 3 + (0, coarse(rows) - rows)))
        return logits[:rows], deltas[:rows]

    @fixed_shapes
    def _judge(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.roi_head.bbox_head(roi_features)
        return logits, deltas
