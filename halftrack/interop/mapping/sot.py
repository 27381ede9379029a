"""Rules for SiamRPN++'s configs: single-object tracking, trained on pairs."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Any

from halftrack.errors import UserError
from halftrack.interop.configs.sections import ConfigError, Section
from halftrack.interop.mapping.detectors import (
    assigner,
    backbone,
    box_coder,
    sampler,
    start_weights,
)
from halftrack.interop.mapping.pipelines import pair_of, path_parts
from halftrack.interop.mapping.rules import (
    KEEP,
    Derived,
    Field,
    Fields,
    Fixed,
    Key,
    Rule,
    Rules,
    Skip,
    prefixed,
)
from halftrack.interop.mapping.schedule import schedule

__all__ = ["prepared", "rules"]

_SETS = {
    "imagenet_vid_train.json": "vid",
    "imagenet_det_30plus1cls.json": "det",
    "instances_train2017.json": "coco",
    "lasot_train_infos.txt": "lasot",
}
"""Our training sets, by the file of annotations that theirs have."""
_BENCHMARKS = {
    "LaSOTDataset": "LaSOT",
    "OTB100Dataset": "OTB100",
    "UAV123Dataset": "UAV123",
    "TrackingNetDataset": "TrackingNet",
    "GOT10kDataset": "GOT-10k",
    "VOTDataset": "VOT2018",
}
_LISTS = re.compile(
    r"(lasot_(train|test)|otb100|uav123|trackingnet_(train|test)|vot2018|got10k_(train|val|test))"
    r"_infos\.txt"
)
"""Lists that MMTracking's converters write."""
_EXEMPLAR, _SEARCH = "model.geometry.template_size", "model.geometry.search_size"


def prepared(values: Section) -> Section:
    """The values with the training sets by name, each with its weight.

    Raises:
        ConfigError: for a set that is none of ours, and sets whose pipelines differ.
    """
    data = values.get("data")
    train = data.get("train") if isinstance(data, Section) else None
    if not isinstance(data, Section) or not isinstance(train, Section):
        return values
    if not isinstance(train.get("dataset_cfgs"), list):
        return values
    place, sets = train.places["dataset_cfgs"], Section(train.place)
    for each in train["dataset_cfgs"]:
        name = _set_name(each, place)
        if name in sets:
            raise ConfigError(each.place, f"data.train: a second set of {name}")
        if each.get("pipeline") != train["dataset_cfgs"][0].get("pipeline"):
            raise ConfigError(
                each.place, "data.train: pipelines of sets differ; here all share one"
            )
        sets.put(name, each, each.place)
    values, data, train = values.shallow(), data.shallow(), train.shallow()
    train.put("dataset_cfgs", sets, place)
    data.put("train", train, data.places["train"])
    values.put("data", data, values.places["data"])
    return values


def _set_name(dataset: Any, place: Any) -> str:
    if not isinstance(dataset, Section) or not isinstance(dataset.get("ann_file"), str):
        raise ConfigError(place, "data.train.dataset_cfgs: expected dict(..., ann_file=FILE)")
    parts = path_parts(dataset["ann_file"])
    if not parts or parts[-1] not in _SETS:
        key = Key(
            "data.train.dataset_cfgs.ann_file", dataset["ann_file"], dataset.places["ann_file"]
        )
        raise key.refused(
            f"pairs come from {', '.join(_SETS)}; the nearest fields are data.training_sets and "
            "data.training_json"
        )
    return _SETS[parts[-1]]


def rules(values: Section) -> Rules:
    """The rules for a config with these values."""
    try:
        sets = values["data"]["train"]["dataset_cfgs"]
        names = tuple(sets) if isinstance(sets, Section) else ()
    except (KeyError, TypeError):
        names = ()
    table: dict[str, Rule] = {
        "model.type": Fixed("SiamRPN", default=None),
        "model.pretrains": Fixed(None),
        **prefixed("model.backbone", backbone("model.backbone", "SOTResNet")),
        "model.backbone.init_cfg": start_weights("backbone_weights"),
        "model.init_cfg": start_weights(None),
        **_neck_and_head(),
        **_settings(),
        **schedule(published_interval=1),
        "data.samples_per_gpu": Field("data.pairs_per_batch", default=1),
        "data.samples_per_epoch": Field("data.pairs_per_epoch"),
        "data.train.type": Fixed("RandomSampleConcatDataset", default=None),
        "data.train.dataset_sampling_weights": Field(
            "data.set_weights", default=None, several=_weights(names)
        ),
        "data.val": Skip(),
        **prefixed("data.test", _test_set()),
    }
    for index, name in enumerate(names or ("vid",)):
        dataset: dict[str, Rule] = {
            "type": Skip(),
            "ann_file": Skip(),
            "img_prefix": Skip(),
            "split": Fixed("train"),
            "test_mode": Fixed(False),
            **({"pipeline": Skip()} if index else prefixed("pipeline", _steps())),
        }
        table |= prefixed(f"data.train.dataset_cfgs.{name}", dataset)
    return table


