"""Settings of recipes that a user's data ask for: which sets, splits and classes are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from halftrack.data.check.report import DataReport
from halftrack.data.index import VideoIndex
from halftrack.data.mot.config import MotDetectionConfig, ReIDDataConfig, ReIDSplit
from halftrack.data.mot.mot_challenge import find_split, read_mot
from halftrack.data.mot.records import MotSequence
from halftrack.data.own.layouts import OwnData
from halftrack.data.problems import DataError
from halftrack.data.progress import Progress
from halftrack.data.tables.coco_records import Notes, load_tables
from halftrack.data.vid.config import VidDataConfig
from halftrack.data.vid.imagenet_lists import find_list
from halftrack.data.vid.imagenet_vid import read_imagenet_vid
from halftrack.data.vid.indexes import read_classless

__all__ = [
    "INDIVIDUALS",
    "Use",
    "mot_asked",
    "mot_classes",
    "mot_splits",
    "mot_use",
    "reid_split",
    "truth_classes",
    "vid_config",
    "vid_settings",
    "vid_use",
]


INDIVIDUALS = "individuals for ReID"
"""Count, in a report, of those that a ReID model can learn from, if it can be validated."""

_FROM_DATA = "from-data"  # of --classes: those of the training data


class Use(NamedTuple):
    """Something that a recipe does with a user's data."""

    command: Literal["train", "eval"]
    """The command of halftrack's."""
    fields: Mapping[str, Any]
    """Values of the recipe's fields, by dotted path."""
    classes: str | None = None
    """Value of ``--classes``; None where the recipe's own are those of the data."""


def vid_settings(data: OwnData) -> dict[str, Any]:
    """Fields of ``VidDataConfig``, but for the classes, that read a tree in ImageNet's layout."""
    sets = ["vid"] if "train" in data.parts else []
    if "det" in data.parts and _is_listed(data, "DET_train_30classes.txt"):
        sets.append("det")
    key_frames = "listed" if _is_listed(data, "VID_train_15frames.txt") else "all"
    return {"training_sets": tuple(sets), "key_frames": key_frames}


def vid_config(
    data: OwnData, *, progress: Progress | None = None
) -> tuple[VidDataConfig, tuple[VideoIndex, ...]]:
    """The configuration that reads a tree in ImageNet's layout as it is, with all its classes.

    Args:
        data: of the kind ``vid``.
        progress: told (videos read, videos in all) while annotations are parsed for their classes.

    Returns:
        The configuration, and what was read for its classes: the training sets, or, where there is
        none, the validation set.

    Raises:
        DataError: if lists are missing or malformed, or no object has a class.
    """
    config = VidDataConfig(**vid_settings(data))
    if config.training_sets:
        read = read_classless(config, data.root, progress=progress)
    else:
        read = (read_imagenet_vid(data.root, "val", classes=None, progress=progress),)
    classes = tuple(sorted({each for index in read for each in index.classes}))
    if not classes:
        raise DataError(str(data.place), "no object with a class in its annotations")
    return replace(config, classes=classes), tuple(each.relabelled(classes) for each in read)


def _json_settings(data: OwnData) -> dict[str, Any] | None:
    """Fields of ``VidDataConfig`` that read the parts of a split CocoVID or COCO file.

    Returns:
        None where there are no such parts below ``ILSVRC``.
    """
    below = Path("annotations")
    if data.place != data.root / "ILSVRC" / below or set(data.parts) != {"train.json", "val.json"}:
        return None
    stills = (data.root / "ILSVRC/Data/DET").is_dir()
    return {
        "training_sets": ("det",) if stills else ("vid",),
        "training_json": (str(below / "train.json"),),
        "test_json": str(below / "val.json"),
    }


