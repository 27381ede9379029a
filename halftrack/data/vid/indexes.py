"""Records of the data sets that a configuration names, from the cache where that still holds."""

from __future__ import annotations

from pathlib import Path

from halftrack.data.index import Classes, VideoIndex
from halftrack.data.progress import Progress
from halftrack.data.vid.coco_vid import read_coco_vid
from halftrack.data.vid.config import VidDataConfig
from halftrack.data.vid.imagenet_vid import find_ilsvrc, read_imagenet_det, read_imagenet_vid

__all__ = [
    "find_images",
    "find_test_set",
    "find_training_sets",
    "found_classes",
    "read_classless",
    "read_json_index",
    "read_test_index",
    "read_training_indexes",
]


def find_training_sets(config: VidDataConfig, data_root: str | Path) -> Path:
    """The folder of the training sets, read or not; arguments as for ``read_training_indexes``.

    Raises:
        DataError: if it is not there.
    """
    return find_images(data_root, config.training_json)


def find_test_set(config: VidDataConfig, data_root: str | Path) -> Path:
    """The folder of the validation set, likewise.

    Raises:
        DataError: if it is not there.
    """
    return find_images(data_root, config.test_json)


def read_training_indexes(
    config: VidDataConfig,
    data_root: str | Path,
    *,
    processes: int = 0,
    progress: Progress | None = None,
) -> tuple[VideoIndex, ...]:
    """Read the records of each training set.

    Args:
        config: the sets, their classes and key frames.
        data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
        processes: number of processes that parse annotations; 0 parses in this one.
        progress: told (videos read, videos in all) while they are parsed.

    Raises:
        DataError: if the tree or a list is missing or malformed.
    """
    return tuple(
        _training_index(config, place, data_root, config.classes, processes, progress)
        for place in range(len(config.training_sets))
    )


def found_classes(
    config: VidDataConfig, data_root: str | Path, *, progress: Progress | None = None
) -> Classes:
    """The classes that the annotations of the training sets name, sorted by name.

    Args:
        config: the sets; its own classes do not matter.
        data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
        progress: told (videos read, videos in all) while they are parsed.

    Raises:
        DataError: if the tree or a list is missing or malformed.
    """
    indexes = read_classless(config, data_root, progress=progress)
    return tuple(sorted({each for index in indexes for each in index.classes}))


def read_classless(
    config: VidDataConfig, data_root: str | Path, *, progress: Progress | None = None
) -> tuple[VideoIndex, ...]:
    """The records of each training set with all classes that it has; as for ``found_classes``."""
    return tuple(
        _training_index(config, place, data_root, None, 0, progress)
        for place in range(len(config.training_sets))
    )


def _training_index(
    config: VidDataConfig,
    place: int,
    data_root: str | Path,
    classes: Classes | None,
    processes: int,
    progress: Progress | None,
) -> VideoIndex:
    """The records of one training set; without classes with all that it has."""
    name = config.training_sets[place]
    if config.training_json:
        return read_json_index(data_root, config.training_json[place], name, classes=classes)
    if name == "vid":
        return read_imagenet_vid(
            data_root,
            "train",
            classes=classes,
            key_frames=config.key_frames,
            processes=processes,
            progress=progress,
        )
    return read_imagenet_det(data_root, classes=classes, processes=processes, progress=progress)


def read_test_index(
    config: VidDataConfig,
    data_root: str | Path,
    *,
    processes: int = 0,
    progress: Progress | None = None,
) -> VideoIndex:
    """Read the records of the validation set; arguments as for ``read_training_indexes``.

    Raises:
        DataError: if the tree or the list is missing or malformed.
    """
    if config.test_json:
        return read_json_index(data_root, config.test_json, "vid", classes=config.classes)
    return read_imagenet_vid(
        data_root, "val", classes=config.classes, processes=processes, progress=progress
    )


def find_images(data_root: str | Path, json: str | tuple[str, ...]) -> Path:
    """ImageNet's folder; where CocoVID files are read, it needs no XML.

    Args:
        data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
        json: the files, if any are.

    Raises:
        DataError: if it is not there.
    """
    return find_ilsvrc(data_root, holding=("Data",)) if json else find_ilsvrc(data_root)


def read_json_index(
    data_root: str | Path, file: str, name: str, *, classes: Classes | None
) -> VideoIndex:
    """Read the records of a set from its CocoVID file.

    Args:
        data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
        file: the annotations below ``ILSVRC``.
        name: ``vid`` or ``det``, whose images they are of.
        classes: as of ``read_coco_vid``.

    Raises:
        DataError: if the images' tree or the file is missing, or this is malformed.
    """
    ilsvrc = find_images(data_root, file)
    images = ilsvrc / "Data" / name.upper()
    return read_coco_vid(ilsvrc / file, image_root=images, classes=classes)
