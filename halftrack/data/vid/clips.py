"""Training samples of video detection: a key frame and its references, in a fixed order.

What a clip holds is a function of (seed, epoch, sample index): never of worker, rank or history.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from halftrack.data.index import Integers, VideoIndex, array_fields
from halftrack.data.index_cache import contents_hash
from halftrack.data.ordered_batches import OrderedBatches, sample_random
from halftrack.data.problems import DataError, Problem, SkipLedger, counted, settle_problems
from halftrack.data.progress import Progress
from halftrack.data.vid.config import ResizeOn, VidDataConfig
from halftrack.data.vid.frames import bilateral_uniform, load_frame
from halftrack.data.vid.indexes import read_training_indexes
from halftrack.frames import Clip, Frame

__all__ = ["TrainingClips", "load_clip", "nothing_to_learn"]


class TrainingClips(OrderedBatches[Clip, Clip]):
    """The clips of one or more data sets, one a batch."""

    def __init__(
        self,
        *,
        indexes: Sequence[VideoIndex],
        config: VidDataConfig,
        skipped: SkipLedger | None = None,
    ) -> None:
        self.indexes = tuple(indexes)
        """The data sets, in the order in which samples are counted."""
        self.config = config
        """The references, sizes and chances that clips are drawn with."""
        skipped = SkipLedger() if skipped is None else skipped
        for index in self.indexes:
            settle_problems(index.problems, config.on_bad_sample, skipped)
        keys = [index.training_keys(min_size=config.min_size) for index in self.indexes]
        self._source = np.repeat(np.arange(len(keys)), [len(k) for k in keys])
        self._frame: Integers = np.concatenate([np.empty(0, dtype=np.int64), *keys])
        lacking = nothing_to_learn(self.indexes, config)
        if lacking is not None:
            raise DataError(lacking.file, lacking.reason)
        super().__init__(
            num_samples=len(self._frame),
            samples_per_batch=1,
            on_bad_sample=config.on_bad_sample,
            skipped=skipped,
        )
        self.notes = tuple(
            f"{index.num_frames} frames in {index.image_root}; left out: "
            f"{counted(index.left_out)}; odd: {counted(index.odd)}"
            for index in self.indexes
        )

    @classmethod
    def open(
        cls,
        config: VidDataConfig,
        data_root: str | Path,
        *,
        processes: int = 0,
        progress: Progress | None = None,
    ) -> TrainingClips:
        """Open the training clips of a configuration.

        Args:
            config: the sets, and how clips are drawn.
            data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
            processes: number of processes that parse annotations, where no cache holds them.
            progress: told (videos read, videos in all) while they are parsed.

        Raises:
            DataError: if something is missing or bad, see ``on_bad_sample``.
        """
        indexes = read_training_indexes(config, data_root, processes=processes, progress=progress)
        return cls(indexes=indexes, config=config)

    def facts(self) -> dict[str, dict[str, int | str]]:
        """Videos, frames, boxes and key frames of each data set, and a hash of its annotations."""
        facts: dict[str, dict[str, int | str]] = {}
        for number, index in enumerate(self.indexes):
            name = "/".join(Path(index.image_root).parts[-2:])
            told = (index.classes, index.video_names)
            facts[name if name not in facts else f"{name} ({number})"] = {
                "videos": index.num_videos,
                "frames": index.num_frames,
                "boxes": len(index.labels),
                "key frames": int((self._source == number).sum()),
                "annotations": contents_hash(array_fields(index).values(), text=told),
            }
        return facts

    def sample(self, *, seed: int, epoch: int, index: int) -> Clip:
        """The clip of sample ``index``, whatever its place in the order.

        Raises:
            DataError: if one of its files cannot be used.
        """
        source, key = self.indexes[self._source[index]], int(self._frame[index])
        video_start, video_stop = source.span(source.video_of(key))
        config, rng = self.config, sample_random(seed, epoch, index)
        references = bilateral_uniform(
            key - video_start,
            video_stop - video_start,
            num_references=config.num_references,
            frame_range=config.frame_range,
            rng=rng,
        )
        flipped = rng.random() < config.flip_probability
        factor = rng.uniform(*config.scale_jitter)
        long_side, short_side = config.image_scale
        return load_clip(
            source,
            key=key,
            references=[video_start + reference for reference in references],
            flipped=flipped,
            image_scale=(round(long_side * factor), round(short_side * factor)),
            resize_on=config.resize_on,
        )

    def collate(self, samples: Sequence[Clip]) -> Clip:
        """A sample is a whole clip already."""
        (clip,) = samples
        return clip


def nothing_to_learn(indexes: Sequence[VideoIndex], config: VidDataConfig) -> Problem | None:
    """The problem of data sets without any key frame to train on; None if there is one."""
    if any(len(index.training_keys(min_size=config.min_size)) for index in indexes):
        return None
    roots = ", ".join(index.image_root for index in indexes) or "no data set"
    reason = "no key frame with a box of the classes asked for"
    return Problem(roots, f"{reason} and sides of at least {config.min_size} px")


def load_clip(
    index: VideoIndex,
    *,
    key: int,
    references: Sequence[int],
    flipped: bool,
    image_scale: tuple[int, int],
    resize_on: ResizeOn = "cpu",
) -> Clip:
    """Prepare one clip, all choices made; an image that is asked for twice is read once.

    Args:
        index: the data set.
        key: the key frame, counted over the whole index.
        references: the reference frames, likewise.
        flipped: mirror all frames left to right.
        image_scale: greatest long and short side at network size.
        resize_on: where the frames are resized and mirrored.

    Raises:
        DataError: if an image cannot be used.
    """
    frames: dict[int, Frame] = {}
    for number in (key, *references):
        if number in frames:
            continue
        frames[number] = load_frame(
            index,
            number,
            image_scale=image_scale,
            flipped=flipped,
            learned=True,
            resize_on=resize_on,
        )
    return Clip(key=frames[key], references=tuple(frames[number] for number in references))
