"""Pairs of images for single-object tracking, drawn from objects in videos and stills, as batches.

SiamRPN++, https://arxiv.org/abs/1812.11703; must agree with MMTracking 0.14's RandomSampleConcat
and PairSampling. A pair is a function of (seed, epoch, index): never of worker, rank or history.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.io import ImageReadMode

from halftrack.data.annotated_image import load_annotated_image
from halftrack.data.images import load_image
from halftrack.data.index import Floats
from halftrack.data.index_cache import contents_hash
from halftrack.data.ordered_batches import OrderedBatches, sample_random
from halftrack.data.problems import DataError, SkipLedger, settle_problems
from halftrack.data.progress import Progress
from halftrack.data.sot.augment import View, cut_view, draw_view, view_of_crop
from halftrack.data.sot.config import PairDataConfig
from halftrack.data.sot.crops import box_in_crop, crop_like_siamfc
from halftrack.data.sot.pair_objects import TrackedObjects
from halftrack.data.sot.pair_sets import read_pair_sets
from halftrack.frames import PairBatch
from halftrack.layers import SiameseGeometry

__all__ = ["Pair", "PairBatches", "PairDecisions", "draw_pair"]

# Crops held in memory are such JPEG files, as the authors' code has them on disk.
_JPEG_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class PairDecisions:
    """Draw of one pair: its two boxes, and the augmentation of their images."""

    source: int
    """The data set, as position among those given."""
    template: int
    """The template's box in that set."""
    search: int
    """The search region's box in that set."""
    positive: bool
    """Both show the same object."""
    template_view: View
    """Augmentation of the template."""
    search_view: View
    """Augmentation of the search region."""


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
    """Names of the two images that template and search region were cut from."""


