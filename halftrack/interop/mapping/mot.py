"""Rules for configs on MOTChallenge: Tracktor, the detectors it takes, and where its files lie."""

from __future__ import annotations

import re
from typing import Any

from halftrack.errors import UserError
from halftrack.interop.configs.sections import Section
from halftrack.interop.mapping.detectors import faster_rcnn, start_weights
from halftrack.interop.mapping.pipelines import below, image_steps, path_parts
from halftrack.interop.mapping.reid import reid
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
from halftrack.interop.mapping.schedule import MACHINERY, checked, precision, schedule

__all__ = ["detector_rules", "tracker_rules"]

_BENCHMARKS = ("MOT15", "MOT16", "MOT17", "MOT20")
_SPLITS = ("train", "test", "half-train", "half-val")
_MOTIONS = ("translation", "euclidean", "affine", "homography")
_WEB = ("http://", "https://")
_TRACKER = {
    "obj_score_thr": "detection_score",
    "regression.obj_score_thr": "regression_score",
    "regression.nms.iou_threshold": "regression_nms_iou",
    "regression.match_iou_thr": "new_track_iou",
    "reid.num_samples": "reid_num_samples",
    "reid.match_score_thr": "reid_distance",
    "reid.match_iou_thr": "reid_iou",
    "num_frames_retain": "num_frames_retain",
}
"""Settings of their tracker, and ours; a list of values is searched over."""


def detector_rules(values: Section) -> Rules:
    """The rules for a detector of frames."""
    return {
        **faster_rcnn("model.detector", "model", selsa=False),
        "model.detector.backbone.init_cfg": start_weights("backbone_weights"),
        **schedule(published_interval=1),
        **prefixed("data", _data("CocoDataset")),
    }


def tracker_rules(values: Section) -> Rules:
    """The rules for Tracktor; what concerns a training says nothing, for none of it is trained."""
    model = values.get("model")
    embeds = isinstance(model, Section) and model.get("reid") is not None
    parts = {
        **reid("model.reid", "reid", init=_checkpoint("reid_checkpoint")),
        "model.tracker.reid.img_scale": Field("reid.crop_size"),
    }
    untrained = (
        "optimizer",
        "optimizer_config",
        "lr_config",
        "total_epochs",
        "runner",
        "load_from",
    )
    return {
        "model.type": Fixed("Tracktor", default=None),
        "model.pretrains": Fixed(None),
        **faster_rcnn("model.detector", "detector", selsa=False),
        "model.detector.init_cfg": _checkpoint("detector_checkpoint"),
        "model.detector.backbone.init_cfg": Skip(),
        **(parts if embeds else {"model.reid": Field("reid", default=None)}),
        "model.motion": Field("camera_motion", default=None, several=_motion),
        "model.tracker.type": Fixed("TracktorTracker", default=None),
        "model.tracker.regression.nms.type": Fixed("nms"),
        "model.tracker.reid.img_norm_cfg": Fixed(None),
        "model.tracker.momentums": Field("tracker.box_momentum", default=None, several=_momentums),
        **{
            f"model.tracker.{theirs}": Field(f"tracker.{ours}", several=_tried(f"tracker.{ours}"))
            for theirs, ours in _TRACKER.items()
            if embeds or not theirs.startswith("reid.")
        },
        **MACHINERY,
        **{name: Skip() for name in (*untrained, "evaluation", "seed", "resume_from")},
        **precision(),
        **prefixed("data", _data("MOTChallengeDataset")),
        "data.test.detection_file": Field("data.public", default=None, several=_public(values)),
    }


def _public(values: Section) -> Any:
    """Sets whether the public detector's boxes are taken."""
    data = values.get("data")
    test = data.get("test") if isinstance(data, Section) else None
    steps = test.get("pipeline") if isinstance(test, Section) else None
    loaded = isinstance(steps, Section) and "LoadDetections" in steps

    def several(key: Key, fields: Fields) -> None:
        fields.put("data.public", key.value is not None, key)
        parts = path_parts(key.value or "")
        # What mot2coco writes of a benchmark has the boxes of its det.txt.
        if parts and not re.fullmatch(rf"({'|'.join(_SPLITS)})_detections\.pkl", parts[-1]):
            fields.put("data.public_file", key.value, key)
        if key.value is not None and not loaded:
            fields.notes.append(
                f"{key} ({key.place}): its pipeline has no LoadDetections, without which "
                "MMTracking leaves these boxes unused; here they are used (data.public)"
            )

    return several