def vid_use(data: OwnData, report: DataReport, own: Iterable[str]) -> Use | None:
    """The use of a tree in ImageNet's layout by a recipe of these classes.

    One without training videos is scored on.
    """
    settings: dict[str, Any] | None = None
    if data.kind == "vid" and "val" in data.parts:
        settings = vid_settings(data)
    elif data.kind == "coco":
        settings = _json_settings(data)
    if settings is None:
        return None
    if not settings["training_sets"]:
        return Use("eval", {}, _classes_beyond(report, own))
    return Use("train", {f"data.{name}": value for name, value in settings.items()}, _FROM_DATA)


def mot_splits(data: OwnData) -> tuple[str, str]:
    """The splits to train and to test on, of a tree in MOTChallenge's layout.

    Sequences in ``test`` are tested on where their ground truth is there; else the second half of
    each training sequence.
    """
    truth = data.place.glob("test/*/gt/gt.txt")
    if "train" in data.parts and next(truth, None) is not None:
        return "train", "test"
    return ("half-train", "half-val") if "train" in data.parts else ("test", "test")


def reid_split(data: OwnData) -> ReIDSplit:
    """The split of people to learn from and to compare: halves where no sequence is left."""
    return "whole-train" if mot_splits(data)[0] == "train" else "half-train"


def mot_use(command: Literal["train", "eval"], data: OwnData, report: DataReport) -> Use | None:
    """The use of a tree in MOTChallenge's layout by a recipe of detection or tracking."""
    if data.kind != "mot" or (command == "train" and "train" not in data.parts):
        return None
    splits = dict(zip(("data.training_split", "data.test_split"), mot_splits(data), strict=True))
    fields = {"data.benchmark": data.benchmark, **splits}
    return Use(command, fields, mot_asked(data, report))


def mot_asked(data: OwnData, report: DataReport) -> str | None:
    """The value of ``--classes`` for a tree in MOTChallenge's layout; None for people alone."""
    if "train" in data.parts and _named_classes(report) - {"pedestrian"}:
        return _FROM_DATA
    return _classes_beyond(report, ("pedestrian",))


def _classes_beyond(report: DataReport, own: Iterable[str]) -> str | None:
    """The value of ``--classes`` that names all classes of some data; None if a recipe has them.

    Args:
        report: the findings of a look at the data.
        own: the recipe's classes.
    """
    found = _named_classes(report)
    return ",".join(sorted(found)) if found - set(own) else None


def _named_classes(report: DataReport) -> set[str]:
    """The classes that a report counts boxes of."""
    return {name for each in report.sets for name in each.boxes_per_class}


def mot_classes(
    config: MotDetectionConfig | ReIDDataConfig, data_root: str | Path
) -> tuple[str, ...]:
    """The classes that the ground truth of the training sequences names, sorted.

    Args:
        config: which sequences; its own classes do not matter.
        data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.

    Raises:
        DataError: if the sequences or the CocoVID file are not there.
    """
    split = config.training_split if isinstance(config, MotDetectionConfig) else "train"
    if isinstance(config, MotDetectionConfig) and config.training_json:
        file = (
            find_split(data_root, split, benchmark=config.benchmark).parent / config.training_json
        )
        categories = load_tables(file, Notes(str(file)))["categories"]
        return tuple(sorted({str(each.get("name")) for each in categories}))
    sequences = read_mot(
        data_root, split, benchmark=config.benchmark, detectors=config.detectors, problems=[]
    )
    return truth_classes(sequences)


def truth_classes(sequences: Iterable[MotSequence]) -> tuple[str, ...]:
    """Names of the classes of ground truth that is to be evaluated, sorted."""
    found: set[str] = set()
    for sequence in sequences:
        if sequence.truth is not None:
            numbers = np.unique(sequence.truth.classes[sequence.truth.flags])
            found.update(sequence.class_names[number - 1] for number in numbers.tolist())
    return tuple(sorted(found))


def _is_listed(data: OwnData, name: str) -> bool:
    with suppress(DataError):
        find_list(data.place, name)
        return True
    return False
