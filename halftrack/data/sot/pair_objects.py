"""What pairs are drawn from: the objects of ImageNet VID and DET, COCO and LaSOT with their boxes.

Must agree with MMTracking 0.14's SOT data sets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from halftrack.data.index import (
    MIN_BOX_SIDE,
    Booleans,
    Classes,
    Floats,
    Integers,
    VideoIndex,
    assemble_index,
)
from halftrack.data.index_cache import cached_index, fingerprint
from halftrack.data.problems import DataError, Problem
from halftrack.data.progress import Progress
from halftrack.data.sot.benchmarks import SotSplit, read_sot
from halftrack.data.vid.annotation_xml import XmlVideo, parse_videos
from halftrack.data.vid.coco_vid import read_coco_vid
from halftrack.data.vid.imagenet_vid import find_ilsvrc

__all__ = [
    "LasotSplit",
    "TrackedObjects",
    "objects_of",
    "read_coco_objects",
    "read_det_objects",
    "read_lasot_objects",
]

LasotSplit = Literal["train", "test", "all"]
"""LaSOT's sequences: those that ``testing_set.txt`` does not name, those it does, or both."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedObjects:
    """The objects of one data set, each with the boxes that show it; in stills it has one.

    Boxes of object ``i`` are ``starts[i]:starts[i + 1]``, in the order of its video.
    """

    name: str
    """The data set, e.g. ``vid``."""
    image_root: str
    """Folder that ``files`` are relative to."""
    files: npt.NDArray[np.bytes_]
    """``(frames,)`` UTF-8 path of each image below ``image_root``."""
    starts: Integers
    """``(objects + 1,)`` first box of each object."""
    frames: Integers
    """``(boxes,)`` the image of each box, as position in ``files``."""
    boxes_xyxy: Floats
    """``(boxes, 4)`` in original pixels, sides of at least one pixel."""
    video_names: tuple[str, ...]
    """The videos, or stills, that the objects are in."""
    video: Integers
    """``(objects,)`` position in ``video_names``."""
    problems: tuple[Problem, ...] = ()
    """What of the annotations could not be used."""
    left_out: dict[str, int] = field(default_factory=dict)
    """What else no pair shows, and how many: ``boxes under one pixel``, ``crowds``, ..."""

    def __len__(self) -> int:
        return len(self.video)

    def path(self, box: int) -> str:
        """Where the image of a box lies."""
        return f"{self.image_root}/{self.files[self.frames[box]].decode()}"

    def sample_id(self, box: int) -> str:
        """The name of a box's image in logs and errors: set and path, without the ending."""
        file = self.files[self.frames[box]].decode()
        return f"{self.name}/{Path(file).with_suffix('')}"

    def named(self, names: Sequence[str]) -> Booleans:
        """Which videos are among ``names``, as whole path or as its last part."""
        wanted = set(names)
        return np.array(
            [name in wanted or name.rpartition("/")[2] in wanted for name in self.video_names],
            dtype=np.bool_,
        )

    def without(self, names: Sequence[str]) -> TrackedObjects:
        """The same without the objects of some videos, named as for ``named``."""
        keep = ~self.named(names)[self.video] if len(self) else np.ones(0, dtype=np.bool_)
        counts = np.diff(self.starts)
        boxes = np.repeat(keep, counts)
        return replace(
            self,
            starts=_starts(counts[keep]),
            frames=self.frames[boxes],
            boxes_xyxy=self.boxes_xyxy[boxes],
            video=self.video[keep],
            left_out=self.left_out | {"objects of videos left out": int((~keep).sum())},
        )


