"""Pipelines of MMTracking's data sets: their steps by name, and the rules that steps share."""

from __future__ import annotations

from typing import Any

from halftrack.errors import UserError
from halftrack.interop.configs.sections import ConfigError, Section
from halftrack.interop.mapping.rules import KEEP, REQUIRED, Field, Fixed, Key, Rule, Skip, prefixed

__all__ = ["by_step", "image_steps", "pair_of", "path_parts"]

_GROUP = "MultiScaleFlipAug"
_PACKING = (
    *("LoadImageFromFile", "LoadMultiImagesFromFile", "LoadAnnotations", "Collect", "VideoCollect"),
    *("ConcatVideoReferences", "ConcatSameTypeFrames", "DefaultFormatBundle", "ImageToTensor"),
    *("MultiImagesToTensor", "ToList", "ReIDFormatBundle", "MatchInstances"),
)
"""Steps that read and pack: our sources do as much by themselves."""


def by_step(value: Any) -> Any:
    """The value with every pipeline, a list of steps, turned into a section of steps by type.

    ``Seq`` before a name, which only says that a step takes several frames, is left out; the steps
    within a group stand beside it.

    Raises:
        ConfigError: for a step without a type, and for two of one type.
    """
    if not isinstance(value, Section):
        return value
    other = Section(value.place)
    for name, item in value.items():
        place = value.places[name]
        if name == "pipeline" and isinstance(item, list):
            steps = Section(place)
            _add_steps(item, steps, Key(name, item, place))
            item = steps
        elif isinstance(item, list) and all(isinstance(each, Section) for each in item):
            item = [by_step(each) for each in item]
        other.put(name, by_step(item), place)
    return other


def _add_steps(items: list[Any], steps: Section, key: Key) -> None:
    for item in items:
        if not isinstance(item, Section) or not isinstance(item.get("type"), str):
            raise key.refused("expected a list of dict(type=..., ...)")
        name = item["type"].removeprefix("Seq")
        if name in steps:
            raise ConfigError(item.place, f"pipeline: {name} is there a second time")
        inside = Section(item.place)
        for argument, value in item.items():
            if name == _GROUP and argument == "transforms" and isinstance(value, list):
                _add_steps(value, steps, Key(argument, value, item.places[argument]))
            elif argument != "type":
                inside.put(argument, value, item.places[argument])
        steps.put(name, inside, item.place)


def image_steps(
    *,
    training: bool,
    padding: str | None,
    jitter: str | None = None,
    boxes_leave: bool = False,
) -> dict[str, Rule]:
    """Rules for the steps of images that detectors take.

    Args:
        training: of the training pipeline; a test pipeline mirrors nothing.
        padding: our field of the number that sides are padded to a multiple of.
        jitter: our field of the factors that the scale is drawn between.
        boxes_leave: boxes are not cut where they leave the image.
    """
    scale = Field("data.image_scale", _scale, default=REQUIRED if training else KEEP)
    rules: dict[str, Rule] = {
        **{name: Skip() for name in _PACKING},
        "Resize.img_scale": scale,
        "Resize.keep_ratio": Fixed(True),
        "Resize.share_params": Fixed(True),
        "Resize.bbox_clip_border": Fixed(not boxes_leave, default=True if training else KEEP),
        "RandomFlip.share_params": Fixed(True),
        "RandomFlip.direction": Fixed("horizontal"),
        **normalised(),
    }
    if padding is not None:
        rules["Pad.size_divisor"] = Field(padding)
    if training:
        rules["RandomFlip.flip_ratio"] = Field("data.flip_probability", default=0.0)
        if jitter is not None:
            rules["Resize.ratio_range"] = Field(jitter, default=(1.0, 1.0))
        return rules
    group: dict[str, Rule] = {"img_scale": scale, "flip": Fixed(False), "scale_factor": Fixed(1)}
    return rules | {
        "RandomFlip": Skip(),
        **prefixed(_GROUP, group),
    }


def normalised() -> dict[str, Rule]:
    """Rules for the normalisation of images, the same in all models here."""
    return {
        "Normalize.mean": Fixed((123.675, 116.28, 103.53), default=None),
        "Normalize.std": Fixed((58.395, 57.12, 57.375), default=None),
        "Normalize.to_rgb": Fixed(True),
    }


def _scale(value: Any) -> tuple[int, int]:
    """Long and short side; a list of one scale is that scale."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return max(pair_of(value)), min(pair_of(value))


def pair_of(value: Any) -> tuple[Any, Any]:
    """Two numbers, or one number twice.

    Raises:
        UserError: if it is anything else.
    """
    if isinstance(value, int | float):
        return value, value
    whole = isinstance(value, list | tuple) and len(value) == 2
    if not whole or not all(isinstance(each, int | float) for each in value):
        raise UserError("expected two numbers; here there is one scale, not several")
    return value[0], value[1]


def path_parts(value: Any) -> tuple[str, ...]:
    """The parts of a path in a config.

    Raises:
        UserError: if it is no text.
    """
    if not isinstance(value, str):
        raise UserError("expected a path")
    return tuple(part for part in value.replace("\\", "/").split("/") if part not in ("", "."))


def below(parts: tuple[str, ...], folder: str) -> str:
    """The path that the parts after the last folder of this name make."""
    return "/".join(parts[len(parts) - parts[::-1].index(folder) :])
