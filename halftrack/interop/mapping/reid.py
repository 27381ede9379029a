"""Rules for ReID's configs, and for the ReID model within a tracker's."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from halftrack.errors import UserError
from halftrack.interop.configs.sections import Section
from halftrack.interop.mapping.detectors import backbone, start_weights
from halftrack.interop.mapping.pipelines import below, normalised, path_parts
from halftrack.interop.mapping.rules import (
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

__all__ = ["reid", "rules"]

_IDENTITIES = (380, 375, 371, 368, 1701, 1705)
"""Individuals of the published configs, which follow from the data: here they are counted."""
_BENCHMARKS = ("MOT15", "MOT16", "MOT17", "MOT20")


def reid(theirs: str, ours: str, *, init: Field) -> dict[str, Rule]:
    """Rules for the model.

    Args:
        theirs: dotted path of their model.
        ours: dotted path of ours.
        init: the rule for the weights that it starts from.
    """
    get = attrgetter
    cells = Derived(lambda recipe: tuple(side // 32 for side in get(f"{ours}.crop_size")(recipe)),
                    f"{ours}.crop_size")  # fmt: skip
    last = Derived(lambda recipe: get(f"{ours}.backbone.out_channels")(recipe)[-1],
                   f"{ours}.backbone")  # fmt: skip
    model = {
        "type": Fixed("BaseReID", default=None),
        "init_cfg": init,
        **prefixed("backbone", backbone(f"{ours}.backbone", "ResNet", frozen_bn=False)),
        "backbone.init_cfg": init,
        "neck.type": Fixed("GlobalAveragePooling", default=None),
        "neck.kernel_size": cells,
        "neck.stride": Fixed(1),
        "head.type": Fixed("LinearReIDHead", default=None),
        "head.num_fcs": Fixed(1),
        "head.in_channels": last,
        "head.fc_channels": Field(f"{ours}.hidden_channels"),
        "head.out_channels": Field(f"{ours}.out_channels"),
        "head.num_classes": Field(f"{ours}.num_identities", published=_IDENTITIES),
        "head.loss.type": Fixed("CrossEntropyLoss", default=None),
        "head.loss.loss_weight": Fixed(1.0),
        "head.loss_pairwise.type": Fixed("TripletLoss", default=None),
        "head.loss_pairwise.margin": Field(f"{ours}.margin", default=0.3),
        "head.loss_pairwise.loss_weight": Fixed(1.0),
        "head.norm_cfg.type": Fixed("BN1d", default=None),
        "head.act_cfg.type": Fixed("ReLU", default=None),
    }
    return prefixed(theirs, model)


def rules(values: Section) -> Rules:
    """The rules for a config with these values."""
    image: dict[str, Rule] = {
        **{
            name: Skip()
            for name in ("LoadImageFromFile", "LoadMultiImagesFromFile", "ImageToTensor")
        },
        **{name: Skip() for name in ("Collect", "VideoCollect", "ReIDFormatBundle")},
        "Resize.img_scale": Field("model.crop_size", _height_first),
        "Resize.keep_ratio": Fixed(False, default=True),
        "Resize.share_params": Skip(),
        "Resize.bbox_clip_border": Skip(),
        "Resize.override": Skip(),
        **normalised(),
    }
    mirrored: dict[str, Rule] = {
        "RandomFlip.flip_ratio": Field("data.flip_probability", default=0.0),
        "RandomFlip.share_params": Fixed(False),
        "RandomFlip.direction": Fixed("horizontal"),
    }
    crops: dict[str, Rule] = {
        "type": Fixed("ReIDDataset", default=None),
        "data_prefix": Skip(),
    }
    return {
        **reid("model.reid", "model", init=start_weights("backbone_weights")),
        **schedule(published_interval=1),
        **prefixed("data.train", crops),
        "data.train.ann_file": Field("data.benchmark", several=_list("training_list")),
        "data.train.triplet_sampler.num_ids": Field("data.identities_per_batch"),
        "data.train.triplet_sampler.ins_per_id": Field("data.crops_per_identity"),
        **prefixed("data.train.pipeline", image | mirrored),
        "data.samples_per_gpu": Field("data.identities_per_batch", default=1, several=_groups),
        "data.val": Skip(),
        **prefixed("data.test", crops),
        "data.test.ann_file": Field("data.benchmark", several=_list("validation_list")),
        "data.test.triplet_sampler": Fixed(None),
        **prefixed("data.test.pipeline", image),
    }


def _height_first(value: object) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise UserError("expected width and height")
    return value[1], value[0]


def _list(ours: str) -> Callable[[Key, Fields], None]:
    """The rule for a list of crops: those of a benchmark are cut anew, others are read."""

    def several(key: Key, fields: Fields) -> None:
        parts = path_parts(key.value)
        found = [part for part in parts[:-1] if part in _BENCHMARKS]
        if not found:
            raise UserError(
                f"expected a folder {', '.join(_BENCHMARKS)} (data.benchmark) and below it "
                "reid/meta with train_80.txt and val_20.txt (data.validation_share), or lists of "
                f"one's own (data.{ours})"
            )
        fields.put("data.benchmark", found[-1], key)
        fields.put("data.split", "whole-train", None)
        if parts[-1] not in ("train_80.txt", "val_20.txt"):
            fields.put(f"data.{ours}", below(parts, found[-1]), key)

    return several


def _groups(key: Key, fields: Fields) -> None:
    """Groups of individuals in a batch, of which ours has one larger group."""
    each = fields.values["data.identities_per_batch"]
    if not isinstance(key.value, int) or not isinstance(each, int):
        raise UserError("expected a whole number")
    fields.values["data.identities_per_batch"] = key.value * each
