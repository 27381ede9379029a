"""Training samples of a detector on MOTChallenge: single frames, distorted, cropped and mirrored.

Must agree with mmdet 2.28's pipeline of configs/det/faster-rcnn_r50_fpn_4e_mot17-half.py. What
happens to a frame is a function of (seed, epoch, sample index): never of worker, rank or history.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from halftrack.data.annotated_image import load_annotated_image
from halftrack.data.images import network_size
from halftrack.data.index_cache import contents_hash
from halftrack.data.mot.config import MotDetectionConfig
from halftrack.data.mot.mot_challenge import read_usable_mot
from halftrack.data.mot.photometric import Distortion, distort, draw_distortion
from halftrack.data.mot.records import LeftOutRows, MotRows, MotSequence, learned_rows, odd_counts
from halftrack.data.ordered_batches import OrderedBatches, sample_random
from halftrack.data.problems import DataError, SkipLedger, counted
from halftrack.frames import Frame, FrameBatch

__all__ = ["FrameBatches", "FrameDecisions", "draw_decisions", "load_frame"]


@dataclass(frozen=True, kw_only=True)
class FrameDecisions:
    """Augmentation of one training frame, in this order."""

    image_scale: tuple[int, int]
    """Greatest long and short side that the frame is resized to, keeping its ratio."""
    distortion: Distortion | None
    """Distortion of the frame's colours; None for none."""
    crop_yx: tuple[int, int]
    """Top left corner of the crop in the resized frame."""
    flipped: bool
    """Mirrored left to right."""


class FrameBatches(OrderedBatches[Frame, FrameBatch]):
    """Frames of one or more sequences that hold a box to learn from, so many a batch."""

    def __init__(
        self,
        *,
        sequences: Sequence[MotSequence],
        config: MotDetectionConfig,
        skipped: SkipLedger | None = None,
    ) -> None:
        self.sequences = tuple(each for each in sequences if min(each.size) >= config.min_size)
        """The sequences, in the order in which samples are counted."""
        self.config = config
        """The sizes, ranges and chances that frames are drawn with."""
        self._rows: list[MotRows] = []
        self.left_out = LeftOutRows()
        """Rows of the ground truth that are not learned from."""
        for sequence in self.sequences:
            rows, left_out = learned_rows(sequence, flag_zero=config.train_flag_zero)
            self._rows.append(rows)
            self.left_out += left_out
        numbers = [np.unique(rows.frame_numbers) for rows in self._rows]
        self._sequence = np.repeat(np.arange(len(numbers)), [len(each) for each in numbers])
        self._frame_number = np.concatenate([np.empty(0, dtype=np.int64), *numbers])
        if len(self._frame_number) == 0:
            folders = ", ".join(str(sequence.folder) for sequence in sequences) or "no sequence"
            reason = f"no frame with a {' or '.join(config.classes)} to learn from"
            raise DataError(folders, f"{reason} and sides of at least {config.min_size} px")
        super().__init__(
            num_samples=len(self._frame_number),
            samples_per_batch=config.images_per_batch,
            on_bad_sample=config.on_bad_sample,
            skipped=skipped,
        )
        small = len(sequences) - len(self.sequences)
        self.notes = (
            f"{self.num_samples} frames of {len(self.sequences)} sequences; "
            f"left out: {self.left_out}, {small} sequences with sides under {config.min_size} px; "
            f"odd: {counted(odd_counts(self.sequences))}",
        )

    @classmethod
    def open(
        cls,
        config: MotDetectionConfig,
        data_root: str | Path,
    ) -> FrameBatches:
        """Open the training frames of a configuration.

        Args:
            config: the split, and how frames are drawn.
            data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.

        Raises:
            DataError: if something is missing or malformed.
        """
        skipped = SkipLedger()
        sequences = read_usable_mot(
            data_root,
            config.training_split,
            benchmark=config.benchmark,
            detectors=config.detectors,
            classes=config.classes,
            on_bad_sample=config.on_bad_sample,
            skipped=skipped,
            json=config.training_json,
            truth=True,
        )
        return cls(sequences=sequences, config=config, skipped=skipped)

    def facts(self) -> dict[str, dict[str, int | str]]:
        """Sequences, frames and boxes that are learned from, and a hash of the ground truth."""
        arrays = [getattr(rows, each.name) for rows in self._rows for each in fields(rows)]
        told = [each.facts() for each in self.sequences]
        return {
            f"{self.config.benchmark} {self.config.training_split}": {
                "sequences": len(self.sequences),
                "frames": self.num_samples,
                "boxes": sum(len(rows) for rows in self._rows),
                "ground truth": contents_hash(arrays, text=told),
            }
        }

    def sample(self, *, seed: int, epoch: int, index: int) -> Frame:
        """The frame of sample ``index``, whatever its place in the order.

        Raises:
            DataError: if its image cannot be used.
        """
        number = int(self._sequence[index])
        sequence = self.sequences[number]
        rng = sample_random(seed, epoch, index)
        return load_frame(
            sequence,
            int(self._frame_number[index]),
            rows=self._rows[number],
            decisions=draw_decisions(self.config, sequence.size, rng),
            crop_size=self.config.crop_size,
        )

    def collate(self, samples: Sequence[Frame]) -> FrameBatch:
        """The frames as one batch."""
        return FrameBatch(frames=tuple(samples))


