"""Crops of people for re-identification, cut on the fly from MOTChallenge sequences.

Must agree with MMTracking 0.14: which crops, their edges and their JPEG compression with mot2reid,
the choice of a batch with ReIDDataset's triplet sampler (https://arxiv.org/abs/1703.07737).
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.io import ImageReadMode

from halftrack.data.images import load_image
from halftrack.data.index import Integers
from halftrack.data.mot.mot_challenge import MotRows, MotSequence, learned_rows
from halftrack.data.ordered_batches import OrderedBatches
from halftrack.data.prefetch import read_ahead
from halftrack.data.problems import DataError, OnBadSample, SkipLedger
from halftrack.data.randomness import sample_random
from halftrack.frames import CropBatch

__all__ = [
    "CropBatches",
    "CropRules",
    "CropSettings",
    "Crops",
    "Identity",
    "crops_in_order",
    "crops_of",
    "find_identities",
    "prepare_crop",
]

# mot2reid writes its crops with OpenCV's default quality. Held in memory as such JPEG files they
# have the pixels that the published model saw, and ten times as many fit.
_JPEG_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class CropRules:
    """Which boxes make a crop and which individuals are kept."""

    min_crops: int = 8
    """Individuals with fewer crops are left out."""
    max_crops: int = 1000
    """Of individuals with more crops so many are drawn, once and for all."""


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """How a training batch of crops is drawn and prepared."""

    size: tuple[int, int] = (256, 128)
    """Height and width of a prepared crop; the ratio is not kept."""
    identities_per_batch: int = 8
    """Individuals in a batch."""
    crops_per_identity: int = 4
    """Crops of each of them."""
    flip_probability: float = 0.5
    """Chance that a crop is mirrored, drawn for each by itself."""
    cache_mb: int = 512
    """Memory for crops that were cut already, in MiB and for each worker process; 0 for none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Identity:
    """One individual of one sequence, in all its boxes that make a crop."""

    sequence: int
    """Position of the sequence among those given."""
    number: int
    """The individual's id in the sequence."""
    frame_numbers: Integers
    """``(n,)`` frame of each crop, 1-based."""
    edges_xyxy: Integers
    """``(n, 4)`` first and last column and row of each crop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """Crops of the individuals of one or more sequences, the crops of each in one piece."""

    sequences: tuple[MotSequence, ...]
    """Where they are cut."""
    sequence: Integers
    """``(n,)`` position in ``sequences``."""
    frame_numbers: Integers
    """``(n,)`` 1-based."""
    edges_xyxy: Integers
    """``(n, 4)`` first and last column and row, both inside the image and part of the crop."""
    labels: Integers
    """``(n,)`` individual, 0-based in the order of ``names``, sorted."""
    names: tuple[str, ...]
    """Sequence and id of each individual, e.g. ``MOT17-02-FRCNN/3``."""
    rare: int = 0
    """Individuals left out for having too few crops."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_identities(self) -> int:
        """How many individuals there are."""
        return len(self.names)

    def span(self, label: int) -> tuple[int, int]:
        """First crop of an individual and the one after its last."""
        first, stop = np.searchsorted(self.labels, [label, label + 1])
        return int(first), int(stop)

    def sample_id(self, crop: int) -> str:
        """A crop's name in logs and errors, e.g. ``MOT17-02-FRCNN/img1/000008/3``."""
        frame = self.sequences[self.sequence[crop]].sample_id(int(self.frame_numbers[crop]))
        return f"{frame}/{self.names[self.labels[crop]].rpartition('/')[2]}"

    def by_frame(self) -> dict[tuple[int, int], list[int]]:
        """The crops of each (sequence, frame number), frames in order."""
        order = np.lexsort((self.frame_numbers, self.sequence))
        groups: dict[tuple[int, int], list[int]] = {}
        for crop in order.tolist():
            place = (int(self.sequence[crop]), int(self.frame_numbers[crop]))
            groups.setdefault(place, []).append(crop)
        return groups


