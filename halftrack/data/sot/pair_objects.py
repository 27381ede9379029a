"""Objects that pairs are drawn from: those of ImageNet VID and DET, COCO and LaSOT.

Must agree with MMTracking 0.14's SOT data sets.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from halftrack.data.files import is_clutter, user_path
from halftrack.data.index import MIN_BOX_SIDE, Booleans, Floats, Integers, VideoIndex
from halftrack.data.index_cache import cached_index, fingerprint
from halftrack.data.parsed_video import MAX_COORDINATE, assemble_index
from halftrack.data.problems import DataError, Problem
from halftrack.data.progress import Progress
from halftrack.data.sot.benchmarks import read_sot
from halftrack.data.sot.config import LasotSplit, SotSplit
from halftrack.data.sot.sequences import FIRST_IMAGE, SotSequence, odd_counts
from halftrack.data.vid.annotation_xml import XmlVideo, parse_videos
from halftrack.data.vid.coco_vid import read_coco_vid
from halftrack.data.vid.imagenet_vid import find_ilsvrc

__all__ = [
    "TrackedObjects",
    "find_coco",
    "objects_of",
    "read_coco_objects",
    "read_det_objects",
    "read_lasot_objects",
]


_COCO_TRAIN = "annotations/instances_train2017.json"


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
    sizes: Integers
    """``(frames, 2)`` height and width of each image as annotated; 0 where nothing tells."""
    video_names: tuple[str, ...]
    """The videos, or stills, that the objects are in."""
    video: Integers
    """``(objects,)`` position in ``video_names``."""
    problems: tuple[Problem, ...] = ()
    """Problems of annotations that could not be used."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Counts of what else no pair shows, by kind: ``boxes under one pixel``, ``crowds``, ..."""
    odd: Mapping[str, int] = field(default_factory=dict)
    """Counts of what looks odd and is used all the same, by kind."""

    def __len__(self) -> int:
        return len(self.video)

    def path(self, box: int) -> str:
        """Path of the image that a box is in."""
        return f"{self.image_root}/{self.files[self.frames[box]].decode()}"

    @property
    def size_source(self) -> str:
        """The source of ``sizes``, in messages."""
        return FIRST_IMAGE if self.name == "lasot" else "its annotation"

    def size(self, box: int) -> tuple[int, int] | None:
        """Height and width of the image of a box, as annotated; None where nothing tells."""
        height, width = self.sizes[self.frames[box]].tolist()
        return (height, width) if height else None

    def sample_id(self, box: int) -> str:
        """The name of a box's image in logs and errors: set and path, without the ending."""
        file = self.files[self.frames[box]].decode()
        return f"{self.name}/{Path(file).with_suffix('')}"

    def named(self, names: Sequence[str]) -> Booleans:
        """Mask of the videos that are among ``names``, as whole path or as its last part."""
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
        sizes=index.frame_sizes,
        video_names=index.video_names,
        video=videos[firsts],
        problems=index.problems,
        left_out=index.left_out | {"crowds": int(index.ignored.sum())},
        odd=index.odd,
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
    folders: list[Path] = []
    for place, below, _ in os.walk(annotations / "train"):
        below[:] = [name for name in below if not is_clutter(name)]
        folders.append(Path(place))
    folders.sort()
    jobs = []
    for folder in folders:
        name = folder.relative_to(annotations).as_posix()
        files = [file for file in os.listdir(folder) if not is_clutter(file)]
        stems = sorted(file[:-4] for file in files if file.endswith(".xml"))
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


def find_coco(data_root: str | Path, json: str = "") -> Path:
    """The folder of COCO; arguments as for ``read_coco_objects``.

    Raises:
        DataError: if it is not there.
    """
    root = user_path(data_root)
    below = json or _COCO_TRAIN
    folders = (root / "coco", root)
    for folder in folders:
        if (folder / below).is_file():
            return folder
    looked = " or ".join(str(each / below) for each in folders)
    raise DataError(str(root), f"no COCO here: looked for {looked}")


def read_coco_objects(data_root: str | Path, json: str = "") -> TrackedObjects:
    """The objects of COCO's training images, crowds left out.

    Args:
        data_root: the folder that contains ``coco``, or ``coco`` itself, which holds
            ``annotations/instances_train2017.json`` and ``train2017``.
        json: another file below it.

    Raises:
        DataError: if a file is missing or malformed.
    """
    folder = find_coco(data_root, json)
    file, images = folder / (json or _COCO_TRAIN), folder / "train2017"
    return objects_of(read_coco_vid(file, image_root=images, classes=None), "coco")


def read_lasot_objects(
    data_root: str | Path, split: LasotSplit = "train", infos: str = ""
) -> TrackedObjects:
    """The sequences of a tree in LaSOT's layout as objects; frames without the object are left out.

    Args:
        data_root: the folder that contains ``LaSOTBenchmark``, or that folder itself.
        split: which sequences.
        infos: MMTracking's list of sequences, in the place of ``split``.

    Raises:
        DataError: if the tree or its list is missing, or there is no such sequence. Problems of
            single sequences are kept among the objects'.
    """
    problems: list[Problem] = []
    part: SotSplit = "train" if split == "train" else "test"
    sequences = read_sot(data_root, "LaSOT", part, infos=infos or None, problems=problems)
    if split == "all" and not infos:
        # A tree may hold only what its list names: nothing else is raised the second time.
        with suppress(DataError):
            sequences += read_sot(data_root, "LaSOT", "train", problems=problems)
    base = sequences[0].folder.parents[1] if sequences else Path(data_root)
    files: list[bytes] = []
    frames: list[Integers] = [np.empty(0, dtype=np.int64)]
    boxes: list[Floats] = [np.empty((0, 4), dtype=np.float32)]
    sizes: list[Integers] = [np.empty((0, 2), dtype=np.int64)]
    left_out: Counter[str] = Counter()
    for sequence in sequences:
        size = sequence.size or (0, 0)
        boxes_xyxy, kinds = _shown(sequence, size)
        left_out.update({kind: int(rows.sum()) for kind, rows in kinds.items()})
        seen = np.flatnonzero(~np.any(list(kinds.values()), axis=0))
        frames.append(len(files) + seen)
        boxes.append(boxes_xyxy[seen])
        sizes.append(np.tile(np.array(size, dtype=np.int64), (len(sequence), 1)))
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
        sizes=np.concatenate(sizes),
        video_names=tuple(sequence.name for sequence in sequences),
        video=np.flatnonzero(counts > 0),
        problems=tuple(problems),
        left_out=dict(left_out),
        odd=odd_counts(sequences),
    )


def _shown(sequence: SotSequence, size: tuple[int, int]) -> tuple[Floats, dict[str, Booleans]]:
    """The boxes of a sequence, and which of them no pair shows, by the reason."""
    boxes = sequence.truth()
    height, width = size if all(size) else (np.inf, np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = boxes.astype(np.float32)
        sides = rounded[:, 2:] - rounded[:, :2]
        thin = ~(sides >= MIN_BOX_SIDE).all(axis=1)
        far = np.abs(boxes).max(axis=1) > MAX_COORDINATE
        inside = (boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < (width, height)).all(axis=1)
    absent = sequence.absent
    return rounded, {
        "frames without the object": absent,
        "boxes under one pixel": thin & ~absent,
        "boxes outside their image": ~thin & (far | ~inside) & ~absent,
    }


class _AnyClass(dict[str, int]):
    """Labels of XML objects where the class does not matter: 0 for any."""

    def get(self, key: str, default: object = None) -> int:
        return 0


def _starts(counts: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