def draw_decisions(
    config: MotDetectionConfig, size: tuple[int, int], rng: random.Random
) -> FrameDecisions:
    """Draw what is done to a frame.

    Args:
        config: what may be done.
        size: height and width of the frame.
        rng: source of chance.
    """
    factor = rng.uniform(*config.ratio_range)
    first, second = config.image_scale
    image_scale = (int(first * factor), int(second * factor))
    distortion = draw_distortion(config, rng) if config.photometric else None
    resized = network_size(*size, image_scale)
    top, left = (
        rng.randint(0, max(0, side - crop))
        for side, crop in zip(resized, config.crop_size, strict=True)
    )
    return FrameDecisions(
        image_scale=image_scale,
        distortion=distortion,
        crop_yx=(top, left),
        flipped=rng.random() < config.flip_probability,
    )


def load_frame(
    sequence: MotSequence,
    frame_number: int,
    *,
    rows: MotRows,
    decisions: FrameDecisions,
    crop_size: tuple[int, int],
) -> Frame:
    """Prepare one training frame, all choices made.

    Boxes are not clipped, and those that the crop leaves outside stay, as in the reference.

    Args:
        sequence: where the frame lies.
        frame_number: which frame, 1-based.
        rows: ground truth to learn from, of any frames.
        decisions: what is done to it.
        crop_size: height and width of the crop.

    Raises:
        DataError: if the image cannot be used.
    """
    path = sequence.path(frame_number)
    image = load_annotated_image(path, sequence.size, source=sequence.size_source)
    rows = rows.in_frame(frame_number)
    boxes = torch.from_numpy(rows.boxes_xyxy.astype(np.float32))
    prepared, boxes, scale_xy = _transform(image, boxes, decisions, crop_size)
    return Frame(
        image=prepared,
        sample_id=sequence.sample_id(frame_number),
        frame_index=frame_number - sequence.frame_numbers.start,
        scale_xy=scale_xy,
        flipped=decisions.flipped,
        boxes_xyxy=boxes,
        labels=torch.from_numpy(sequence.labels(rows)),
    )


def _transform(
    image: Tensor, boxes_xyxy: Tensor, decisions: FrameDecisions, crop_size: tuple[int, int]
) -> tuple[Tensor, Tensor, tuple[float, float]]:
    """Image, boxes, and network pixels per original pixel, horizontally and vertically."""
    old_height, old_width = image.shape[-2:]
    height, width = network_size(old_height, old_width, decisions.image_scale)
    # antialias off is OpenCV's INTER_LINEAR; in float, as the reference loads to float.
    pixels = F.interpolate(image.float()[None], size=(height, width), mode="bilinear")[0]
    (top, left), (crop_height, crop_width) = decisions.crop_yx, crop_size
    # Colours change pixel by pixel: cropping first gives the same values for less work.
    pixels = pixels[:, top : top + crop_height, left : left + crop_width].contiguous()
    if decisions.distortion is not None:
        pixels = distort(pixels, decisions.distortion)
    scale_xy = (width / old_width, height / old_height)
    boxes_xyxy = boxes_xyxy * torch.tensor(scale_xy * 2, dtype=torch.float32, device="cpu")
    boxes_xyxy -= torch.tensor((left, top) * 2, dtype=torch.float32, device="cpu")
    if decisions.flipped:
        pixels = pixels.flip(-1)
        x1, y1, x2, y2 = boxes_xyxy.unbind(-1)
        boxes_xyxy = torch.stack([pixels.shape[-1] - x2, y1, pixels.shape[-1] - x1, y2], dim=-1)
    return pixels, boxes_xyxy, scale_xy