class PairBatches(OrderedBatches[Pair, PairBatch]):
    """Pairs drawn from data sets at given rates, so many an epoch and so many a batch."""

    def __init__(
        self,
        *,
        sets: Sequence[TrackedObjects],
        config: PairDataConfig,
        geometry: SiameseGeometry,
        skipped: SkipLedger | None = None,
    ) -> None:
        config.check_geometry(geometry)
        if len(sets) != len(config.set_weights):
            raise ValueError(
                f"set_weights={config.set_weights!r}: expected one for each of {len(sets)} data "
                "sets"
            )
        super().__init__(
            num_samples=config.pairs_per_epoch,
            samples_per_batch=config.pairs_per_batch,
            on_bad_sample=config.on_bad_sample,
            skipped=skipped,
        )
        self.sets = tuple(sets)
        """The objects of each data set."""
        self.config = config
        """The rates, ranges and chances that pairs are drawn with."""
        self.geometry = geometry
        """The sizes of template and search region."""
        problems = [problem for objects in sets for problem in objects.problems]
        settle_problems(problems, config.on_bad_sample, self.skipped)
        for objects in sets:
            if len(objects) == 0:
                raise DataError(objects.image_root, f"no object to learn from ({objects.name})")
        total = sum(config.set_weights)
        self.notes = tuple(
            f"{objects.name}: {len(objects)} objects with {len(objects.frames)} boxes, "
            f"{weight / total:.0%} of {config.pairs_per_epoch} pairs an epoch"
            for objects, weight in zip(self.sets, config.set_weights, strict=True)
        )
        self._held = _HeldCrops(cache_bytes=config.cache_mb << 20)

    @classmethod
    def open(
        cls,
        config: PairDataConfig,
        data_root: str | Path,
        *,
        geometry: SiameseGeometry,
        processes: int = 0,
        progress: Progress | None = None,
    ) -> PairBatches:
        """Open the training pairs of a configuration.

        Args:
            config: the sets, and how pairs are drawn.
            data_root: the folder that contains ``ILSVRC``, ``coco`` and ``LaSOTBenchmark``, those
                of them that ``training_sets`` name; the only one itself where it is one.
            geometry: the sizes of template and search region, the model's.
            processes: number of processes that parse annotations, where no cache holds them.
            progress: told (videos read, videos in all) while they are parsed.

        Raises:
            DataError: if something is missing or bad, see ``on_bad_sample``.
        """
        return cls(
            sets=read_pair_sets(config, data_root, processes=processes, progress=progress),
            config=config,
            geometry=geometry,
        )

    def facts(self) -> dict[str, dict[str, int | str]]:
        """Videos, objects and boxes of each data set, and a hash of its annotations."""
        facts: dict[str, dict[str, int | str]] = {}
        for number, objects in enumerate(self.sets):
            name, arrays = objects.name, (objects.files, objects.starts, objects.frames)
            others = (objects.boxes_xyxy, objects.sizes, objects.video)
            facts[name if name not in facts else f"{name} ({number})"] = {
                "videos": len(objects.video_names),
                "objects": len(objects),
                "boxes": len(objects.frames),
                "annotations": contents_hash((*arrays, *others), text=objects.video_names),
            }
        return facts

    def sample(self, *, seed: int, epoch: int, index: int) -> Pair:
        """Pair ``index``, whatever its place in the order.

        Raises:
            DataError: if one of its images cannot be used.
        """
        drawn = draw_pair(self.sets, self.config, sample_random(seed, epoch, index))
        objects = self.sets[drawn.source]
        template, _ = self._view(
            drawn.source, drawn.template, drawn.template_view, self.geometry.template_size
        )
        search, box_xyxy = self._view(
            drawn.source, drawn.search, drawn.search_view, self.geometry.search_size
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
        objects, geometry, crop_size = self.sets[source], self.geometry, self.config.crop_size
        box_xyxy = objects.boxes_xyxy[box]
        if self.config.cache_mb == 0:
            image = _load(objects, box)
            return cut_view(
                image, box_xyxy, geometry=geometry, crop_size=crop_size, view=view, size=size
            )
        # Held or not, the crop goes through the same JPEG: the cache changes no pixel later.
        file = self._held.get((source, box))
        if file is None:
            pixels = crop_like_siamfc(_load(objects, box), box_xyxy, geometry, crop_size)
            file = torch.ops.image.encode_jpeg(pixels.round_().to(torch.uint8), _JPEG_QUALITY)
            self._held.put((source, box), file)
        decoded = torch.ops.image.decode_image(file, ImageReadMode.RGB.value, False)
        box_xyxy = box_in_crop(box_xyxy, geometry, crop_size)
        return view_of_crop(decoded, box_xyxy, view=view, size=size)


def draw_pair(
    sets: Sequence[TrackedObjects], config: PairDataConfig, rng: random.Random
) -> PairDecisions:
    """Draw a pair, and what is done to it.

    Objects are drawn evenly, then one of the object's boxes. As in the reference the search region
    of a positive pair is at most ``frame_range`` boxes before its template and fewer behind it. A
    negative pair takes another object of the same data set; the reference may draw the same one and
    call it negative, which is frequent where there are few. A set of one object has none.

    Args:
        sets: none of them empty.
        config: the rates, ranges and chances.
        rng: source of chance.
    """
    (source,) = rng.choices(range(len(sets)), config.set_weights)
    objects = sets[source]
    number = rng.randrange(len(objects))
    first, stop = int(objects.starts[number]), int(objects.starts[number + 1])
    template = rng.randrange(first, stop)
    positive = rng.random() < config.positive_share or len(objects) == 1
    if not positive:
        other = rng.randrange(len(objects) - 1)
        other += other >= number
        first, stop = int(objects.starts[other]), int(objects.starts[other + 1])
        search = rng.randrange(first, stop)
    else:
        near, far = template - config.frame_range, template + config.frame_range
        search = rng.randrange(max(near, first), min(far, stop))
    grey = rng.random() < config.grey_probability
    return PairDecisions(
        source=source,
        template=template,
        search=search,
        positive=positive,
        template_view=draw_view(config, 0, rng, grey=grey),
        search_view=draw_view(config, 1, rng, grey=grey),
    )


def _load(objects: TrackedObjects, box: int) -> Tensor:
    """The image of a box; of another size than annotated it would show the object elsewhere."""
    path, size = objects.path(box), objects.size(box)
    if size is None:
        return load_image(path)
    return load_annotated_image(path, size, source=objects.size_source)


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