def objects_of(index: VideoIndex, name: str) -> TrackedObjects:
    """The objects of an index: tracks of videos, and single boxes of stills.

    Args:
        index: crowd regions are left out; all frames count, whether training lists name them or
            not, as in the reference.
        name: what the data set is called.
    """
    frames = np.repeat(np.arange(index.num_frames), np.diff(index.box_starts))
    videos = np.searchsorted(index.video_starts, frames, side="right") - 1
    # Each box without a track is an object of its own.
    untracked = index.track_ids.max(initial=0) + 1 + np.arange(len(frames))
    tracks = np.where(index.track_ids < 0, untracked, index.track_ids)
    order = np.lexsort((frames, tracks, videos))
    order = order[~index.ignored[order]]
    frames, videos, tracks = frames[order], videos[order], tracks[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (np.diff(videos) != 0) | (np.diff(tracks) != 0)
    firsts = np.flatnonzero(new)
    return TrackedObjects(
        name=name,
        image_root=index.image_root,
        files=index.frame_files,
        starts=np.append(firsts, len(order)),
        frames=frames,
        boxes_xyxy=index.boxes_xyxy[order],
        video_names=index.video_names,
        video=videos[firsts],
        problems=index.problems,
        left_out={
            "objects of other classes": index.unknown_objects,
            "boxes under one pixel": index.degenerate_boxes,
            "crowds": int(index.ignored.sum()),
        },
    )


def read_det_objects(
    data_root: str | Path, *, processes: int = 0, progress: Progress | None = None
) -> TrackedObjects:
    """Every annotated object of ImageNet DET's training images, of any of its 200 classes.

    The reference's ``imagenet_det_30plus1cls.json`` holds the same.

    Args:
        data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
        processes: how many processes parse; 0 parses in this one.
        progress: called as images are read.

    Raises:
        DataError: if there are no annotations.
    """
    ilsvrc = find_ilsvrc(data_root)
    annotations = ilsvrc / "Annotations" / "DET"
    folders = sorted(Path(folder) for folder, _, _ in os.walk(annotations / "train"))
    jobs = []
    for folder in folders:
        name = folder.relative_to(annotations).as_posix()
        stems = sorted(file[:-4] for file in os.listdir(folder) if file.endswith(".xml"))
        jobs += [
            XmlVideo(name, str(folder), (stem,), frozenset(), _AnyClass(), still=True)
            for stem in stems
        ]
    if not jobs:
        raise DataError(str(annotations / "train"), "no annotation (*.xml) below")
    index = cached_index(
        key={"root": str(ilsvrc), "set": "DET/train", "classes": "any"},
        fingerprint=fingerprint(folders=folders),
        build=lambda: assemble_index(
            parse_videos(jobs, processes, progress),
            image_root=ilsvrc / "Data" / "DET",
            classes=(("object", ""),),
        ),
    )
    return objects_of(index, "det")


def read_coco_objects(data_root: str | Path) -> TrackedObjects:
    """The objects of COCO's training images, crowds left out.

    Args:
        data_root: the folder that contains ``coco``, or ``coco`` itself, which holds
            ``annotations/instances_train2017.json`` and ``train2017``.

    Raises:
        DataError: if a file is missing or malformed.
    """
    root = Path(data_root).expanduser().resolve()
    below = Path("annotations") / "instances_train2017.json"
    places = [folder / below for folder in (root / "coco", root)]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise DataError(str(root), f"no COCO here: looked for {' or '.join(map(str, places))}")
    images = file.parents[1] / "train2017"
    index = cached_index(
        key={"json": str(file), "root": str(images), "classes": "any"},
        fingerprint=fingerprint(files=[file]),
        build=lambda: read_coco_vid(file, image_root=images, classes=_categories(file)),
    )
    return objects_of(index, "coco")


def read_lasot_objects(data_root: str | Path, split: LasotSplit = "train") -> TrackedObjects:
    """The sequences of a tree in LaSOT's layout as objects; frames without the object are left out.

    Args:
        data_root: the folder that contains ``LaSOTBenchmark``, or that folder itself.
        split: which sequences.

    Raises:
        DataError: if the tree or its list is missing, or there is no such sequence. Problems of
            single sequences are kept among the objects'.
    """
    problems: list[Problem] = []
    part: SotSplit = "train" if split == "train" else "test"
    sequences = read_sot(data_root, "LaSOT", part, problems=problems)
    if split == "all":
        # A tree may hold only what its list names: nothing else is raised the second time.
        with suppress(DataError):
            sequences += read_sot(data_root, "LaSOT", "train", problems=problems)
    base = sequences[0].folder.parents[1] if sequences else Path(data_root)
    files: list[bytes] = []
    frames: list[Integers] = [np.empty(0, dtype=np.int64)]
    boxes: list[Floats] = [np.empty((0, 4), dtype=np.float32)]
    left_out = {"frames without the object": 0, "boxes under one pixel": 0}
    for sequence in sequences:
        boxes_xyxy = sequence.truth().astype(np.float32)
        sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        large_enough = (sides >= MIN_BOX_SIDE).all(axis=1)
        seen = np.flatnonzero(large_enough & ~sequence.absent)
        left_out["frames without the object"] += int(sequence.absent.sum())
        left_out["boxes under one pixel"] += int((~large_enough & ~sequence.absent).sum())
        frames.append(len(files) + seen)
        boxes.append(boxes_xyxy[seen])
        folder = sequence.folder.relative_to(base)
        images = (sequence.image_name.format(number) for number in sequence.numbers)
        files += [(folder / image).as_posix().encode() for image in images]
    counts = np.array([len(each) for each in frames[1:]], dtype=np.int64)
    return TrackedObjects(
        name="lasot",
        image_root=str(base),
        files=np.array(files, dtype=np.bytes_),
        starts=_starts(counts[counts > 0]),
        frames=np.concatenate(frames),
        boxes_xyxy=np.concatenate(boxes),
        video_names=tuple(sequence.name for sequence in sequences),
        video=np.flatnonzero(counts > 0),
        problems=tuple(problems),
        left_out=left_out,
    )


class _AnyClass(dict[str, int]):
    """Labels of XML objects where the class does not matter: 0 for any."""

    def get(self, key: str, default: object = None) -> int:
        return 0


def _categories(file: Path) -> Classes:
    """All categories of a COCO file as classes; what is wrong with it the reader will tell."""
    try:
        return tuple((str(each["name"]), "") for each in json.loads(file.read_text())["categories"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _starts(counts: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