class CropBatches(OrderedBatches[CropBatch, CropBatch]):
    """Batches of P individuals with K crops each; every crop's turn comes once an epoch.

    The crop whose turn it is decides one of the individuals; the others, and which crops stand for
    each, are drawn.
    """

    def __init__(
        self,
        *,
        crops: Crops,
        settings: CropSettings,
        on_bad_sample: OnBadSample = "error",
        rank: int = 0,
        world_size: int = 1,
        skipped: SkipLedger | None = None,
    ) -> None:
        if crops.num_identities < settings.identities_per_batch:
            raise DataError(
                ", ".join(str(sequence.folder) for sequence in crops.sequences) or "no sequence",
                f"{crops.num_identities} individuals have crops enough, "
                f"identities_per_batch={settings.identities_per_batch} asks for more",
            )
        super().__init__(
            num_samples=len(crops),
            samples_per_batch=1,
            on_bad_sample=on_bad_sample,
            rank=rank,
            world_size=world_size,
            skipped=skipped,
        )
        self.crops = crops
        """What is drawn from."""
        self.settings = settings
        """How batches are drawn and prepared."""
        self.notes = (
            f"{len(crops)} crops of {crops.num_identities} individuals; "
            f"left out: {crops.rare} individuals with too few",
        )
        self._cutter = _Cutter(crops, cache_bytes=settings.cache_mb << 20)

    def sample(self, *, seed: int, epoch: int, index: int) -> CropBatch:
        """The batch of crop ``index``, whatever its place in the order.

        Raises:
            DataError: if the image of one of its crops cannot be used.
        """
        settings, rng = self.settings, sample_random(seed, epoch, index)
        drawn = self._draw(index, rng)
        images = [
            prepare_crop(
                self._cutter.crop(crop),
                size=settings.size,
                flipped=rng.random() < settings.flip_probability,
            )
            for crop in drawn
        ]
        return _batch(self.crops, drawn, images)

    def collate(self, samples: Sequence[CropBatch]) -> CropBatch:
        """A sample is a whole batch already."""
        (batch,) = samples
        return batch

    def _draw(self, index: int, rng: random.Random) -> list[int]:
        own = int(self.crops.labels[index])
        others = [label for label in range(self.crops.num_identities) if label != own]
        per_identity = self.settings.crops_per_identity
        drawn: list[int] = []
        for label in (own, *rng.sample(others, self.settings.identities_per_batch - 1)):
            # With replacement however many there are, as in the reference.
            drawn += rng.choices(range(*self.crops.span(label)), k=per_identity)
        return drawn


def find_identities(
    sequences: Sequence[MotSequence], *, min_visibility: float, flag_zero: bool = False
) -> list[Identity]:
    """The individuals with at least one crop, sorted by sequence and id.

    A crop's edges are the box's, rounded towards zero, moved into the image and both included, as
    mmcv's imcrop has them. Boxes that do not touch their image make none, unlike in mot2reid.

    Args:
        sequences: with ground truth.
        min_visibility: boxes of which a smaller share can be seen are left out.
        flag_zero: pedestrians with flag 0 make crops too.

    Raises:
        DataError: if a sequence has no ground truth.
    """
    identities = []
    for position, sequence in enumerate(sequences):
        rows, _ = learned_rows(sequence, flag_zero=flag_zero)
        rows = rows.select(rows.visibility >= min_visibility)
        for number in np.unique(rows.ids).tolist():
            own = rows.select(rows.ids == number)
            identities.append(
                Identity(
                    sequence=position,
                    number=number,
                    frame_numbers=own.frame_numbers,
                    edges_xyxy=_edges(own, sequence.size),
                )
            )
    return identities


def crops_of(
    sequences: Sequence[MotSequence], identities: Sequence[Identity], rules: CropRules
) -> Crops:
    """The crops of those individuals that have enough of them.

    Args:
        sequences: what ``Identity.sequence`` counts.
        identities: in label order, those left out not counted.
        rules: how many crops an individual must and may have. Which ones are kept of more is drawn
            from the individual's name, not in mot2reid's way, whose choice follows from the order
            in which a file system lists files.
    """
    kept: list[Identity] = []
    names: list[str] = []
    chosen: list[Integers] = []
    for identity in identities:
        total = len(identity.frame_numbers)
        if total < rules.min_crops:
            continue
        name = f"{sequences[identity.sequence].name}/{identity.number}"
        rows = np.arange(total)
        if total > rules.max_crops:
            rows = np.array(sorted(random.Random(name).sample(range(total), rules.max_crops)))
        kept.append(identity)
        names.append(name)
        chosen.append(rows)
    counts = [len(rows) for rows in chosen]
    none = np.empty(0, dtype=np.int64)
    pairs = list(zip(kept, chosen, strict=True))
    frame_numbers = [identity.frame_numbers[rows] for identity, rows in pairs]
    edges = [identity.edges_xyxy[rows] for identity, rows in pairs]
    positions = np.array([identity.sequence for identity in kept], dtype=np.int64)
    return Crops(
        sequences=tuple(sequences),
        sequence=np.repeat(positions, counts),
        frame_numbers=np.concatenate([none, *frame_numbers]),
        edges_xyxy=np.concatenate([none.reshape(0, 4), *edges]),
        labels=np.repeat(np.arange(len(kept)), counts),
        names=tuple(names),
        rare=len(identities) - len(kept),
    )


def prepare_crop(image: Tensor, *, size: tuple[int, int], flipped: bool) -> Tensor:
    """Bring a crop to the size the network takes, in float, without keeping its ratio.

    Args:
        image: uint8 ``(3, height, width)``.
        size: height and width asked for.
        flipped: mirror left to right.

    Returns:
        float32 ``(3, *size)``, 0 to 255.
    """
    # antialias off is OpenCV's INTER_LINEAR; in float, as the reference loads to float.
    resized = F.interpolate(image.float()[None], size=size, mode="bilinear")[0]
    return resized.flip(-1) if flipped else resized


