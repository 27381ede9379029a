"""SELSA: Faster R-CNN on a dilated C5 whose rois borrow features from other frames of the video.

Wu et al. 2019 (arXiv 1907.06390); numerically MMTracking 0.14's model, with its state-dict keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from halftrack.frames import Clip, Detections, Frame
from halftrack.layers import ChannelMapper, ResNet, ResNetConfig, normalise_and_pad, roi_align
from halftrack.models.roi_head import Memory, RoIHead, RoIHeadConfig
from halftrack.models.rpn import RPN, RPNConfig

__all__ = ["SELSA", "SelsaConfig"]


@dataclass(frozen=True, kw_only=True)
class SelsaConfig:
    """The whole model; the defaults are the published R50-DC5."""

    backbone: ResNetConfig = field(default_factory=ResNetConfig)
    """The feature extractor."""
    neck_channels: int = 512
    """Channels both stages see."""
    rpn: RPNConfig = field(default_factory=RPNConfig)
    """First stage."""
    roi_head: RoIHeadConfig = field(default_factory=RoIHeadConfig)
    """Second stage."""

    def build(self) -> SELSA:
        """The model with random weights."""
        return SELSA(self)


class _Detector(nn.Module):
    """The parts, under the keys MMTracking has them: backbone, neck, rpn_head, roi_head."""

    def __init__(self, config: SelsaConfig) -> None:
        super().__init__()
        self.backbone = ResNet(config.backbone)
        self.neck = ChannelMapper(
            in_channels=config.backbone.out_channels, out_channels=config.neck_channels
        )
        self.rpn_head = RPN(config.rpn, channels=config.neck_channels)
        self.roi_head = RoIHead(config.roi_head, in_channels=config.neck_channels)


class SELSA(nn.Module):
    """In training a clip gives losses; in evaluation a video streams, after ``start``."""

    def __init__(self, config: SelsaConfig) -> None:
        super().__init__()
        self.config = config
        self.detector = _Detector(config)
        self._memory: _StreamMemory | None = None

    def forward(self, sample: Clip | Frame) -> dict[str, Tensor] | Detections:
        """Losses of a ``Clip`` in training mode, ``Detections`` of a ``Frame`` in evaluation mode.

        Raises:
            TypeError: if the mode and the sample do not go together.
            RuntimeError: in evaluation mode before ``start``.
        """
        if self.training and isinstance(sample, Clip):
            return self.losses(sample)
        if not self.training and isinstance(sample, Frame):
            return self.detect(sample)
        wanted = "a Clip in training mode" if self.training else "a Frame in evaluation mode"
        raise TypeError(f"SELSA takes {wanted}, got a {type(sample).__name__}")

    def features(self, frames: Sequence[Frame]) -> Tensor:
        """The neck's output ``(b, c, h, w)`` for frames of any sizes, padded to a common one."""
        images = normalise_and_pad([f.image for f in frames], divisor=self.config.rpn.stride)
        if next(self.detector.backbone.parameters()).is_contiguous(
            memory_format=torch.channels_last
        ):
            images = images.contiguous(memory_format=torch.channels_last)
        mapped: Tensor = self.detector.neck(self.detector.backbone(images))
        return mapped

    def losses(self, clip: Clip) -> dict[str, Tensor]:
        """fp32 losses of the key frame; key and references share one pass through the backbone."""
        frames = (clip.key, *clip.references)
        features = self.features(frames)
        rpn, head = self.detector.rpn_head, self.detector.roi_head
        logits, deltas = rpn(features[:1])
        losses = rpn.losses(logits[0], deltas[0], clip.key.size, clip.key.boxes_xyxy)
        proposals = rpn.proposals(
            logits[0], deltas[0], clip.key.size, limit=self.config.rpn.train_proposals
        )
        rois = head.sample(proposals[:, :4], clip.key)
        # Where references come from needs no gradient; what is read there does.
        references = self.propose(features[1:], clip.references)
        memory = head.bbox_head.remember(self.embed(features[1:], references))
        embedded = self.embed(features[:1], [rois.boxes_xyxy])
        logits, deltas = head.bbox_head(embedded, memory)
        return losses | head.losses(logits, deltas, rois)

    @torch.no_grad()
    def propose(self, features: Tensor, frames: Sequence[Frame]) -> list[Tensor]:
        """Test-time proposals ``(k, 4)`` of each frame."""
        if not frames:
            return []
        rpn = self.detector.rpn_head
        logits, deltas = rpn(features)
        limit = self.config.rpn.test_proposals
        return [
            rpn.proposals(logits[i], deltas[i], frame.size, limit=limit)[:, :4]
            for i, frame in enumerate(frames)
        ]

    def embed(self, features: Tensor, boxes_xyxy: Sequence[Tensor]) -> Tensor:
        """Embedded rois ``(n, d)`` of the boxes of each image, image after image."""
        head = self.detector.roi_head
        rois = torch.cat(
            [features.new_zeros((0, 5), dtype=torch.float32)]
            + [
                torch.cat([boxes.new_full((len(boxes), 1), float(i)), boxes], dim=1)
                for i, boxes in enumerate(boxes_xyxy)
            ]
        )
        pooled = roi_align(
            features,
            rois,
            stride=self.config.rpn.stride,
            size=head.config.roi_size,
            sampling=head.config.sampling,
        )
        return head.bbox_head.embed(pooled)

    @torch.no_grad()
    def start(self, video_references: Sequence[Frame]) -> None:
        """Look at a video's reference frames, once; every frame after is detected with them.

        Args:
            video_references: frames of the video; one that is named twice counts twice and is
                computed once.

        Raises:
            RuntimeError: in training mode.
            ValueError: without any reference.
        """
        if self.training:
            raise RuntimeError("start() streams in evaluation mode: call model.eval() first")
        if not video_references:
            raise ValueError("a video needs at least one reference frame")
        known: dict[str, Tensor] = {}
        for frame in video_references:
            if frame.sample_id not in known:
                # One frame at a time: the memory needed does not grow with the number of
                # references.
                features = self.features([frame])
                known[frame.sample_id] = self.embed(features, self.propose(features, [frame]))
        embedded = torch.cat([known[frame.sample_id] for frame in video_references])
        memory = self.detector.roi_head.bbox_head.remember(embedded)
        self._memory = _StreamMemory(memory, self.config.rpn.test_proposals)

    @torch.no_grad()
    def detect(self, frame: Frame) -> Detections:
        """What is in one frame of the video ``start`` was called for, in original pixels."""
        if self._memory is None:
            raise RuntimeError("call model.start(references) before the first frame of a video")
        head = self.detector.roi_head
        features = self.features([frame])
        proposals = self.propose(features, [frame])
        embedded = self.embed(features, proposals)
        memory = self._memory.with_key_frame(head.bbox_head.remember(embedded))
        logits, deltas = head.bbox_head(embedded, memory)
        return head.detect(logits, deltas, proposals[0], frame)


class _StreamMemory:
    """The references' keys and values, with room behind them for the key frame's own."""

    def __init__(self, memory: Memory, room: int) -> None:
        self._references = memory[0][0].shape[1]
        self._buffers = [tuple(self._with_room(part, room) for part in layer) for layer in memory]

    @staticmethod
    def _with_room(part: Tensor, room: int) -> Tensor:
        heads, length, width = part.shape
        buffer = part.new_empty((heads, length + room, width))
        buffer[:, :length] = part
        return buffer

    def with_key_frame(self, memory: Memory) -> Memory:
        """All keys and values; the references' are not copied."""
        end = self._references + memory[0][0].shape[1]
        joined = []
        for buffers, own in zip(self._buffers, memory, strict=True):
            for buffer, part in zip(buffers, own, strict=True):
                buffer[:, self._references : end] = part
            joined.append((buffers[0][:, :end], buffers[1][:, :end]))
        return tuple(joined)
