"""Pairs of images for single-object tracking, from videos and stills: which, and as batches.

SiamRPN++, https://arxiv.org/abs/1812.11703; must agree with MMTracking 0.14's RandomSampleConcat,
PairSampling and SOT data sets. A pair is a function of (seed, epoch, index): never of worker, rank
or history.
"""

from __future__ import annotations

import json
import os
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.io import ImageReadMode

from halftrack.data.annotation_xml import Progress, XmlVideo, parse_videos
from halftrack.data.coco_vid import read_coco_vid
from halftrack.data.imagenet_vid import find_ilsvrc
from halftrack.data.images import load_image
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
from halftrack.data.ordered_batches import OrderedBatches
from halftrack.data.problems import DataError, OnBadSample, Problem, SkipLedger
from halftrack.data.reference_sampling import sample_random
from halftrack.data.siamese_augment import View, ViewRanges, cut_view, draw_view, view_of_crop
from halftrack.data.siamese_crops import SiameseCrop, box_in_crop, crop_like_siamfc
from halftrack.data.sot_sequences import read_sot
from halftrack.frames import PairBatch

__all__ = [
    "LasotSplit",
    "Pair",
    "PairBatches",
    "PairDecisions",
    "PairSettings",
    "TrackedObjects",
    "draw_pair",
    "objects_of",
    "read_coco_objects",
    "read_det_objects",
    "read_lasot_objects",
]

LasotSplit = Literal["train", "test", "all"]
"""LaSOT's sequences: those that ``testing_set.txt`` does not name, those it does, or both."""

# Crops held in memory are such JPEG files, as the authors' code has them on disk.
_JPEG_QUALITY = 95


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
        )


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """How a pair is drawn and prepared."""

    weights: tuple[float, ...]
    """How often each data set is drawn from, relative to the others."""
    frame_range: int = 100
    """How far the search region may be from its template, counted in the object's boxes."""
    positive_share: float = 0.8
    """Share of pairs that show the same object twice."""
    crop: SiameseCrop
    """How an object is cropped from its image."""
    template: ViewRanges
    """How far templates are changed."""
    search: ViewRanges
    """How far search regions are changed."""
    grey_probability: float = 0.0
    """Chance that both images of a pair are turned grey."""
    cache_mb: int = 0
    """Memory for crops that were cut already, in MiB and for each worker process; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class PairDecisions:
    """Which two boxes make a pair, and what is done to their images."""

    source: int
    """The data set, as position among those given."""
    template: int
    """The template's box in that set."""
    search: int
    """The search region's box in that set."""
    positive: bool
    """Both show the same object."""
    template_view: View
    """What is done to the template."""
    search_view: View
    """What is done to the search region."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One training sample: an object to look for, and where to look."""

    template: Tensor
    """float32 ``(3, size, size)`` RGB, 0 to 255."""
    search: Tensor
    """float32 ``(3, size, size)`` RGB, 0 to 255."""
    box_xyxy: Tensor
    """float32 ``(4,)`` the object at the middle of the search crop, in the search region."""
    positive: bool
    """Both show the same object."""
    sample_id: str
    """Where the two were cut."""


class PairBatches(OrderedBatches[Pair, PairBatch]):
    """Pairs drawn from data sets at given rates, so many an epoch and so many a batch."""

    def __init__(
        self,
        *,
        sets: Sequence[TrackedObjects],
        settings: PairSettings,
        pairs_per_epoch: int,
        pairs_per_batch: int,
        on_bad_sample: OnBadSample = "error",
        rank: int = 0,
        world_size: int = 1,
        skipped: SkipLedger | None = None,
    ) -> None:
        if len(sets) != len(settings.weights):
            raise ValueError(
                f"weights={settings.weights!r}: expected one for each of {len(sets)} data sets"
            )
        for objects in sets:
            if len(objects) == 0:
                raise DataError(objects.image_root, f"no object to learn from ({objects.name})")
        super().__init__(
            num_samples=pairs_per_epoch,
            samples_per_batch=pairs_per_batch,
            on_bad_sample=on_bad_sample,
            rank=rank,
            world_size=world_size,
            skipped=skipped,
        )
        self.sets = tuple(sets)
        """What is drawn from."""
        self.settings = settings
        """How pairs are drawn and prepared."""
        self._settle_problems()
        total = sum(settings.weights)
        self.notes = tuple(
            f"{objects.name}: {len(objects)} objects with {len(objects.frames)} boxes, "
            f"{weight / total:.0%} of {pairs_per_epoch} pairs an epoch"
            for objects, weight in zip(self.sets, settings.weights, strict=True)
        )
        self._held = _HeldCrops(cache_bytes=settings.cache_mb << 20)

    def sample(self, *, seed: int, epoch: int, index: int) -> Pair:
        """Pair ``index``, whatever its place in the order.

        Raises:
            DataError: if one of its images cannot be used.
        """
        drawn = draw_pair(self.sets, self.settings, sample_random(seed, epoch, index))
        objects = self.sets[drawn.source]
        settings = self.settings
        template, _ = self._view(
            drawn.source, drawn.template, drawn.template_view, settings.template.size
        )
        search, box_xyxy = self._view(
            drawn.source, drawn.search, drawn.search_view, settings.search.size
        )
        return Pair(
            template=template,
            search=search,
            box_xyxy=torch.from_numpy(box_xyxy),
            positive=drawn.positive,
            sample_id=f"{objects.sample_id(drawn.template)} + {objects.sample_id(drawn.search)}",
        )

    def collate(self, samples: Sequence[Pair]) -> PairBatch:
        """The pairs as one batch."""
        return PairBatch(
            templates=torch.stack([pair.template for pair in samples]),
            searches=torch.stack([pair.search for pair in samples]),
            boxes_xyxy=torch.stack([pair.box_xyxy for pair in samples]),
            positive=torch.tensor(
                [pair.positive for pair in samples], dtype=torch.bool, device="cpu"
            ),
            sample_ids=tuple(pair.sample_id for pair in samples),
        )

    def _view(self, source: int, box: int, view: View, size: int) -> tuple[Tensor, Floats]:
        objects, crop = self.sets[source], self.settings.crop
        box_xyxy = objects.boxes_xyxy[box]
        if self.settings.cache_mb == 0:
            image = load_image(objects.path(box))
            return cut_view(image, box_xyxy, crop=crop, view=view, size=size)
        # Held or not, the crop goes through the same JPEG: the cache changes no pixel later.
        file = self._held.get((source, box))
        if file is None:
            pixels = crop_like_siamfc(load_image(objects.path(box)), box_xyxy, crop)
            file = torch.ops.image.encode_jpeg(pixels.round_().to(torch.uint8), _JPEG_QUALITY)
            self._held.put((source, box), file)
        decoded = torch.ops.image.decode_image(file, ImageReadMode.RGB.value, False)
        return view_of_crop(decoded, box_in_crop(box_xyxy, crop), view=view, size=size)

    def _settle_problems(self) -> None:
        problems = [problem for objects in self.sets for problem in objects.problems]
        if problems and self.on_bad_sample == "error":
            first, others = problems[0], len(problems) - 1
            more = f" ({others} more problems)" if others else ""
            allowed = '; on_bad_sample="skip" leaves such things out and lists them'
            raise DataError(first.file, f"{first.reason}{more}{allowed}")
        for problem in problems:
            self.skipped.add(problem)


