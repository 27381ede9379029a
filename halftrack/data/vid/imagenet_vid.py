"""ImageNet VID and DET as downloaded: XML annotations, ImageSets, and FGFA's two training lists.

``ILSVRC/{Data,Annotations}/{VID,DET}/...``; box widths are ``xmax - xmin`` as MMTracking converts
them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from halftrack.data.index import Classes, VideoIndex, assemble_index
from halftrack.data.index_cache import cached_index, fingerprint
from halftrack.data.problems import DataError
from halftrack.data.progress import Progress
from halftrack.data.vid.annotation_xml import XmlVideo, parse_videos
from halftrack.data.vid.config import IMAGENET_VID_CLASSES, KeyFrames

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
    root = Path(data_root).expanduser().resolve()
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
    classes: Classes = IMAGENET_VID_CLASSES,
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
        classes: objects of other classes are left out and counted.
        key_frames: which frames are marked as key frames of training.
        processes: how many processes parse; 0 parses in this one.
        progress: called as videos are read.

    Raises:
        DataError: if the tree or a list is missing or malformed. Problems of single annotations
            are kept in the index.
    """
    ilsvrc = find_ilsvrc(data_root)
    annotations = ilsvrc / "Annotations" / "VID"
    if split == "train":
        snippets = _training_snippets(ilsvrc, annotations, key_frames)
    else:
        snippets = {
            name: (stems, frozenset()) for name, stems in _val_snippets(ilsvrc, annotations)
        }
    labels = {wnid: label for label, (_, wnid) in enumerate(classes)}
    jobs = [
        XmlVideo(name, str(annotations / name), stems, keys, labels)
        for name, (stems, keys) in snippets.items()
    ]
    lists = [(job.name, job.stems, sorted(job.keys)) for job in jobs]
    return cached_index(
        key={"root": str(ilsvrc), "set": f"VID/{split}", "classes": classes, "key": key_frames},
        fingerprint=fingerprint(
            text=json.dumps(lists), folders=[Path(job.annotations) for job in jobs]
        ),
        build=lambda: assemble_index(
            parse_videos(jobs, processes, progress),
            image_root=ilsvrc / "Data" / "VID",
            classes=classes,
        ),
    )


def read_imagenet_det(
    data_root: str | Path,
    *,
    classes: Classes = IMAGENET_VID_CLASSES,
    processes: int = 0,
    progress: Progress | None = None,
) -> VideoIndex:
    """The stills of ``DET_train_30classes.txt``, each as a video of one frame.

    Raises:
        DataError: if the tree or the list is missing or malformed.
    """
    ilsvrc = find_ilsvrc(data_root)
    listed = _find_list(ilsvrc, "DET_train_30classes.txt")
    names = [line.split()[0] for line in _lines(listed)]
    annotations = ilsvrc / "Annotations" / "DET"
    labels = {wnid: label for label, (_, wnid) in enumerate(classes)}
    jobs = []
    for name in names:
        folder, stem = os.path.split(name)
        jobs.append(
            XmlVideo(
                folder, str(annotations / folder), (stem,), frozenset([stem]), labels, still=True
            )
        )
    files = [annotations / f"{name}.xml" for name in names]
    return cached_index(
        key={"root": str(ilsvrc), "set": "DET/train", "classes": classes},
        fingerprint=fingerprint(text=json.dumps(names), files=files),
        build=lambda: assemble_index(
            parse_videos(jobs, processes, progress),
            image_root=ilsvrc / "Data" / "DET",
            classes=classes,
        ),
    )


Snippets = dict[str, tuple[tuple[str, ...], frozenset[str]]]


def _training_snippets(ilsvrc: Path, annotations: Path, key_frames: KeyFrames) -> Snippets:
    """Frame stems and key stems of each training snippet, in the order of the list."""
    if key_frames == "all":
        image_sets = sorted((ilsvrc / "ImageSets" / "VID").glob("train*.txt"))
        if image_sets:
            # Official lists name snippets below train/, FGFA's name them below VID/.
            names = dict.fromkeys(f"train/{ln.split()[0]}" for f in image_sets for ln in _lines(f))
            found = {name: _annotated_stems(annotations / name) for name in names}
            return {name: (stems, frozenset(stems)) for name, stems in found.items()}
    listed = _find_list(ilsvrc, "VID_train_15frames.txt")
    lengths: dict[str, int] = {}
    keys: dict[str, set[str]] = {}
    for number, line in enumerate(_lines(listed), start=1):
        try:
            name, _, frame, frames = line.split()
            key, length = int(frame), int(frames)
        except ValueError:
            reason = f"line {number} is {line!r}, not '<snippet> 1 <frame> <frames>'"
            raise DataError(str(listed), reason) from None
        if not 1 <= key <= length:
            reason = f"line {number}: frame {key} is not one of 1 to {length}"
            raise DataError(str(listed), reason)
        lengths[name] = length
        keys.setdefault(name, set()).add(f"{key - 1:06d}")
    snippets: Snippets = {}
    for name, length in lengths.items():
        stems = tuple(f"{frame:06d}" for frame in range(length))
        snippets[name] = (stems, frozenset(stems if key_frames == "all" else keys[name]))
    return snippets


def _val_snippets(ilsvrc: Path, annotations: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Frame stems of each validation snippet: from a list if there is one, else from the folder."""
    frames_listed = ilsvrc / "ImageSets" / "VID" / "val.txt"
    if frames_listed.is_file():
        snippets: dict[str, list[str]] = {}
        for line in _lines(frames_listed):
            name, stem = os.path.split(line.split()[0])
            snippets.setdefault(f"val/{name}", []).append(stem)
        yield from ((name, tuple(stems)) for name, stems in snippets.items())
        return
    try:
        listed = _find_list(ilsvrc, "VID_val_videos.txt")
    except DataError:
        folder = annotations / "val"
        if not folder.is_dir():
            reason = f"missing, and neither {frames_listed} nor VID_val_videos.txt is there"
            raise DataError(str(folder), reason) from None
        names = [f"val/{entry.name}" for entry in sorted(folder.iterdir()) if entry.is_dir()]
    else:
        names = [line.split()[0] for line in _lines(listed)]
    yield from ((name, _annotated_stems(annotations / name)) for name in names)


def _annotated_stems(folder: Path) -> tuple[str, ...]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(str(folder), f"cannot be listed: {error.strerror}") from None
    return tuple(sorted(name[:-4] for name in names if name.endswith(".xml")))


def _find_list(ilsvrc: Path, name: str) -> Path:
    folders = [ilsvrc / "Lists", ilsvrc / "ImageSets", ilsvrc / "ImageSets" / "VID", ilsvrc]
    folders.append(ilsvrc.parent)
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    looked = ", ".join(str(folder) for folder in folders)
    raise DataError(name, f"not found; looked in {looked}")


def _lines(file: Path) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(file), f"cannot be read: {error}") from None
    return [line for line in lines if line]
