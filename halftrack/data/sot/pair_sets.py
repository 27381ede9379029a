"""Data sets that a configuration draws pairs from, without the videos it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from halftrack.data.problems import DataError, Problem
from halftrack.data.progress import Progress
from halftrack.data.sot.benchmarks import find_sot
from halftrack.data.sot.config import PairDataConfig, PairSet
from halftrack.data.sot.pair_objects import (
    TrackedObjects,
    find_coco,
    objects_of,
    read_coco_objects,
    read_det_objects,
    read_lasot_objects,
)
from halftrack.data.vid.imagenet_vid import read_imagenet_vid
from halftrack.data.vid.indexes import find_images, read_json_index

__all__ = ["find_pair_sets", "left_out_problems", "read_pair_set", "read_pair_sets"]


def find_pair_sets(config: PairDataConfig, data_root: str | Path) -> None:
    """Make sure that each set is there, by a look at its folder; as for ``read_pair_sets``.

    Raises:
        DataError: if one is not.
    """
    for name in config.training_sets:
        json = config.json_of(name)
        if name == "coco":
            find_coco(data_root, json)
        elif name == "lasot":
            find_sot(data_root, "LaSOT", "train")
        else:
            find_images(data_root, json)


def read_pair_sets(
    config: PairDataConfig,
    data_root: str | Path,
    *,
    processes: int = 0,
    progress: Progress | None = None,
) -> tuple[TrackedObjects, ...]:
    """Read the objects of each set of a configuration.

    Args:
        config: the sets, and the videos left out.
        data_root: the folder that contains ``ILSVRC``, ``coco`` and ``LaSOTBenchmark``, those of
            them that ``training_sets`` name; the only one itself where it is one.
        processes: number of processes that parse annotations, where no cache holds them.
        progress: told (videos read, videos in all) while they are parsed.

    Raises:
        DataError: if something is missing or malformed, or no set has a video to leave out.
    """
    sets = [
        read_pair_set(config, name, data_root, processes=processes, progress=progress)
        for name in config.training_sets
    ]
    for problem in left_out_problems(config, sets, data_root):
        raise DataError(problem.file, problem.reason)
    return tuple(sets)


def read_pair_set(
    config: PairDataConfig,
    name: PairSet,
    data_root: str | Path,
    *,
    processes: int = 0,
    progress: Progress | None = None,
) -> TrackedObjects:
    """Read the objects of one set; arguments as for ``read_pair_sets``.

    Raises:
        DataError: if something is missing or malformed.
    """
    json = config.json_of(name)
    if json and name != "coco":
        classes = config.vid_classes if name == "vid" else None
        objects = objects_of(read_json_index(data_root, json, name, classes=classes), name)
    elif name == "vid":
        index = read_imagenet_vid(
            data_root,
            "train",
            classes=config.vid_classes,
            processes=processes,
            progress=progress,
        )
        objects = objects_of(index, name)
    elif name == "det":
        objects = read_det_objects(data_root, processes=processes, progress=progress)
    elif name == "coco":
        objects = read_coco_objects(data_root, json)
    else:
        objects = read_lasot_objects(data_root, config.lasot_split, config.lasot_infos)
    return objects.without(config.sequences_left_out) if config.sequences_left_out else objects


def left_out_problems(
    config: PairDataConfig, sets: Sequence[TrackedObjects], data_root: str | Path
) -> tuple[Problem, ...]:
    """List the names in ``sequences_left_out`` that are in none of the sets, all of them given."""
    found = ", ".join(config.training_sets)
    return tuple(
        Problem(str(data_root), f"sequences_left_out has {name!r}, which is not in {found}")
        for name in config.sequences_left_out
        if not any(objects.named([name]).any() for objects in sets)
    )
