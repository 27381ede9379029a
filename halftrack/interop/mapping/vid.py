"""Rules for SELSA's configs: video detection on ImageNet VID and DET."""

from __future__ import annotations

from typing import Any

from halftrack.data.vid.config import IMAGENET_VID_CLASSES
from halftrack.errors import UserError
from halftrack.interop.configs.sections import ConfigError, Section
from halftrack.interop.mapping.detectors import faster_rcnn, start_weights
from halftrack.interop.mapping.pipelines import image_steps, path_parts
from halftrack.interop.mapping.rules import (
    KEEP,
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

_PUBLISHED = {"vid": "imagenet_vid_train.json", "det": "imagenet_det_30plus1cls.json"}
_PUBLISHED_TEST = "imagenet_vid_val.json"


def prepared(values: Section) -> Section:
    """The values with the training sets by name: ``vid`` of videos, ``det`` of stills.

    Raises:
        ConfigError: for two sets of one sort.
    """
    data = values.get("data")
    if not isinstance(data, Section) or "train" not in data:
        return values
    place, train = data.places["train"], data["train"]
    sets = Section(place)
    for each in train if isinstance(train, list) else [train]:
        if not isinstance(each, Section):
            raise Key("data.train", train, place).refused("expected dict(...) or a list of these")
        name = "det" if each.get("load_as_video", True) is False else "vid"
        if name in sets:
            raise ConfigError(each.place, f"data.train: two sets of {name}, expected one")
        sets.put(name, each, each.place)
    values, data = values.shallow(), data.shallow()
    data.put("train", sets, place)
    values.put("data", data, values.places["data"])
    return values


def rules(values: Section) -> Rules:
    """The rules for a config with these values."""
    data = values.get("data")
    train = data.get("train") if isinstance(data, Section) else None
    sets = train if isinstance(train, Section) else {"vid": {}}
    table: dict[str, Rule] = {
        "model.type": Fixed("SELSA", default=None),
        "model.pretrains": Fixed(None),
        **faster_rcnn("model.detector", "model", selsa=True),
        "model.detector.backbone.init_cfg": start_weights("backbone_weights"),
        **schedule(published_interval=7),
        "data.samples_per_gpu": Field("training.accumulate", default=1, several=_clips),
        "data.val": Skip(),
        **prefixed("data.test", _test_set()),
    }
    for index, name in enumerate(sets):
        table |= prefixed(f"data.train.{name}", _training_set(name))
        table[f"data.train.{name}.ann_file"] = Skip() if index else _annotations(sets)
    return table


def _clips(key: Key, fields: Fields) -> None:
    """Clips of a GPU's batch; the published rate is that of 8 GPUs."""
    if not isinstance(key.value, int):
        raise UserError("expected a whole number")
    fields.put("training.accumulate", key.value, key)
    fields.put("training.published_batches_per_step", 8 * key.value, key)


def _training_set(name: str) -> dict[str, Rule]:
    of_video = name == "vid"
    references: dict[str, Rule] = {
        "num_ref_imgs": Field("data.num_references"),
        "frame_range": Field("data.frame_range") if of_video else Fixed(0, default=None),
        "filter_key_img": Fixed(of_video, default=True),
        "method": Fixed("bilateral_uniform", default="uniform"),
    }
    steps = image_steps(training=True, padding="model.rpn.size_divisor", jitter="data.scale_jitter")
    return {
        "type": Fixed("ImagenetVIDDataset", "CocoVideoDataset", default=None),
        "load_as_video": Fixed(of_video),
        "img_prefix": Skip(),
        "classes": Field("data.classes", _classes, default=KEEP),
        "test_mode": Fixed(False),
        **prefixed("ref_img_sampler", references),
        **prefixed("pipeline", steps),
    }


def _test_set() -> dict[str, Rule]:
    references: dict[str, Rule] = {
        "num_ref_imgs": Field("data.test_references"),
        "frame_range": Field("data.test_references", several=_test_range),
        "stride": Fixed(1),
        "method": Fixed("test_with_adaptive_stride", default="uniform"),
        "filter_key_img": Skip(),
    }
    return {
        "type": Fixed("ImagenetVIDDataset", "CocoVideoDataset", default=None),
        "ann_file": Field("data.test_json", several=_test_annotations),
        "img_prefix": Skip(),
        "classes": Field("data.classes", _classes, default=KEEP),
        "test_mode": Fixed(True, default=False),
        **prefixed("ref_img_sampler", references),
        **prefixed("pipeline", image_steps(training=False, padding="model.rpn.size_divisor")),
    }


def _test_range(key: Key, fields: Fields) -> None:
    count = fields.values.get("data.test_references")
    half = count // 2 if isinstance(count, int) else 0
    if list(key.value if isinstance(key.value, list | tuple) else ()) != [-half, half]:
        raise UserError(f"here it is [{-half}, {half}], for data.test_references={count}")


def _classes(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise UserError("expected a tuple of names")
    wnids = dict(IMAGENET_VID_CLASSES)
    return tuple((name, wnids.get(name) or name) for name in value)


def _annotations(sets: Any) -> Field:
    """The rule for the first set's file: which sets there are, and CocoVID files of one's own."""

    def several(key: Key, fields: Fields) -> None:
        files = [_below_ilsvrc(each, name) for name, each in sets.items()]
        own = [
            file for file, name in zip(files, sets, strict=True) if not _is_published(file, name)
        ]
        fields.put("data.training_sets", tuple(sets), key)
        fields.put("data.training_json", tuple(files) if own else (), key)

    return Field("data.training_json", several=several)


def _is_published(file: str, name: str) -> bool:
    return file == f"annotations/{_PUBLISHED[name]}"


def _test_annotations(key: Key, fields: Fields) -> None:
    file = "/".join(path_parts(key.value))
    published = file.endswith(f"annotations/{_PUBLISHED_TEST}")
    fields.put("data.test_json", "" if published else _after_ilsvrc(key), key)


def _below_ilsvrc(section: Section, name: str) -> str:
    path = f"data.train.{name}"
    if "ann_file" not in section:
        raise ConfigError(section.place, f"there is no key {path}.ann_file")
    place = section.places["ann_file"]
    return _after_ilsvrc(Key(f"{path}.ann_file", section["ann_file"], place))


def _after_ilsvrc(key: Key) -> str:
    """The path below the folder ILSVRC."""
    try:
        parts = path_parts(key.value)
    except UserError as error:
        raise key.refused(str(error)) from error
    if "ILSVRC" not in parts[:-1]:
        raise key.refused(
            "files of video detection lie in the folder ILSVRC of --data-root; the nearest field "
            "is data.training_json, a CocoVID file below it"
        )
    return "/".join(parts[parts.index("ILSVRC") + 1 :])
