"""Training samples of video detection: a key frame and its references, in a fixed order.

What a clip holds is a function of (seed, epoch, sample index): never of worker, rank or history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from halftrack.data.images import prepare_frame
from halftrack.data.index import Integers, VideoIndex, settle_problems
from halftrack.data.problems import DataError, OnBadSample, Problem, SkipLedger
from halftrack.data.reference_sampling import bilateral_uniform, epoch_order, sample_random
from halftrack.data.workers import SampleWorkers
from halftrack.frames import Clip, Frame

__all__ = ["ClipSettings", "TrainingClips", "load_clip"]

# So many bad samples in a row are not an accident; the last one's reason is raised.
_MAX_SUBSTITUTES = 50


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


@dataclass(frozen=True)
class _Prepared:
    """What a worker hands back: a clip, or the reason that ends the run, and what was skipped."""

    clip: Clip | None
    error: Problem | None
    skipped: tuple[Problem, ...]

    def pin_memory(self) -> _Prepared:
        clip = None if self.clip is None else self.clip.pin_memory()
        return _Prepared(clip, self.error, self.skipped)


class TrainingClips:
    """The clips of one or more data sets, in an order that depends on (seed, epoch) alone.

    With several ranks, rank ``r`` takes positions ``r, r + world_size, ...`` of the common order,
    which wraps around so that all ranks have equally many.
    """

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
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank!r}, world_size={world_size!r}: 0 <= rank < world_size")
        self.indexes = tuple(indexes)
        """The data sets, in the order in which samples are counted."""
        self.settings = settings
        """How clips are drawn and prepared."""
        self.on_bad_sample: OnBadSample = on_bad_sample
        """``error``, or ``skip``: another sample takes the place of a bad one."""
        self.rank, self.world_size = rank, world_size
        self.skipped = SkipLedger() if skipped is None else skipped
        """What was left out so far."""
        self.notes: tuple[str, ...] = tuple(
            f"{index.num_frames} frames in {index.image_root}; left out: {index.unknown_objects} "
            f"objects of other classes, {index.degenerate_boxes} boxes under one pixel"
            for index in self.indexes
        )
        """What of the data is trained on and what is not, as lines of text."""
        for index in self.indexes:
            settle_problems(index, on_bad_sample, self.skipped)
        keys = [index.training_keys(min_size=settings.min_size) for index in self.indexes]
        self._source = np.repeat(np.arange(len(keys)), [len(k) for k in keys])
        self._frame: Integers = np.concatenate([np.empty(0, dtype=np.int64), *keys])
        if len(self._frame) == 0:
            roots = ", ".join(index.image_root for index in self.indexes) or "no data set"
            reason = "no key frame with a box of the classes asked for"
            raise DataError(roots, f"{reason} and sides of at least {settings.min_size} px")
        self._workers: SampleWorkers[tuple[int, int, int], _Prepared] = SampleWorkers(self._prepare)

    @property
    def num_samples(self) -> int:
        """Key frames of all ranks together."""
        return len(self._frame)

    def __len__(self) -> int:
        """Clips in an epoch of this rank."""
        return (self.num_samples + self.world_size - 1) // self.world_size

    def batches(
        self,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        stop: int | None = None,
        workers: int = 0,
        pin: bool = False,
    ) -> Iterator[Clip]:
        """Clips ``start`` to ``stop`` of an epoch's order, which wraps around past its end.

        Args:
            seed: of the run.
            epoch: 0-based.
            start: clips of this epoch that were consumed already.
            stop: one past the last clip; the epoch's length if None.
            workers: processes that prepare clips; the clips are the same for any number.
            pin: put images into page-locked memory.

        Raises:
            DataError: at a file that cannot be used, unless bad samples are skipped.
        """
        order = epoch_order(seed, epoch, self.num_samples)
        positions = range(start, len(self) if stop is None else stop)
        indices = [
            int(order[(position * self.world_size + self.rank) % len(order)])
            for position in positions
        ]
        keys = [(seed, epoch, index) for index in indices]
        # Closed at once, so that after an error the workers are free for the next pass.
        with closing(self._workers.map(keys, workers=workers, pin=pin)) as prepared_clips:
            for prepared in prepared_clips:
                for problem in prepared.skipped:
                    self.skipped.add(problem)
                if prepared.clip is None:
                    assert prepared.error is not None
                    raise DataError(prepared.error.file, prepared.error.reason)
                yield prepared.clip

    def clip(self, *, seed: int, epoch: int, index: int) -> Clip:
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

    def close(self) -> None:
        """End the worker processes, if there are any."""
        self._workers.close()

    def _prepare(self, key: tuple[int, int, int]) -> _Prepared:
        seed, epoch, index = key
        skipped: list[Problem] = []
        substitute = sample_random(seed, epoch, index)
        while True:
            try:
                clip = self.clip(seed=seed, epoch=epoch, index=index)
            except DataError as error:
                problem = Problem(error.file, error.reason)
                if self.on_bad_sample == "error" or len(skipped) == _MAX_SUBSTITUTES:
                    return _Prepared(None, problem, tuple(skipped))
                skipped.append(problem)
                index = substitute.randrange(self.num_samples)
            else:
                return _Prepared(clip, None, tuple(skipped))


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