def draw_pair(
    sets: Sequence[TrackedObjects], settings: PairSettings, rng: random.Random
) -> PairDecisions:
    """Draw a pair, and what is done to it.

    Objects are drawn evenly, then one of the object's boxes. As in the reference the search region
    of a positive pair is at most ``frame_range`` boxes before its template and fewer behind it. A
    negative pair takes another object of the same data set; the reference may draw the same one and
    call it negative, which is frequent where there are few. A set of one object has none.

    Args:
        sets: none of them empty.
        settings: what is drawn from.
        rng: source of chance.
    """
    (source,) = rng.choices(range(len(sets)), settings.weights)
    objects = sets[source]
    number = rng.randrange(len(objects))
    first, stop = int(objects.starts[number]), int(objects.starts[number + 1])
    template = rng.randrange(first, stop)
    positive = rng.random() < settings.positive_share or len(objects) == 1
    if not positive:
        other = rng.randrange(len(objects) - 1)
        other += other >= number
        first, stop = int(objects.starts[other]), int(objects.starts[other + 1])
        search = rng.randrange(first, stop)
    else:
        near, far = template - settings.frame_range, template + settings.frame_range
        search = rng.randrange(max(near, first), min(far, stop))
    grey = rng.random() < settings.grey_probability
    return PairDecisions(
        source=source,
        template=template,
        search=search,
        positive=positive,
        template_view=draw_view(settings.template, rng, grey=grey),
        search_view=draw_view(settings.search, rng, grey=grey),
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
        DataError: if a file is missing or malformed, or there is no such sequence.
    """
    sequences = read_sot(data_root, "LaSOT", "train" if split == "train" else "test")
    base = sequences[0].folder.parents[1]
    if split == "all":
        tested = {sequence.name for sequence in sequences}
        if {truth.parent.name for truth in base.glob("*/*/groundtruth.txt")} - tested:
            sequences += read_sot(data_root, "LaSOT", "train")
    files: list[bytes] = []
    frames: list[Integers] = [np.empty(0, dtype=np.int64)]
    boxes: list[Floats] = [np.empty((0, 4), dtype=np.float32)]
    for sequence in sequences:
        boxes_xyxy = sequence.truth().astype(np.float32)
        sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        seen = np.flatnonzero((sides >= MIN_BOX_SIDE).all(axis=1) & ~sequence.absent)
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
    )


class _AnyClass(dict[str, int]):
    """Labels of XML objects where the class does not matter: 0 for any."""

    def get(self, key: str, default: object = None) -> int:
        return 0


class _HeldCrops:
    """Crops as JPEG files in memory, the least recently used dropped first."""

    def __init__(self, *, cache_bytes: int) -> None:
        self._cache_bytes = cache_bytes
        self._held: OrderedDict[tuple[int, int], Tensor] = OrderedDict()
        self._held_bytes = 0

    def get(self, key: tuple[int, int]) -> Tensor | None:
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key]

    def put(self, key: tuple[int, int], file: Tensor) -> None:
        if file.numel() > self._cache_bytes:
            return
        self._held[key] = file
        self._held_bytes += file.numel()
        while self._held_bytes > self._cache_bytes:
            self._held_bytes -= self._held.popitem(last=False)[1].numel()


def _categories(file: Path) -> Classes:
    """All categories of a COCO file as classes; what is wrong with it the reader will tell."""
    try:
        return tuple((str(each["name"]), "") for each in json.loads(file.read_text())["categories"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _starts(counts: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
