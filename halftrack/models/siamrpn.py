"""SiamRPN++: where in a search region is what the template shows.

Li et al. 2019 (arXiv 1812.11703); numerically MMTracking 0.14's SiamRPN, with its state-dict keys.
Legend: n anchors in the order (row, column, anchor); boxes in pixels of their crop; RGB, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.frames import PairBatch
from halftrack.layers import (
    ConvNorm,
    LinearMapper,
    ResNet,
    depthwise_correlation,
)
from halftrack.layers.compilable import Compilable, fixed_shapes
from halftrack.layers.norms import counted_together
from halftrack.models.pair_targets import PairTargets, assign_pairs
from halftrack.models.tracker_config import SiamRPNConfig
from halftrack.precision import fp32_island

__all__ = ["SiamRPN"]


class SiamRPN(Compilable):
    """In training pairs give losses; in evaluation a template is embedded and compared."""

    def __init__(self, config: SiamRPNConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNet(config.backbone)
        self.neck = LinearMapper(
            in_channels=config.backbone.out_channels,
            out_channels=config.neck_channels,
            norm=config.norm,
        )
        self.head = _Head(config)

    @counted_together()
    def forward(self, pairs: PairBatch) -> dict[str, Tensor]:
        """fp32 losses in training mode.

        Raises:
            TypeError: in evaluation mode, which is for ``embed`` and ``compare``.
            UserError: if the box of a pair has no area or is not finite.
        """
        if not self.training or not isinstance(pairs, PairBatch):
            raise TypeError(
                "SiamRPN takes a PairBatch in training mode; in evaluation mode call embed() and "
                f"compare(), got a {type(pairs).__name__}"
            )
        # First, while there is nothing that the host would wait for.
        targets = self.assign(pairs.boxes_xyxy, pairs.positive, pairs.sample_ids)
        logits, deltas = self._answers(pairs.templates, pairs.searches)
        return self._losses(_by_anchor(logits, 2), _by_anchor(deltas, 4), targets)

    def parts_in_order(self) -> list[list[nn.Module]]:
        """Backbone, neck and head: processes that divide the weights make one whole at a time.

        The backbone's stages are no parts: it runs twice, for templates and for search regions.
        """
        return [[self.backbone], [self.neck], [self.head]]

    @fixed_shapes
    def _answers(self, templates: Tensor, searches: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(b, 2a, h, w)`` and deltas ``(b, 4a, h, w)`` of pairs."""
        # One behind the other, as parts_in_order says.
        features = [self._features(images) for images in (templates, searches)]
        of_templates, of_searches = (self.neck(each) for each in features)
        logits, deltas = self.head(self._centres(of_templates), of_searches)
        return logits, deltas

    def features(self, images_bchw: Tensor) -> list[Tensor]:
        """Maps ``(b, c, h, w)`` of raw RGB images."""
        maps: list[Tensor] = self.neck(self._features(images_bchw))
        return maps

    def _features(self, images_bchw: Tensor) -> Sequence[Tensor]:
        """The backbone's output."""
        # BGR, not normalised: what the published backbone was trained on.
        images = images_bchw.float().flip(1)
        if self.backbone_channels_last:
            last = self.backbone(images.contiguous(memory_format=torch.channels_last))
            return [x.contiguous() for x in last]
        features: tuple[Tensor, ...] = self.backbone(images)
        return features

    @property
    def backbone_channels_last(self) -> bool:
        """True on a CPU while the backbone's batch norms learn: they and thin layers are faster so.

        Frozen norms are folded and leave convolutions, which gain nothing. Neck and head stay
        channels-first, where a group norm takes a third of the time.
        """
        config, weight = self.config.backbone, self.backbone.conv1.weight
        learns = self.training and config.norm == "batch" and not config.frozen_bn
        return learns and weight.is_cpu and weight.is_contiguous()

    @torch.no_grad()
    def embed(self, template_chw: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Template features of each level, slid over search regions; computed once a video."""
        template = template_chw.to(self.head.cls_weight.device)
        return self.head.embed(self._centres(self.features(template[None])))

    @torch.no_grad()
    def compare(
        self, embedding: list[tuple[Tensor, Tensor]], search_chw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores ``(n,)`` in [0, 1] and deltas ``(n, 4)`` of all anchors of a search region."""
        search = search_chw.to(self.head.cls_weight.device)
        logits, deltas = self.head.compare(embedding, self.features(search[None]))
        scores = _by_anchor(logits, 2)[0].float().softmax(dim=1)[:, 1]
        return scores, _by_anchor(deltas, 4)[0].float()

    def tensor_calls(self) -> tuple[nn.Module, dict[str, tuple[Tensor, ...]]]:
        """The model as ``embed`` and ``compare`` of tensors alone, with inputs of their kind."""
        calls, geometry = _OnTensors(self), self.config.geometry
        sides = (geometry.template_size, geometry.search_size)
        template, search = (torch.rand(3, side, side) * 255 for side in sides)
        embedding = calls.embed(template)
        return calls, {"embed": (template,), "compare": (search, *embedding)}

    def anchors(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """fp32 ``(n, 4)`` xyxy in pixels of the search region."""
        geometry = self.config.geometry
        return geometry.anchors(rows, columns, device) + geometry.search_size // 2

    def assign(
        self, boxes_xyxy: Tensor, positive: Tensor, sample_ids: Sequence[str]
    ) -> PairTargets:
        """Targets of pairs: the object's place, or that a negative pair has no object.

        Args:
            boxes_xyxy: ``(b, 4)`` the object in the search region; of a negative pair another one.
            positive: bool ``(b,)``, whether template and search region show the same object.
            sample_ids: names of the pairs.

        Raises:
            UserError: if the box of a pair has no area or is not finite.
        """
        size = self.config.geometry.response_size
        anchors = self.anchors(size, size, boxes_xyxy.device)
        return assign_pairs(
            boxes_xyxy,
            positive,
            anchors_xyxy=anchors,
            near=self._around(boxes_xyxy, anchors),
            matching=self.config.matching,
            num_negatives=self.config.num_negatives,
            sample_ids=sample_ids,
        )

    def _around(self, boxes_xyxy: Tensor, anchors_xyxy: Tensor) -> Tensor:
        """Bool ``(b, n)``: anchors of the cells around each box."""
        geometry, reach = self.config.geometry, self.config.negative_cells // 2
        boxes, cells = (
            ((xyxy[:, :2] + xyxy[:, 2:]) * 0.5 - geometry.search_size // 2) / geometry.stride
            for xyxy in (boxes_xyxy, anchors_xyxy)
        )
        # ceil(x + 0.5), without the sum that fp32 would round.
        middles = (((boxes * 2).ceil() + 1) / 2).ceil()
        return ((cells.round()[None] - middles[:, None]).abs() <= reach).all(dim=2)

    def _losses(self, logits: Tensor, deltas: Tensor, targets: PairTargets) -> dict[str, Tensor]:
        """Means over pairs, of logits ``(b, n, 2)`` and deltas ``(b, n, 4)``."""
        pairs, on_object = len(logits), len(targets.deltas)
        labels = torch.zeros_like(targets.sampled)
        labels[:on_object] = 1
        scores = logits.flatten(0, 1).index_select(0, targets.sampled).float()
        each = F.cross_entropy(scores, labels, reduction="none") * targets.weights
        moves = deltas.flatten(0, 1).index_select(0, targets.positive).float()
        # A positive anchor's weight is half of its share of its pair.
        apart = (moves - targets.deltas).abs() * targets.weights[:on_object, None]
        return {
            "loss_rpn_cls": each.sum() / pairs,
            "loss_rpn_bbox": apart.sum() * (2 * self.config.box_weight / pairs),
        }

    def _centres(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The middle of a template's maps."""
        keep = self.config.geometry.template_cells
        start = [(x.shape[-1] - keep) // 2 for x in maps]
        return [x[:, :, s : s + keep, s : s + keep] for x, s in zip(maps, start, strict=True)]


class _OnTensors(nn.Module):
    """The model with kernels in a row: of each level that for the score, then that for the box."""

    def __init__(self, model: SiamRPN) -> None:
        super().__init__()
        self.model = model

    def embed(self, template_chw: Tensor) -> tuple[Tensor, ...]:
        return tuple(kernel for pair in self.model.embed(template_chw) for kernel in pair)

    def compare(self, search_chw: Tensor, *kernels: Tensor) -> tuple[Tensor, Tensor]:
        pairs = list(zip(kernels[::2], kernels[1::2], strict=True))
        return self.model.compare(pairs, search_chw)


class _Branch(nn.Module):
    """One level's answer to one question: template and search region correlated, then judged."""

    def __init__(self, config: SiamRPNConfig, out_channels: int) -> None:
        super().__init__()
        channels, norm = config.neck_channels, config.norm
        self.kernel_convs = ConvNorm(channels, channels, kernel=3, norm=norm)
        self.search_convs = ConvNorm(channels, channels, kernel=3, norm=norm)
        self.head_convs = nn.Sequential(
            ConvNorm(channels, channels, kernel=1, norm=norm),
            ConvNorm(channels, out_channels, kernel=1, norm=None),
        )

    def embed(self, template_bchw: Tensor) -> Tensor:
        embedded: Tensor = self.kernel_convs(template_bchw)
        return embedded.relu_()

    def compare(self, embedded: Tensor, search_bchw: Tensor) -> Tensor:
        return self._judge(embedded, self.search_convs(search_bchw).relu_())

    # fp32 to the end: rounded to half before the first 1x1 convolution, the sums that correlation
    # keeps finite would be infinite after all. It costs a few percent of the backbone's products.
    @fp32_island
    def _judge(self, embedded: Tensor, search_bchw: Tensor) -> Tensor:
        hidden = self.head_convs[0](depthwise_correlation(search_bchw, embedded)).relu_()
        answer: Tensor = self.head_convs[1](hidden)
        return answer


class _Head(nn.Module):
    """Three levels' answers, weighed by what training found them worth."""

    def __init__(self, config: SiamRPNConfig) -> None:
        super().__init__()
        levels, anchors = len(config.backbone.outputs), len(config.geometry.anchor_ratios)
        self.cls_weight = nn.Parameter(torch.ones(levels))
        self.reg_weight = nn.Parameter(torch.ones(levels))
        self.cls_heads = _branches(config, 2 * anchors)
        self.reg_heads = _branches(config, 4 * anchors)

    def forward(
        self, templates: Sequence[Tensor], searches: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Logits ``(b, 2a, h, w)`` and deltas ``(b, 4a, h, w)``."""
        return self.compare(self.embed(templates), searches)

    def embed(self, templates: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Kernels of both questions, for each level."""
        return [
            (score.embed(template), box.embed(template))
            for (score, box), template in zip(self._levels(), templates, strict=True)
        ]

    def compare(
        self, kernels: Sequence[tuple[Tensor, Tensor]], searches: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """As ``forward``, of kernels made before."""
        logits, deltas = [], []
        levels = zip(self._levels(), kernels, searches, strict=True)
        for (score, box), (score_kernel, box_kernel), search in levels:
            logits.append(score.compare(score_kernel, search))
            deltas.append(box.compare(box_kernel, search))
        return _weighed(logits, self.cls_weight), _weighed(deltas, self.reg_weight)

    def _levels(self) -> Iterator[tuple[_Branch, _Branch]]:
        for score, box in zip(self.cls_heads, self.reg_heads, strict=True):
            assert isinstance(score, _Branch)
            assert isinstance(box, _Branch)
            yield score, box


def _branches(config: SiamRPNConfig, out_channels: int) -> nn.ModuleList:
    return nn.ModuleList([_Branch(config, out_channels) for _ in config.backbone.outputs])


def _weighed(levels: list[Tensor], worth: Tensor) -> Tensor:
    """The levels' mean ``(b, c, h, w)``, weighed by the softmax of what each is worth."""
    weights = worth.softmax(dim=0)[:, None, None, None, None]
    return (torch.stack(levels) * weights).sum(dim=0)


def _by_anchor(maps: Tensor, values: int) -> Tensor:
    """``(b, values * a, h, w)`` to ``(b, h * w * a, values)``; channels are (value, anchor)."""
    batch, channels, rows, columns = maps.shape
    split = maps.reshape(batch, values, channels // values, rows, columns)
    return split.permute(0, 3, 4, 2, 1).reshape(batch, -1, values)