def _data(kind: str) -> dict[str, Rule]:
    shared: dict[str, Rule] = {
        "type": Fixed(kind, default=None),
        "img_prefix": Skip(),
        "classes": Fixed(("pedestrian",), ["pedestrian"]),
        "visibility_thr": Fixed(-1),
        "ref_img_sampler": Skip(),
        "detection_file": Skip(),
        "test_mode": Skip(),
    }
    padding = _padding(kind)
    training = image_steps(
        training=True, padding=padding, jitter="data.ratio_range", boxes_leave=True
    )
    testing = image_steps(training=False, padding=padding) | {"LoadDetections": Skip()}
    crops: dict[str, Rule] = {
        "RandomCrop.crop_size": Field("data.crop_size"),
        "RandomCrop.share_params": Skip(),
        "RandomCrop.bbox_clip_border": Fixed(False, default=True),
        "RandomCrop.allow_negative_crop": Skip(),
        "PhotoMetricDistortion": Field("data.photometric", default=None, several=_colours),
    }
    return {
        "samples_per_gpu": Field("data.images_per_batch", default=1),
        **prefixed(
            "train", shared | {"ann_file": _split("data.training_split", "data.training_json")}
        ),
        **prefixed("train.pipeline", training | crops),
        "val": Skip(),
        **prefixed("test", shared | {"ann_file": _split("data.test_split", "data.test_json")}),
        **prefixed("test.pipeline", testing),
    }


def _padding(kind: str) -> str:
    return "model.rpn.size_divisor" if kind == "CocoDataset" else "detector.rpn.size_divisor"


def _split(ours: str, json: str) -> Field:
    """The rule for a file of annotations: a benchmark's split, or a file of one's own."""

    def several(key: Key, fields: Fields) -> None:
        parts = path_parts(key.value)
        found = [part for part in parts[:-1] if part in _BENCHMARKS]
        if not found or not parts[-1].endswith(".json"):
            raise UserError(
                f"expected a folder {', '.join(_BENCHMARKS)} (data.benchmark) and below it a file "
                f"SPLIT_cocoformat.json of {', '.join(_SPLITS)} ({ours}), or CocoVID ({json})"
            )
        fields.put("data.benchmark", found[-1], key)
        split = re.fullmatch(r"(.+)_cocoformat\.json", parts[-1])
        if split is not None and split[1] in _SPLITS:
            fields.put(ours, split[1], key)
        else:
            fields.put(json, below(parts, found[-1]), key)

    return Field(ours, several=several)


def _colours(key: Key, fields: Fields) -> None:
    fields.put("data.photometric", key.value is not None, key)
    if key.value is None:
        return
    names = {
        "brightness_delta": ("brightness", 32),
        "contrast_range": ("contrast", (0.5, 1.5)),
        "saturation_range": ("saturation", (0.5, 1.5)),
        "hue_delta": ("hue", 18),
    }
    section = checked(key, (*names, "share_params"))
    for theirs, (ours, default) in names.items():
        fields.put(f"data.{ours}", section.get(theirs, default), key)


def _checkpoint(ours: str) -> Field:
    """The rule for the weights of a part; published ones are files that our trainings leave."""

    def several(key: Key, fields: Fields) -> None:
        given = key.value.get("checkpoint") if isinstance(key.value, Section) else None
        if not isinstance(given, str):
            raise UserError("expected dict(type='Pretrained', checkpoint=FILE)")
        if given.startswith(_WEB):
            part = ours.removesuffix("_checkpoint")
            fields.notes.append(
                f"{key.path} ({key.place}) is {given}: download it and give it with --{part}"
            )
        else:
            fields.put(ours, given, key)

    return Field(ours, default=KEEP, several=several)


def _motion(key: Key, fields: Fields) -> None:
    if key.value is None:
        fields.put("camera_motion", None, None)
        return
    section = checked(key, ("type", "warp_mode", "num_iters", "stop_eps"))
    if section.get("type") != "CameraMotionCompensation":
        raise key.refused(
            f"type={section.get('type')!r}: here it is 'CameraMotionCompensation'; the nearest "
            "field is tracker.linear_motion"
        )
    mode = section.get("warp_mode", "cv2.MOTION_EUCLIDEAN")
    model = str(mode).removeprefix("cv2.MOTION_").lower()
    if model not in _MOTIONS:
        allowed = ", ".join(f"cv2.MOTION_{each.upper()}" for each in _MOTIONS)
        raise key.refused(f"warp_mode={mode!r}: expected one of {allowed}")
    fields.put("camera_motion.model", model, key)
    fields.put("camera_motion.iterations", section.get("num_iters", 50), key)
    fields.put("camera_motion.tolerance", section.get("stop_eps", 0.001), key)


def _momentums(key: Key, fields: Fields) -> None:
    names = {"bboxes": "tracker.box_momentum", "embeds": "tracker.embedding_momentum"}
    section = checked(key, tuple(names)) if key.value is not None else {}
    for theirs, ours in names.items():
        fields.put(ours, section.get(theirs), key)


def _tried(ours: str) -> Any:
    """Sets a field of the tracker; a list of values is searched over, from the recipe's own on."""

    def several(key: Key, fields: Fields) -> None:
        if isinstance(key.value, list):
            fields.put("search", (*fields.values.get("search", ()), (ours, key.value)), None)
        else:
            fields.put(ours, key.value, key)

    return several
