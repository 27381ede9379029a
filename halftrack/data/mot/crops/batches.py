"""Batches of people's crops for re-identification, cut on the fly from their frames.

Must agree with MMTracking 0.14: the crops' JPEG compression with mot2reid, the choice of a batch
with ReIDDataset's triplet sampler (https://arxiv.org/abs/1703.07737).
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
import torchvision  # noqa: F401 - its kernels are called below the wrappers, which warn
from torch import Tensor

from halftrack.data.annotated_image import require_size
from halftrack.data.image_header import read_bytes, read_header
from halftrack.data.images import decode_image, load_image
from halftrack.data.mot.config import ReIDDataConfig
from halftrack.data.mot.crops.read import read_crops
from halftrack.data.mot.crops.records import Crops
from halftrack.data.mot.records import odd_counts
from halftrack.data.ordered_batches import OrderedBatches, sample_random
from halftrack.data.prefetch import read_ahead
from halftrack.data.problems import DataError, OnBadSample, SkipLedger, counted
from halftrack.frames import CropBatch

__all__ = ["CropBatches", "crops_in_order", "prepare_crop"]

# mot2reid writes its crops with OpenCV's default quality. Held in memory as such JPEG files they
# have the pixels that the published model saw, and ten times as many fit.
_JPEG_QUALITY = 95


class CropBatches(OrderedBatches[CropBatch, CropBatch]):
    """Batches of P individuals with K crops each; every crop's turn comes once an epoch.

    The crop whose turn it is decides one of the individuals; the others, and which crops stand for
    each, are drawn.
    """

    def __init__(
        self,
        *,
        crops: Crops,
        config: ReIDDataConfig,
        crop_size: tuple[int, int],
        skipped: SkipLedger | None = None,
    ) -> None:
        if crops.num_identities < config.identities_per_batch:
            raise DataError(
                crops.source,
                f"{crops.num_identities} individuals have crops enough, "
                f"identities_per_batch={config.identities_per_batch} asks for more",
            )
        super().__init__(
            num_samples=len(crops),
            samples_per_batch=1,
            on_bad_sample=config.on_bad_sample,
            skipped=skipped,
        )
        self.crops = crops
        """Crops that batches are drawn from."""
        self.config = config
        """The numbers and chances that batches are drawn with."""
        self.crop_size = crop_size
        """Height and width of a prepared crop."""
        self.notes = (
            f"{len(crops)} crops of {crops.num_identities} individuals; "
            f"left out: {crops.rare} individuals with too few; "
            f"odd: {counted(odd_counts(crops.sequences))}",
        )
        self._cutter = _Cutter(crops, cache_bytes=config.cache_mb << 20)

    @classmethod
    def open(
        cls,
        config: ReIDDataConfig,
        data_root: str | Path,
        *,
        crop_size: tuple[int, int],
    ) -> CropBatches:
        """Open the training crops of a configuration.

        Args:
            config: the crops, and how batches of them are drawn.
            data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.
            crop_size: height and width of a prepared crop, the model's.

        Raises:
            DataError: if something is missing or malformed.
        """
        skipped = SkipLedger()
        return cls(
            crops=read_crops(config, data_root, skipped=skipped),
            config=config,
            crop_size=crop_size,
            skipped=skipped,
        )

    def facts(self) -> dict[str, dict[str, int | str]]:
        """Sequences, individuals and crops, and a hash of where these are cut."""
        return {self.config.benchmark: self.crops.facts()}

    def sample(self, *, seed: int, epoch: int, index: int) -> CropBatch:
        """The batch of crop ``index``, whatever its place in the order.

        Raises:
            DataError: if the image of one of its crops cannot be used.
        """
        config, rng = self.config, sample_random(seed, epoch, index)
        drawn = self._draw(index, rng)
        images = [
            prepare_crop(
                self._cutter.crop(crop),
                size=self.crop_size,
                flipped=rng.random() < config.flip_probability,
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
        per_identity = self.config.crops_per_identity
        drawn: list[int] = []
        for label in (own, *rng.sample(others, self.config.identities_per_batch - 1)):
            # With replacement however many there are, as in the reference.
            drawn += rng.choices(range(*self.crops.span(label)), k=per_identity)
        return drawn


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
    size: tuple[int, int],
    sequence: int | None = None,
    batch_size: int = 32,
    on_bad_sample: OnBadSample = "error",
    skipped: SkipLedger | None = None,
    threads: int = 2,
) -> Iterator[CropBatch]:
    """All crops once, frame by frame, none mirrored; the last batch may be smaller.

    Args:
        crops: which.
        size: height and width of a prepared crop.
        sequence: number of the sequence whose crops alone come; None for all.
        batch_size: crops a batch.
        on_bad_sample: ``skip`` leaves out the crops of an image that cannot be used.
        skipped: told what was left out.
        threads: threads that read frames ahead; 0 reads on demand.

    Raises:
        DataError: if an image cannot be used, unless bad ones are skipped.
    """
    frames = {
        place: inside for place, inside in crops.by_frame().items() if sequence in (None, place[0])
    }

    def load(place: tuple[int, int]) -> list[tuple[int, Tensor]]:
        cut = _cut(crops, place, frames[place])
        return [(crop, prepare_crop(file.decode(), size=size, flipped=False)) for crop, file in cut]

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


class _File(NamedTuple):
    """An image file in memory, and its name for errors."""

    content: bytearray
    name: str

    def decode(self) -> Tensor:
        """uint8 ``(3, height, width)`` pixels."""
        return decode_image(self.content, read_header(self.content, self.name), self.name)


class _Cutter:
    """Keeps crops as image files in memory, the least recently used dropped first.

    Decoding a whole frame for one crop is what costs: the first use of a frame cuts all its crops.
    """

    def __init__(self, crops: Crops, *, cache_bytes: int) -> None:
        self._crops = crops
        self._cache_bytes = cache_bytes
        self._frames = crops.by_frame()
        self._held: OrderedDict[int, _File] = OrderedDict()
        self._held_bytes = 0

    def crop(self, crop: int) -> Tensor:
        """uint8 ``(3, height, width)`` pixels of a crop."""
        if crop in self._held:
            self._held.move_to_end(crop)
            return self._held[crop].decode()
        crops = self._crops
        place = (int(crops.sequence[crop]), int(crops.frame_numbers[crop]))
        # Without a cache the other crops of the frame would be cut for nothing.
        files = dict(_cut(crops, place, self._frames[place] if self._cache_bytes else [crop]))
        for number, file in files.items():
            self._hold(number, file)
        return files[crop].decode()

    def _hold(self, crop: int, file: _File) -> None:
        if crop in self._held or len(file.content) > self._cache_bytes:
            return
        self._held[crop] = file
        self._held_bytes += len(file.content)
        while self._held_bytes > self._cache_bytes:
            self._held_bytes -= len(self._held.popitem(last=False)[1].content)


def _cut(crops: Crops, place: tuple[int, int], numbers: Sequence[int]) -> list[tuple[int, _File]]:
    """Some crops of one image as files, each with its number."""
    position, frame_number = place
    sequence = crops.sequences[position]
    path = sequence.path(frame_number)
    if crops.edges_xyxy is None:  # a file of its own, whose pixels are the crop
        return [(number, _File(read_bytes(path), path)) for number in numbers]
    image = load_image(path)
    height, width = image.shape[-2:]
    require_size(path, (height, width), sequence.size, source=sequence.size_source)
    files = []
    for number in numbers:
        x1, y1, x2, y2 = crops.edges_xyxy[number].tolist()
        cut = image[:, y1 : y2 + 1, x1 : x2 + 1].contiguous()
        encoded = torch.ops.image.encode_jpeg(cut, _JPEG_QUALITY)
        files.append((number, _File(bytearray(encoded.numpy()), path)))
    return files


def _pairs(crops: Crops, pairs: Sequence[tuple[int, Tensor]]) -> CropBatch:
    return _batch(crops, [crop for crop, _ in pairs], [image for _, image in pairs])


def _batch(crops: Crops, numbers: Sequence[int], images: Sequence[Tensor]) -> CropBatch:
    return CropBatch(
        images=torch.stack(list(images)),
        labels=torch.from_numpy(crops.labels[list(numbers)]),
        sample_ids=tuple(crops.sample_id(number) for number in numbers),
    )
