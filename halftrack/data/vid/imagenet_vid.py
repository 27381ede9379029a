"""ImageNet VID and DET as downloaded: XML annotations, ImageSets, and FGFA's two training lists.

``ILSVRC/{Data,Annotations}/{VID,DET}/...``; box widths are ``xmax - xmin`` as MMTracking converts
them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from halftrack.data.files import user_path
from halftrack.data.index import Classes, VideoIndex
from halftrack.data.index_cache import cached_index, fingerprint
from halftrack.data.parsed_video import assemble_index
from halftrack.data.problems import DataError
from halftrack.data.progress import Progress
from halftrack.data.vid.annotation_xml import XmlVideo, parse_videos
from halftrack.data.vid.config import IMAGENET_VID_CLASSES, KeyFrames
from halftrack.data.vid.imagenet_lists import (
    Listed,
    listed_stills,
    training_snippets,
    validation_snippets,
)

__all__ = [
    "find_ilsvrc",
    "read_imagenet_det",
    "read_imagenet_vid",
]


def find_ilsvrc(
    data_root: str | Path, *, holding: tuple[str, ...] = ("Data", "Annotations")
) -> Path:
    """The ``ILSVRC`` folder in ``data_root``, or ``data_root`` itself if it is one.

    Raises:
        DataError: if neither holds the folders asked for.
    """
    root = user_path(data_root)
    for candidate in (root / "ILSVRC", root):
        if all((candidate / folder).is_dir() for folder in holding):
            return candidate
    wanted = ",".join(holding)
    looked = " or ".join(f"{root}{below}/{{{wanted}}}" for below in ("/ILSVRC", ""))
    raise DataError(str(root), f"no ImageNet here: looked for {looked}")


def read_imagenet_vid(
    data_root: str | Path,
    split: Literal["train", "val"],
    *,
    classes: Classes | None = IMAGENET_VID_CLASSES,
    key_frames: KeyFrames = "listed",
    processes: int = 0,
    progress: Progress | None = None,
) -> VideoIndex:
    """All frames of the listed snippets of ImageNet VID, with their boxes.

    Args:
        data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
        split: ``train`` reads ``VID_train_15frames.txt`` (``key_frames="all"`` does with
            ``ImageSets/VID/train*.txt``); ``val`` reads ``ImageSets/VID/val.txt``,
            ``VID_val_videos.txt``, or the folder.
        classes: by their wnid or their name; objects of others are left out and counted. None
            takes all that the annotations name, in the order in which they do.
        key_frames: which frames are marked as key frames of training.
        processes: how many processes parse; 0 parses in this one.
        progress: called as videos are read.

    Raises:
        DataError: if the tree or a list is missing or unreadable. Problems of single lines and
            annotations are kept in the index.
    """
    ilsvrc = find_ilsvrc(data_root)
    annotations = ilsvrc / "Annotations" / "VID"
    if split == "train":
        listed = training_snippets(ilsvrc, annotations, listed=key_frames == "listed")
    else:
        listed = validation_snippets(ilsvrc, annotations)
    labels = _labels(classes)
    jobs = [
        XmlVideo(name, str(annotations / name), stems, keys, labels)
        for name, (stems, keys) in listed.snippets.items()
    ]
    lists = [(job.name, job.stems, sorted(job.keys)) for job in jobs]
    return cached_index(
        key={"root": str(ilsvrc), "set": f"VID/{split}", "classes": classes, "key": key_frames},
        fingerprint=fingerprint(
            text=json.dumps(lists) + _told(listed),
            folders=[Path(job.annotations) for job in jobs],
        ),
        build=lambda: _index(
            jobs,
            labels,
            listed,
            classes=classes,
            image_root=ilsvrc / "Data" / "VID",
            processes=processes,
            progress=progress,
        ),
    )


def read_imagenet_det(
    data_root: str | Path,
    *,
    classes: Classes | None = IMAGENET_VID_CLASSES,
    processes: int = 0,
    progress: Progress | None = None,
) -> VideoIndex:
    """The stills of ``DET_train_30classes.txt``, each as a video of one frame.

    Raises:
        DataError: if the tree or the list is missing or unreadable.
    """
    ilsvrc = find_ilsvrc(data_root)
    listed = listed_stills(ilsvrc)
    annotations = ilsvrc / "Annotations" / "DET"
    labels = _labels(classes)
    jobs = []
    for name in listed.stills:
        folder, stem = os.path.split(name)
        jobs.append(
            XmlVideo(
                folder, str(annotations / folder), (stem,), frozenset([stem]), labels, still=True
            )
        )
    files = [annotations / f"{name}.xml" for name in listed.stills]
    return cached_index(
        key={"root": str(ilsvrc), "set": "DET/train", "classes": classes},
        fingerprint=fingerprint(text=json.dumps(listed.stills) + _told(listed), files=files),
        build=lambda: _index(
            jobs,
            labels,
            listed,
            classes=classes,
            image_root=ilsvrc / "Data" / "DET",
            processes=processes,
            progress=progress,
        ),
    )


class _FirstSeen(dict[str, int]):
    """Labels of XML objects in the order in which their classes are met."""

    def get(self, key: str, default: object = None) -> int:
        return self.setdefault(key, len(self))


def _labels(classes: Classes | None) -> dict[str, int]:
    if classes is None:
        return _FirstSeen()
    # Annotations of one's own have a class's name where ImageNet's have its wnid.
    by_name = {name: label for label, (name, _) in enumerate(classes)}
    return by_name | {wnid: label for label, (_, wnid) in enumerate(classes)}


def _index(
    jobs: Sequence[XmlVideo],
    labels: dict[str, int],
    listed: Listed,
    *,
    classes: Classes | None,
    image_root: Path,
    processes: int,
    progress: Progress | None,
) -> VideoIndex:
    """The records of parsed videos, with their own classes where none are given."""
    # Labels that are given as classes are met are known to this process alone.
    videos = parse_videos(jobs, 0 if classes is None else processes, progress)
    if classes is None:
        names = {wnid: name for name, wnid in IMAGENET_VID_CLASSES}
        classes = tuple((names.get(text, text), text) for text in labels)
    return assemble_index(
        videos,
        image_root=image_root,
        classes=classes,
        problems=listed.problems,
        odd=listed.odd,
    )


def _told(listed: Listed) -> str:
    """What else of the lists is part of the index."""
    return json.dumps([[str(problem) for problem in listed.problems], dict(listed.odd)])
