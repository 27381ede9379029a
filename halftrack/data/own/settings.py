"""Settings of recipes that a user's data ask for: which sets, splits and classes are there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from halftrack.data.own.layouts import OwnData
from halftrack.data.problems import DataError
from halftrack.data.progress import Progress
from halftrack.data.vid.config import VidDataConfig
from halftrack.data.vid.imagenet_lists import find_list
from halftrack.data.vid.imagenet_vid import read_imagenet_vid
from halftrack.data.vid.indexes import found_classes

__all__ = ["Use", "mot_splits", "mot_use", "vid_config", "vid_settings"]


class Use(NamedTuple):
    """Something that a recipe does with a user's data."""

    command: Literal["train", "eval"]
    """The command of halftrack's."""
    fields: Mapping[str, Any]
    """Values of the recipe's fields, by dotted path."""
    classes: bool = False
    """The recipe takes the classes that are found in the data."""


def vid_settings(data: OwnData) -> dict[str, Any]:
    """Fields of ``VidDataConfig``, but for the classes, that read a tree in ImageNet's layout."""
    sets = ["vid"] if "train" in data.parts else []
    if "det" in data.parts and _is_listed(data, "DET_train_30classes.txt"):
        sets.append("det")
    key_frames = "listed" if _is_listed(data, "VID_train_15frames.txt") else "all"
    return {"training_sets": tuple(sets), "key_frames": key_frames}


def vid_config(data: OwnData, *, progress: Progress | None = None) -> VidDataConfig:
    """The configuration that reads a tree in ImageNet's layout as it is, with all its classes.

    Args:
        data: of the kind ``vid``.
        progress: told (videos read, videos in all) while annotations are parsed for their classes.

    Raises:
        DataError: if lists are missing or malformed, or no object has a class.
    """
    config = VidDataConfig(**vid_settings(data))
    if config.training_sets:
        classes = found_classes(config, data.root, progress=progress)
    else:
        index = read_imagenet_vid(data.root, "val", classes=None, progress=progress)
        classes = tuple(sorted(index.classes))
    if not classes:
        raise DataError(str(data.place), "no object with a class in its annotations")
    return replace(config, classes=classes)


def mot_splits(data: OwnData) -> tuple[str, str]:
    """The splits to train and to test on, of a tree in MOTChallenge's layout.

    Sequences in ``test`` are tested on where their ground truth is there; else the second half of
    each training sequence.
    """
    truth = data.place.glob("test/*/gt/gt.txt")
    if "train" in data.parts and next(truth, None) is not None:
        return "train", "test"
    return ("half-train", "half-val") if "train" in data.parts else ("test", "test")


def mot_use(command: Literal["train", "eval"], data: OwnData) -> Use | None:
    """The use of a tree in MOTChallenge's layout by a recipe of detection or tracking."""
    if data.kind != "mot" or (command == "train" and "train" not in data.parts):
        return None
    splits = dict(zip(("data.training_split", "data.test_split"), mot_splits(data), strict=True))
    return Use(command, {"data.benchmark": data.benchmark, **splits})


def _is_listed(data: OwnData, name: str) -> bool:
    with suppress(DataError):
        find_list(data.place, name)
        return True
    return False
