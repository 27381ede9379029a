"""Training samples of video detection: a key frame and its references, in a fixed order.

What a clip holds is a function of (seed, epoch, sample index): never of worker, rank or history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from halftrack.data.images import prepare_frame
from halftrack.data.index import Integers, VideoIndex
from halftrack.data.ordered_batches import OrderedBatches
from halftrack.data.problems import DataError, OnBadSample, SkipLedger, settle_problems
from halftrack.data.randomness import sample_random
from halftrack.data.vid.references import bilateral_uniform
from halftrack.frames import Clip, Frame

__all__ = ["ClipSettings", "TrainingClips", "load_clip"]


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """How a training clip is drawn and prepared."""

    image_scale: tuple[int, int] = (1000, 600)
    """Greatest long and short side at network size, in pixels."""
    num_references: int = 2
    """Reference frames of a clip, half from each side of the key frame."""
    frame_range: int = 9
    """How far a reference may be from its key frame, in frames."""
    flip_probability: float = 0.5
    """Chance that all frames of a clip are mirrored."""
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    """``image_scale`` is multiplied by a number drawn from this range, one for a whole clip."""
    min_size: int = 32
    """Images with a smaller side are not trained on."""


class TrainingClips(OrderedBatches[Clip, Clip]):
    """The clips of one or more data sets, one a batch."""

    def __init__(
        self,
        *,
        indexes: Sequence[VideoIndex],
        settings: ClipSettings,
        on_bad_sample: OnBadSample = "error",
        rank: int = 0,
        world_size: int = 1,
        skipped: SkipLedger | None = None,
    ) -> None:
        self.indexes = tuple(indexes)
        """The data sets, in the order in which samples are counted."""
        self.settings = settings
        """How clips are drawn and prepared."""
        skipped = SkipLedger() if skipped is None else skipped
        for index in self.indexes:
            settle_problems(index.problems, on_bad_sample, skipped)
        keys = [index.training_keys(min_size=settings.min_size) for index in self.indexes]
        self._source = np.repeat(np.arange(len(keys)), [len(k) for k in keys])
        self._frame: Integers = np.concatenate([np.empty(0, dtype=np.int64), *keys])
        if len(self._frame) == 0:
            roots = ", ".join(index.image_root for index in self.indexes) or "no data set"
            reason = "no key frame with a box of the classes asked for"
            raise DataError(roots, f"{reason} and sides of at least {settings.min_size} px")
        super().__init__(
            num_samples=len(self._frame),
            samples_per_batch=1,
            on_bad_sample=on_bad_sample,
            rank=rank,
            world_size=world_size,
            skipped=skipped,
        )
        self.notes = tuple(
            f"{index.num_frames} frames in {index.image_root}; left out: {index.unknown_objects} "
            f"objects of other classes, {index.degenerate_boxes} boxes under one pixel"
            for index in self.indexes
        )

    def sample(self, *, seed: int, epoch: int, index: int) -> Clip:
        """The clip of sample ``index``, whatever its place in the order.

        Raises:
            DataError: if one of its files cannot be used.
        """
        source, key = self.indexes[self._source[index]], int(self._frame[index])
        video_start, video_stop = source.span(source.video_of(key))
        settings, rng = self.settings, sample_random(seed, epoch, index)
        references = bilateral_uniform(
            key - video_start,
            video_stop - video_start,
            num_references=settings.num_references,
            frame_range=settings.frame_range,
            rng=rng,
        )
        flipped = rng.random() < settings.flip_probability
        factor = rng.uniform(*settings.scale_jitter)
        long_side, short_side = settings.image_scale
        return load_clip(
            source,
            key=key,
            references=[video_start + reference for reference in references],
            flipped=flipped,
            image_scale=(round(long_side * factor), round(short_side * factor)),
        )

    def collate(self, samples: Sequence[Clip]) -> Clip:
        """A sample is a whole clip already."""
        (clip,) = samples
        return clip


def load_clip(
    index: VideoIndex,
    *,
    key: int,
    references: Sequence[int],
    flipped: bool,
    image_scale: tuple[int, int],
) -> Clip:
    """Prepare one clip, all choices made; an image that is asked for twice is read once.

    Args:
        index: the data set.
        key: the key frame, counted over the whole index.
        references: the reference frames, likewise.
        flipped: mirror all frames left to right.
        image_scale: greatest long and short side at network size.

    Raises:
        DataError: if an image cannot be used.
    """
    frames: dict[int, Frame] = {}
    for number in (key, *references):
        if number in frames:
            continue
        boxes = index.boxes_of(number)
        learned = ~index.ignored[boxes]
        frames[number] = prepare_frame(
            index.path(number),
            sample_id=index.sample_id(number),
            frame_index=number - index.span(index.video_of(number))[0],
            image_scale=image_scale,
            flipped=flipped,
            boxes_xyxy=torch.from_numpy(index.boxes_xyxy[boxes][learned]),
            labels=torch.from_numpy(index.labels[boxes][learned]),
        )
    return Clip(key=frames[key], references=tuple(frames[number] for number in references))
