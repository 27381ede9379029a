"""SELSA: Faster R-CNN on a dilated C5 whose rois borrow features from other frames of the video.

Wu et al. 2019 (arXiv 1907.06390); numerically MMTracking 0.14's model, with its state-dict keys.
Shapes: features ``(b, c, h, w)``, embedded rois ``(n, d)`` (the first FC's output), keys and values
``(heads, m, d / heads)`` over m reference rois.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from halftrack.frames import Clip, ClipBatch, Detections, Frame
from halftrack.layers import ChannelMapper, ResNet, normalise_and_pad, roi_align
from halftrack.layers.compilable import Compilable, fixed_shapes
from halftrack.models.detector_config import RoIHeadConfig, SelsaConfig
from halftrack.models.matching import Draws
from halftrack.models.roi_head import BBoxHead, RoIHead, to_rois, xavier_linear
from halftrack.models.rpn import RPN
from halftrack.models.selsa_memory import Memory, Shares, StreamMemory, shares_of, split_memory

__all__ = ["SELSA"]

_Answers = tuple[list[Tensor], list[Tensor]]
"""Logits and deltas of the RPN, one map each."""


class Aggregator(nn.Module):
    """Attention from rois of the key frame to rois of the references."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.fc_embed = xavier_linear(channels, channels)
        self.ref_fc_embed = xavier_linear(channels, channels)
        self.fc = xavier_linear(channels, channels)
        self.ref_fc = xavier_linear(channels, channels)

    def remember(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of reference rois ``(m, d)``."""
        return self._split(self.ref_fc_embed(references)), self._split(self.ref_fc(references))

    def forward(
        self, rois: Tensor, keys: Tensor, values: Tensor, shares: Shares | None = None
    ) -> Tensor:
        """Features of the references, aggregated for each roi: ``(n, d)``.

        Several clips come one after the other, each with its ``shares`` of rois and references.
        """
        # The query is scaled before the product: 64-term products of fp16 features pass 65504 from
        # |q| = 33 on.
        queries = self._split(self.fc_embed(rois)) * (keys.shape[-1] ** -0.5)
        if shares is None:
            gathered = _attend(queries, keys, values)
        else:
            lent = (keys.split(shares[1], 1), values.split(shares[1], 1))
            clips = zip(queries.split(shares[0], 1), *lent, strict=True)
            gathered = torch.cat([_attend(*clip) for clip in clips], dim=1)
        answer: Tensor = self.fc(gathered.transpose(0, 1).flatten(1))
        return answer

    def _split(self, features: Tensor) -> Tensor:
        # Not -1: without any roi (features that are not finite give none) it could not be told.
        width = features.shape[1] // self._heads
        return features.view(features.shape[0], self._heads, width).transpose(0, 1)


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The values ``(heads, n, d / heads)`` that the rois of one clip gather."""
    # fp32: the softmax sums thousands of terms of which a few matter.
    weights = torch.bmm(queries, keys.transpose(1, 2)).softmax(dim=2, dtype=torch.float32)
    return torch.bmm(weights.to(values.dtype), values)


class SelsaBBoxHead(BBoxHead):
    """Embeds rois, mixes the references in, and tells class and box."""

    def __init__(self, config: RoIHeadConfig, *, in_channels: int, heads: int) -> None:
        super().__init__(config, in_channels=in_channels)
        self.aggregator = nn.ModuleList(
            [Aggregator(config.fc_out_channels, heads) for _ in self.shared_fcs]
        )

    def embed(self, roi_features: Tensor) -> Tensor:
        """The first FC's output ``(n, d)``, before its activation."""
        embedded: Tensor = self.shared_fcs[0](roi_features.flatten(1))
        return embedded

    def remember(self, embedded: Tensor) -> Memory:
        """Features that references lend to every key frame; they depend on no key frame."""
        memory = []
        for index, aggregator in enumerate(self.aggregator):
            assert isinstance(aggregator, Aggregator)
            if index:
                embedded = self.shared_fcs[index](embedded.relu())
            memory.append(aggregator.remember(embedded))
        return tuple(memory)

    def aggregate(
        self, embedded: Tensor, memory: Memory, shares: Shares | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits and deltas of embedded rois, aggregated before each activation.

        Several clips come one after the other, each with its ``shares`` of rois and references.
        """
        for index, (keys, values) in enumerate(memory):
            if index:
                embedded = self.shared_fcs[index](embedded)
            embedded = (embedded + self.aggregator[index](embedded, keys, values, shares)).relu()
        return self.fc_cls(embedded), self.fc_reg(embedded)


class _Detector(nn.Module):
    """The parts, under the keys MMTracking has them: backbone, neck, rpn_head, roi_head."""

    def __init__(self, config: SelsaConfig) -> None:
        super().__init__()
        self.backbone = ResNet(config.backbone)
        self.neck = ChannelMapper(
            in_channels=config.backbone.out_channels[-1], out_channels=config.neck_channels
        )
        self.rpn_head = RPN(config.rpn, channels=config.neck_channels)
        bbox_head = SelsaBBoxHead(
            config.roi_head, in_channels=config.neck_channels, heads=config.attention_heads
        )
        self.roi_head = RoIHead(config.roi_head, bbox_head)


class SELSA(Compilable):
    """In training clips give losses; in evaluation a video streams, after ``start``."""

    def __init__(self, config: SelsaConfig) -> None:
        super().__init__()
        self.config = config
        self.detector = _Detector(config)
        self._memory: StreamMemory | None = None

    def forward(
        self, inputs: Clip | ClipBatch | Frame | Sequence[Frame]
    ) -> dict[str, Tensor] | Detections | list[Detections]:
        """Losses of clips in training mode, ``Detections`` of a ``Frame`` in evaluation mode.

        Several frames in evaluation mode share a pass, and each has its own ``Detections``.

        Raises:
            TypeError: if the mode and the inputs do not go together.
            RuntimeError: in evaluation mode before ``start``.
        """
        if self.training and isinstance(inputs, Clip):
            return self.losses([inputs])
        if self.training and isinstance(inputs, ClipBatch):
            draws = [torch.Generator("cpu").manual_seed(seed) for seed in inputs.seeds]
            return self.losses(inputs.clips, draws)
        if not self.training and isinstance(inputs, Frame):
            return self.detect(inputs)
        if not self.training and isinstance(inputs, Sequence):
            return self.detect_all(inputs)
        wanted = "a Clip or ClipBatch in training" if self.training else "a Frame in evaluation"
        raise TypeError(f"SELSA takes {wanted} mode, got a {type(inputs).__name__}")

    def features(self, frames: Sequence[Frame]) -> Tensor:
        """The neck's output ``(b, c, h, w)`` for frames of any sizes, padded to a common one."""
        mapped: Tensor = self.detector.neck(self.detector.backbone(self._images(frames))[-1])
        return mapped

    def _images(self, frames: Sequence[Frame]) -> Tensor:
        divisor, few = self.config.rpn.size_divisor, self.is_compiled
        return normalise_and_pad([f.pixels for f in frames], divisor=divisor, few_sizes=few)

    @fixed_shapes
    def _dense(self, images_bchw: Tensor, keys: int) -> tuple[Tensor, _Answers, _Answers]:
        """The neck's output, the RPN's answers on the first images, and those on all of them."""
        features: Tensor = self.detector.neck(self.detector.backbone(images_bchw)[-1])
        own: _Answers = self.detector.rpn_head([features[:keys]])
        # Where references come from needs no gradient; what is read there does.
        with torch.no_grad():
            lent: _Answers = self.detector.rpn_head([features[keys:]])
            logits, deltas = ([torch.cat([*a, *b])] for a, b in zip(own, lent, strict=True))
        return features, own, (logits, deltas)

    def losses(self, clips: Sequence[Clip], draws: Draws = None) -> dict[str, Tensor]:
        """fp32 losses of the key frames, each clip's own averaged over the clips.

        All frames share one pass through backbone, neck and RPN; attention stays within its clip.

        Args:
            clips: what is learned.
            draws: random numbers of each clip; None: torch's own.
        """
        keys = [clip.key for clip in clips]
        frames = [*keys, *(frame for clip in clips for frame in clip.references)]
        rpn, head = self.detector.rpn_head, self.detector.roi_head
        features, own, every = self._dense(self._images(frames), len(keys))
        losses = rpn.losses(*own, keys, each=True, draws=draws)
        learned = [place < len(keys) for place in range(len(frames))]
        proposals = rpn.proposals(*every, frames, learned=learned)
        found = [boxes[:, :4] for boxes in proposals]
        rois = head.sampler(found[: len(keys)], keys, draws)
        references = found[len(keys) :]
        embedded = self.embed(features, [*rois.per_frame, *references])
        rois_of_keys, others = embedded.tensor_split([len(rois.boxes_xyxy)])
        shares = shares_of(clips, rois.counts, references) if len(clips) > 1 else None
        answer = self.bbox_head.aggregate(rois_of_keys, self.bbox_head.remember(others), shares)
        return losses | head.losses(*answer, rois, each=True)

    @property
    def bbox_head(self) -> SelsaBBoxHead:
        """The second stage's layers."""
        head = self.detector.roi_head.bbox_head
        assert isinstance(head, SelsaBBoxHead)
        return head

    @torch.no_grad()
    def propose(self, features: Tensor, frames: Sequence[Frame]) -> list[Tensor]:
        """Test-time proposals ``(k, 4)`` of each frame."""
        if not frames:
            return []
        rpn = self.detector.rpn_head
        logits, deltas = rpn([features])
        found = rpn.proposals(logits, deltas, frames, learned=False)
        return [proposals[:, :4] for proposals in found]

    def embed(self, features: Tensor, boxes_xyxy: Sequence[Tensor]) -> Tensor:
        """Embedded rois ``(n, d)`` of the boxes of each image, image after image."""
        config = self.config.roi_head
        nothing = features.new_zeros((0, 5), dtype=torch.float32)
        rois = to_rois(boxes_xyxy) if boxes_xyxy else nothing
        pooled = roi_align(
            features,
            rois,
            stride=self.config.rpn.strides[0],
            size=config.roi_feat_size,
            sampling_ratio=config.sampling_ratio,
        )
        return self.bbox_head.embed(pooled)

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
        memory = self.bbox_head.remember(embedded)
        self._memory = StreamMemory(memory, self.config.rpn.test_post_nms_topk)

    def detect(self, frame: Frame) -> Detections:
        """Detections in a frame of the video that ``start`` was given, in original pixels."""
        return self.detect_all([frame])[0]

    @torch.no_grad()
    def detect_all(self, frames: Sequence[Frame]) -> list[Detections]:
        """Detections in each of several frames of the video, all of one size, in one pass.

        Each frame attends to the references and to itself, as if it came alone.
        """
        if self._memory is None:
            raise RuntimeError("call model.start(references) before the first frame of a video")
        features = self.features(frames)
        proposals = self.propose(features, frames)
        embedded = self.embed(features, proposals)
        counts = [len(boxes) for boxes in proposals]
        own = split_memory(self.bbox_head.remember(embedded), counts)
        found = []
        for rois, memory, boxes, frame in zip(
            embedded.split(counts), own, proposals, frames, strict=True
        ):
            answer = self.bbox_head.aggregate(rois, self._memory.with_key_frame(memory))
            found.append(self.detector.roi_head.detect(*answer, boxes, frame))
        return found