def _weights(names: tuple[str, ...]) -> Any:
    """Sets the training sets with their weights, in our order."""

    def several(key: Key, fields: Fields) -> None:
        weights = [1.0] * len(names) if key.value is None else key.value
        if not isinstance(weights, list | tuple) or len(weights) != len(names):
            raise UserError(f"expected one number for each of {', '.join(names)}")
        chosen = dict(zip(names, weights, strict=True))
        order = [name for name in _SETS.values() if name in chosen]
        fields.put("data.training_sets", tuple(order), key)
        fields.put("data.set_weights", tuple(chosen[name] for name in order), key)

    return several


def _neck_and_head() -> dict[str, Rule]:
    maps = len(("layer2", "layer3", "layer4"))
    channels = Derived(lambda recipe: (recipe.model.neck_channels,) * maps, "model.neck_channels")
    head: dict[str, Rule] = {
        "type": Fixed("SiameseRPNHead", default=None),
        "anchor_generator.type": Fixed("SiameseRPNAnchorGenerator", default=None),
        "anchor_generator.strides": Fixed((8,)),
        "anchor_generator.ratios": Field("model.geometry.anchor_ratios"),
        "anchor_generator.scales": Field("model.geometry.anchor_scale", _one),
        "in_channels": channels,
        "kernel_size": Fixed(3),
        "weighted_sum": Fixed(True, default=False),
        **box_coder(),
        "loss_cls.type": Fixed("CrossEntropyLoss", default=None),
        "loss_cls.reduction": Fixed("sum", default="mean"),
        "loss_cls.loss_weight": Fixed(1.0),
        "loss_bbox.type": Fixed("L1Loss", default=None),
        "loss_bbox.reduction": Fixed("sum", default="mean"),
        "loss_bbox.loss_weight": Field("model.box_weight", default=1.0),
    }
    return {
        "model.neck.type": Fixed("ChannelMapper", default=None),
        "model.neck.in_channels": Derived(
            attrgetter("model.backbone.out_channels"), "model.backbone"
        ),
        "model.neck.out_channels": Field("model.neck_channels"),
        "model.neck.kernel_size": Fixed(1, default=3),
        "model.neck.norm_cfg.type": Field("model.norm", {"BN": "batch"}.get),
        "model.neck.act_cfg": Fixed(None, default="ReLU"),
        **prefixed("model.head", head),
    }


def _settings() -> dict[str, Rule]:
    training: dict[str, Rule] = {
        **assigner("model.matching"),
        **sampler("model.matching", with_truth=False),
        "num_neg": Field("model.num_negatives"),
        "exemplar_size": Field(_EXEMPLAR),
        "search_size": Field(_SEARCH),
    }
    testing: dict[str, Rule] = {
        "exemplar_size": Field(_EXEMPLAR),
        "search_size": Field(_SEARCH),
        "context_amount": Field("model.geometry.context_amount"),
        "center_size": Field("model.geometry.template_cells"),
        "rpn.penalty_k": Field("tracker.penalty_k"),
        "rpn.window_influence": Field("tracker.window_influence"),
        "rpn.lr": Field("tracker.lr"),
        "test_mode": Fixed("OPE", "VOT"),
    }
    return prefixed("model.train_cfg.rpn", training) | prefixed("model.test_cfg", testing)


def _steps() -> dict[str, Rule]:
    packing = (
        *("LoadMultiImagesFromFile", "LoadAnnotations", "VideoCollect", "ConcatSameTypeFrames"),
        "DefaultFormatBundle",
    )
    return {
        **{name: Skip() for name in packing},
        "PairSampling.frame_range": Field("data.frame_range"),
        "PairSampling.pos_prob": Field("data.positive_share"),
        "PairSampling.filter_template_img": Fixed(False),
        "CropLikeSiamFC.context_amount": Field("model.geometry.context_amount", default=0.5),
        "CropLikeSiamFC.exemplar_size": Field(_EXEMPLAR, default=127),
        "CropLikeSiamFC.crop_size": Field("data.crop_size", default=511),
        "GrayAug.prob": Field("data.grey_probability", default=0.0),
        "ShiftScaleAug.target_size": Field(_SEARCH, several=_targets),
        "ShiftScaleAug.shift": Field("data.shift"),
        "ShiftScaleAug.scale": Field("data.scale"),
        "ColorAug.prob": Field("data.colour_probability", default=(0.0, 0.0)),
        "BlurAug.prob": Field("data.blur_probability", default=(0.0, 0.0)),
    }


def _test_set() -> dict[str, Rule]:
    return {
        "type": Field("benchmark", _benchmark),
        "dataset_type": Fixed("vot2018"),
        "split": Field("split", default="test"),
        "ann_file": Field("infos", default=KEEP, several=_infos),
        "img_prefix": Skip(),
        "test_mode": Skip(),
        "only_eval_visible": Skip(),
        "pipeline": Skip(),
    }


def _benchmark(name: Any) -> str:
    if name not in _BENCHMARKS:
        raise UserError(f"expected one of {', '.join(_BENCHMARKS)}")
    return _BENCHMARKS[name]


def _infos(key: Key, fields: Fields) -> None:
    """The rule for a list of sequences: those of a benchmark follow from its folders."""
    parts = path_parts(key.value)
    if not parts or not _LISTS.fullmatch(parts[-1]):
        fields.put("infos", key.value, key)


def _one(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 1:
        raise UserError("expected a list of one scale")
    return value[0]


def _targets(key: Key, fields: Fields) -> None:
    template, search = pair_of(key.value)
    fields.put(_EXEMPLAR, template, key)
    fields.put(_SEARCH, search, key)
