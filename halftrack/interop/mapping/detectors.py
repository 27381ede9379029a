"""Rules for the parts of MMTracking's models: backbone, first and second stage of a detector."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from halftrack.errors import UserError
from halftrack.interop.configs.sections import Section
from halftrack.interop.mapping.rules import (
    KEEP,
    Derived,
    Field,
    Fields,
    Fixed,
    Key,
    Rule,
    Skip,
    prefixed,
)

__all__ = ["assigner", "backbone", "box_coder", "faster_rcnn", "sampler", "start_weights"]

_HUBS = ("torchvision://", "open-mmlab://")
_WEB = ("http://", "https://")


def backbone(ours: str, *kinds: str, frozen_bn: bool = True) -> dict[str, Rule]:
    """Rules for a ResNet.

    Args:
        ours: dotted path of our backbone.
        kinds: names of the class, all with the same settings.
        frozen_bn: the class's own default of ``norm_eval``.
    """
    return {
        "type": Fixed(*kinds, default=None),
        "depth": Field(f"{ours}.depth"),
        "num_stages": Fixed(4),
        "out_indices": Field(f"{ours}.outputs", _one_based, default=(0, 1, 2, 3)),
        "strides": Field(f"{ours}.strides", default=(1, 2, 2, 2)),
        "dilations": Field(f"{ours}.dilations", default=(1, 1, 1, 1)),
        "frozen_stages": Field(f"{ours}.frozen_stages", default=-1),
        "groups": Field(f"{ours}.groups", default=1),
        "base_width": Field(f"{ours}.width_per_group", default=KEEP),
        "base_channels": Field(f"{ours}.base_channels", default=64),
        "norm_cfg.type": Fixed("BN"),
        "norm_cfg.requires_grad": Fixed(True),
        "norm_eval": Field(f"{ours}.frozen_bn", default=frozen_bn),
        "style": Fixed("pytorch"),
        "with_cp": Field(f"{ours}.recompute", default=KEEP, several=_recomputed(ours)),
    }


def _one_based(indices: Any) -> tuple[int, ...]:
    if not isinstance(indices, list | tuple) or not all(isinstance(each, int) for each in indices):
        raise UserError("expected stages counted from 0, e.g. (0, 1, 2, 3)")
    return tuple(index + 1 for index in indices)


def _recomputed(ours: str) -> Any:
    def several(key: Key, fields: Fields) -> None:
        frozen = fields.values.get(f"{ours}.frozen_stages", -1)
        stages = range(max(frozen, 0) + 1, 5) if key.value and isinstance(frozen, int) else ()
        fields.put(f"{ours}.recompute", tuple(stages), key)

    return several


def start_weights(ours: str | None) -> Field:
    """The rule for ``init_cfg``: the file that a model or its backbone starts from.

    Args:
        ours: the recipe field that names ImageNet weights or none; None if a recipe has none.
    """

    def several(key: Key, fields: Fields) -> None:
        given = key.value.get("checkpoint") if isinstance(key.value, Section) else None
        if key.value is None:
            if ours is not None:
                fields.put(ours, "none", key)
        elif not isinstance(given, str):
            raise UserError("expected None or dict(type='Pretrained', checkpoint=FILE)")
        elif given.startswith(_WEB):
            fields.notes.append(
                f"{key.path} ({key.place}) starts from {given}: download it and give it with --init"
            )
        elif not given.startswith(_HUBS):
            fields.init = given
        elif ours is not None:
            fields.put(ours, "imagenet", key)

    return Field(ours or "--init", default=KEEP, several=several)


def box_coder(clip: str | None = None, std: str | None = None) -> dict[str, Rule]:
    """Rules for the coding of boxes.

    Args:
        clip: our field that says whether boxes are cut to the image, if there is one.
        std: our field of the deltas' units; without it they are 1.
    """
    ones = (1.0, 1.0, 1.0, 1.0)
    rules: dict[str, Rule] = {
        "bbox_coder.type": Fixed("DeltaXYWHBBoxCoder"),
        "bbox_coder.target_means": Fixed((0.0, 0.0, 0.0, 0.0)),
        "bbox_coder.target_stds": Field(std, default=ones) if std else Fixed(ones),
    }
    return rules | ({"bbox_coder.clip_border": Field(clip, default=True)} if clip else {})


def assigner(ours: str) -> dict[str, Rule]:
    """Rules for the assignment of boxes to objects.

    Args:
        ours: dotted path of our matching.
    """

    def low_quality(key: Key, fields: Fields) -> None:
        section = key.value
        known = {"type", "pos_iou_thr", "neg_iou_thr", "min_pos_iou", "match_low_quality"}
        if not isinstance(section, Section) or section.get("type") != "MaxIoUAssigner":
            raise UserError("here it is dict(type='MaxIoUAssigner', ...)")
        for name in section:
            inside = Key(f"{key.path}.{name}", section[name], section.places[name])
            if name == "ignore_iof_thr" and section[name] != -1:
                raise inside.refused("here it is -1")
            if name not in known | {"ignore_iof_thr"}:
                raise inside.refused(f"it has no counterpart here; the nearest is {ours}")
        for theirs, field in (("pos_iou_thr", "positive_iou"), ("neg_iou_thr", "negative_iou")):
            if theirs not in section:
                raise UserError(f"there is no key {theirs}, which sets {ours}.{field} here")
            inside = Key(f"{key.path}.{theirs}", section[theirs], section.places[theirs])
            fields.put(f"{ours}.{field}", section[theirs], inside)
        matched = section.get("match_low_quality", True)
        least = section.get("min_pos_iou", 0.0)
        fields.put(f"{ours}.low_quality_iou", least if matched else None, key)

    return {"assigner": Field(ours, several=low_quality)}


def sampler(ours: str, *, with_truth: bool) -> dict[str, Rule]:
    """Rules for the drawing of boxes to learn from.

    Args:
        ours: dotted path of our matching.
        with_truth: the objects themselves are put before the proposals.
    """
    return {
        "sampler.type": Fixed("RandomSampler", default=None),
        "sampler.num": Field(f"{ours}.num_samples"),
        "sampler.pos_fraction": Field(f"{ours}.positive_fraction"),
        "sampler.neg_pos_ub": Fixed(-1),
        "sampler.add_gt_as_proposals": Fixed(with_truth, default=True),
    }


def faster_rcnn(theirs: str, ours: str, *, selsa: bool) -> dict[str, Rule]:
    """Rules for a Faster R-CNN: SELSA's of one map, or Tracktor's with a pyramid.

    Args:
        theirs: dotted path of their detector.
        ours: dotted path of our model.
        selsa: the second stage aggregates reference frames.
    """
    get = attrgetter
    channels = Derived(get(f"{ours}.neck_channels"), f"{ours}.neck_channels")
    model = {
        "type": Fixed("FasterRCNN", default=None),
        "init_cfg": start_weights(None),
        **prefixed("backbone", backbone(f"{ours}.backbone", "ResNet", "ResNeXt")),
        "neck.type": Fixed("ChannelMapper" if selsa else "FPN", default=None),
        "neck.in_channels": Derived(get(f"{ours}.backbone.out_channels"), f"{ours}.backbone"),
        "neck.out_channels": Field(f"{ours}.neck_channels"),
        **({"neck.kernel_size": Fixed(3)} if selsa else {"neck.num_outs": _maps(ours)}),
        "rpn_head.in_channels": channels,
        "rpn_head.feat_channels": channels,
        **prefixed("rpn_head", _rpn_head(f"{ours}.rpn")),
        **prefixed("roi_head", _roi_head(ours, selsa=selsa)),
        **prefixed("train_cfg", _train_settings(ours)),
        **prefixed("test_cfg", _test_settings(ours)),
    }
    return prefixed(theirs, model)


def _maps(ours: str) -> Derived:
    strides = f"{ours}.rpn.strides"
    return Derived(lambda recipe: len(attrgetter(strides)(recipe)), strides)


def _rpn_head(ours: str) -> dict[str, Rule]:
    return {
        "type": Fixed("RPNHead", default=None),
        "anchor_generator.type": Fixed("AnchorGenerator", default=None),
        "anchor_generator.scales": Field(f"{ours}.scales"),
        "anchor_generator.ratios": Field(f"{ours}.ratios"),
        "anchor_generator.strides": Field(f"{ours}.strides"),
        **box_coder(clip=f"{ours}.clip_to_image"),
        **_class_loss(sigmoid=True),
        "loss_bbox.type": Fixed("SmoothL1Loss", default=None),
        "loss_bbox.beta": Field(f"{ours}.smooth_l1_beta", default=1.0),
        "loss_bbox.loss_weight": Fixed(1.0),
    }


def _roi_head(ours: str, *, selsa: bool) -> dict[str, Rule]:
    head, get = f"{ours}.roi_head", attrgetter
    channels = Derived(get(f"{ours}.neck_channels"), f"{ours}.neck_channels")
    strides = Derived(
        lambda recipe: get(f"{ours}.rpn.strides")(recipe)[: 1 if selsa else -1],
        f"{ours}.rpn.strides",
    )
    hidden = f"{head}.fc_out_channels"
    rules: dict[str, Rule] = {
        "type": Fixed("SelsaRoIHead" if selsa else "StandardRoIHead", default=None),
        "bbox_roi_extractor.type": Fixed("SingleRoIExtractor", default=None),
        "bbox_roi_extractor.roi_layer.type": Fixed("RoIAlign", default=None),
        "bbox_roi_extractor.roi_layer.output_size": Field(f"{head}.roi_feat_size"),
        "bbox_roi_extractor.roi_layer.sampling_ratio": Field(f"{head}.sampling_ratio", default=0),
        "bbox_roi_extractor.out_channels": channels,
        "bbox_roi_extractor.featmap_strides": strides,
        "bbox_head.type": Fixed("SelsaBBoxHead" if selsa else "Shared2FCBBoxHead", default=None),
        "bbox_head.in_channels": channels,
        "bbox_head.fc_out_channels": Field(hidden, default=1024),
        "bbox_head.roi_feat_size": Field(f"{head}.roi_feat_size", default=KEEP),
        "bbox_head.num_classes": Field(f"{head}.num_classes", default=80),
        **prefixed("bbox_head", box_coder(f"{head}.clip_to_image", f"{head}.delta_std")),
        "bbox_head.reg_class_agnostic": Fixed(False),
        **prefixed("bbox_head", _class_loss(sigmoid=False)),
        "bbox_head.loss_bbox.type": Fixed("SmoothL1Loss", default=None),
        "bbox_head.loss_bbox.beta": Fixed(1.0),
        "bbox_head.loss_bbox.loss_weight": Fixed(1.0),
    }
    if selsa:
        rules |= {
            "bbox_head.num_shared_fcs": Fixed(2, default=0),
            "bbox_head.aggregator.type": Fixed("SelsaAggregator", default=None),
            "bbox_head.aggregator.in_channels": Derived(get(hidden), hidden),
            "bbox_head.aggregator.num_attention_blocks": Field(
                f"{ours}.attention_heads", default=16
            ),
        }
    return rules


def _class_loss(*, sigmoid: bool) -> dict[str, Rule]:
    return {
        "loss_cls.type": Fixed("CrossEntropyLoss", default=None),
        "loss_cls.use_sigmoid": Fixed(sigmoid, default=False),
        "loss_cls.loss_weight": Fixed(1.0),
    }


def _train_settings(ours: str) -> dict[str, Rule]:
    rpn, head = f"{ours}.rpn", f"{ours}.roi_head"
    return {
        **prefixed("rpn", assigner(f"{rpn}.matching")),
        **prefixed("rpn", sampler(f"{rpn}.matching", with_truth=False)),
        "rpn.allowed_border": Field(f"{rpn}.allow_border", _border),
        "rpn.pos_weight": Fixed(-1),
        "rpn.debug": Skip(),
        "rpn_proposal.nms_pre": Field(f"{rpn}.train_pre_nms_topk"),
        "rpn_proposal.max_per_img": Field(f"{rpn}.train_post_nms_topk"),
        **prefixed("rpn_proposal", _suppression(f"{rpn}.nms_iou")),
        "rpn_proposal.min_bbox_size": Fixed(0),
        **prefixed("rcnn", assigner(f"{head}.matching")),
        **prefixed("rcnn", sampler(f"{head}.matching", with_truth=True)),
        "rcnn.pos_weight": Fixed(-1),
        "rcnn.debug": Skip(),
    }


def _test_settings(ours: str) -> dict[str, Rule]:
    rpn, head = f"{ours}.rpn", f"{ours}.roi_head"
    return {
        "rpn.nms_pre": Field(f"{rpn}.test_pre_nms_topk"),
        "rpn.max_per_img": Field(f"{rpn}.test_post_nms_topk"),
        **prefixed("rpn", _suppression(f"{rpn}.nms_iou")),
        "rpn.min_bbox_size": Fixed(0),
        "rcnn.score_thr": Field(f"{head}.score_threshold"),
        **prefixed("rcnn", _suppression(f"{head}.nms_iou")),
        "rcnn.max_per_img": Field(f"{head}.max_detections"),
    }


def _suppression(ours: str) -> dict[str, Rule]:
    return {"nms.type": Fixed("nms"), "nms.iou_threshold": Field(ours)}


def _border(pixels: Any) -> bool:
    if pixels not in (0, -1):
        raise UserError("here it is 0 (no anchor crosses the border) or -1 (any may)")
    return bool(pixels == -1)