def crops_in_order(
    crops: Crops,
    *,
    size: tuple[int, int] = (256, 128),
    batch_size: int = 32,
    on_bad_sample: OnBadSample = "error",
    skipped: SkipLedger | None = None,
    threads: int = 2,
) -> Iterator[CropBatch]:
    """All crops once, frame by frame, none mirrored; the last batch may be smaller.

    Args:
        crops: which.
        size: height and width of a prepared crop.
        batch_size: crops a batch.
        on_bad_sample: ``skip`` leaves out the crops of an image that cannot be used.
        skipped: told what was left out.
        threads: threads that read frames ahead; 0 reads on demand.

    Raises:
        DataError: if an image cannot be used, unless bad ones are skipped.
    """
    frames = crops.by_frame()

    def load(place: tuple[int, int]) -> list[tuple[int, Tensor]]:
        cut = _cut(crops, place, frames[place])
        return [(crop, prepare_crop(_decode(file), size=size, flipped=False)) for crop, file in cut]

    ledger = SkipLedger() if skipped is None else skipped
    waiting: list[tuple[int, Tensor]] = []
    for prepared in read_ahead(
        load, frames, threads=threads, on_bad_sample=on_bad_sample, skipped=ledger
    ):
        waiting += prepared
        while len(waiting) >= batch_size:
            yield _pairs(crops, waiting[:batch_size])
            waiting = waiting[batch_size:]
    if waiting:
        yield _pairs(crops, waiting)


class _Cutter:
    """Cuts crops and keeps them as JPEG files in memory, the least recently used dropped first.

    Decoding a whole frame for one crop is what costs: the first use of a frame cuts all its crops.
    """

    def __init__(self, crops: Crops, *, cache_bytes: int) -> None:
        self._crops = crops
        self._cache_bytes = cache_bytes
        self._frames = crops.by_frame()
        self._held: OrderedDict[int, Tensor] = OrderedDict()
        self._held_bytes = 0

    def crop(self, crop: int) -> Tensor:
        """uint8 ``(3, height, width)`` pixels of a crop."""
        if crop in self._held:
            self._held.move_to_end(crop)
            return _decode(self._held[crop])
        crops = self._crops
        place = (int(crops.sequence[crop]), int(crops.frame_numbers[crop]))
        # Without a cache the other crops of the frame would be cut for nothing.
        files = dict(_cut(crops, place, self._frames[place] if self._cache_bytes else [crop]))
        for number, file in files.items():
            self._hold(number, file)
        return _decode(files[crop])

    def _hold(self, crop: int, file: Tensor) -> None:
        if crop in self._held or file.numel() > self._cache_bytes:
            return
        self._held[crop] = file
        self._held_bytes += file.numel()
        while self._held_bytes > self._cache_bytes:
            self._held_bytes -= self._held.popitem(last=False)[1].numel()


def _edges(rows: MotRows, size: tuple[int, int]) -> Integers:
    height, width = size
    limit = np.array([width - 1, height - 1] * 2)
    return rows.boxes_xyxy.astype(np.int64).clip(0, limit)


def _cut(crops: Crops, place: tuple[int, int], numbers: Sequence[int]) -> list[tuple[int, Tensor]]:
    """Some crops of one frame as JPEG files, each with its number."""
    position, frame_number = place
    sequence = crops.sequences[position]
    path = sequence.path(frame_number)
    image = load_image(path)
    if image.shape[-2:] != sequence.size:
        told, wanted = tuple(image.shape[-2:]), sequence.size
        raise DataError(path, f"image has height and width {told}, seqinfo.ini says {wanted}")
    files = []
    for number in numbers:
        x1, y1, x2, y2 = crops.edges_xyxy[number].tolist()
        cut = image[:, y1 : y2 + 1, x1 : x2 + 1].contiguous()
        files.append((number, torch.ops.image.encode_jpeg(cut, _JPEG_QUALITY)))
    return files


def _decode(file: Tensor) -> Tensor:
    # The kernel below torchvision's Python wrapper, as in load_image.
    image: Tensor = torch.ops.image.decode_image(file, ImageReadMode.RGB.value, False)
    return image


def _pairs(crops: Crops, pairs: Sequence[tuple[int, Tensor]]) -> CropBatch:
    return _batch(crops, [crop for crop, _ in pairs], [image for _, image in pairs])


def _batch(crops: Crops, numbers: Sequence[int], images: Sequence[Tensor]) -> CropBatch:
    return CropBatch(
        images=torch.stack(list(images)),
        labels=torch.from_numpy(crops.labels[list(numbers)]),
        sample_ids=tuple(crops.sample_id(number) for number in numbers),
    )
