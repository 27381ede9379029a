"""Whole videos for testing: spread references, then every frame in order, with its truth."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from halftrack.data.index import VideoIndex, array_fields
from halftrack.data.index_cache import contents_hash
from halftrack.data.prefetch import read_ahead
from halftrack.data.problems import DataError, Problem, SkipLedger, counted, settle_problems
from halftrack.data.progress import Progress
from halftrack.data.vid.config import VidDataConfig
from halftrack.data.vid.frames import adaptive_stride, load_frame
from halftrack.data.vid.indexes import read_test_index
from halftrack.frames import Frame, FrameTruth

__all__ = ["TestVideo", "TestVideos", "nothing_to_score"]


class TestVideo:
    """One video: its reference frames, its frames in order, and its ground truth."""

    __test__ = False  # Not a pytest class, whatever its name.

    def __init__(
        self,
        *,
        index: VideoIndex,
        video: int,
        config: VidDataConfig,
        skipped: SkipLedger | None = None,
        threads: int = 2,
    ) -> None:
        self._index = index
        self._start, stop = index.span(video)
        self._config = config
        self._skipped = SkipLedger() if skipped is None else skipped
        self._threads = threads
        self.name = index.video_names[video]
        """Path of the video below the image root."""
        self.num_frames = stop - self._start
        """Length of the video."""
        self.reference_indices = adaptive_stride(
            self.num_frames, num_references=config.test_references
        )
        """Frames that are the references, duplicates kept."""

    def __len__(self) -> int:
        return self.num_frames

    @cached_property
    def references(self) -> list[Frame]:
        """The reference frames, read when first asked for; a frame named twice is read once.

        Raises:
            DataError: if an image cannot be used, or, where bad ones are skipped, if all are bad.
        """
        frames: dict[int, Frame] = {}
        for frame in self._prefetched(sorted(set(self.reference_indices))):
            frames[frame.frame_index] = frame
        if not frames:
            raise DataError(self.name, "none of the video's reference frames can be used")
        return [frames[number] for number in self.reference_indices if number in frames]

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, read ahead by threads.

        Bad frames, where they are skipped, are missing here: score only the frames that came.

        Raises:
            DataError: if an image cannot be used, unless bad ones are skipped.
        """
        return self._prefetched(range(self.num_frames))

    def truth(self, frame_index: int) -> FrameTruth:
        """The annotated objects of a frame, given by its position in the video."""
        if not 0 <= frame_index < self.num_frames:
            raise IndexError(f"frame {frame_index} of {self.name}, which has {self.num_frames}")
        index = self._index
        boxes = index.boxes_of(self._start + frame_index)
        return FrameTruth(
            video=self.name,
            boxes_xyxy=index.boxes_xyxy[boxes].astype(np.float64),
            labels=index.labels[boxes],
            track_ids=index.track_ids[boxes],
            ignored=index.ignored[boxes],
        )

    def size(self, frame_index: int) -> tuple[int, int]:
        """Original height and width of a frame, as annotated."""
        height, width = self._index.frame_sizes[self._start + frame_index]
        return int(height), int(width)

    def path(self, frame_index: int) -> str:
        """Path of a frame's image."""
        return self._index.path(self._start + frame_index)

    def _load(self, frame_index: int) -> Frame:
        return load_frame(
            self._index,
            self._start + frame_index,
            image_scale=self._config.image_scale,
            resize_on=self._config.resize_on,
        )

    def _prefetched(self, frame_indices: range | list[int]) -> Iterator[Frame]:
        return read_ahead(
            self._load,
            frame_indices,
            threads=self._threads,
            on_bad_sample=self._config.on_bad_sample,
            skipped=self._skipped,
        )


class TestVideos:
    """The videos of a validation set."""

    __test__ = False  # Not a pytest class, whatever its name.

    def __init__(
        self,
        *,
        index: VideoIndex,
        config: VidDataConfig,
        skipped: SkipLedger | None = None,
        threads: int = 2,
    ) -> None:
        self.index = index
        """All records."""
        self.skipped = SkipLedger() if skipped is None else skipped
        """Ledger of what was left out so far."""
        settle_problems(index.problems, config.on_bad_sample, self.skipped)
        lacking = nothing_to_score(index)
        if lacking is not None:
            raise DataError(lacking.file, lacking.reason)
        self._config = config
        self._threads = threads

    @classmethod
    def open(
        cls,
        config: VidDataConfig,
        data_root: str | Path,
        *,
        threads: int = 2,
        processes: int = 0,
        progress: Progress | None = None,
    ) -> TestVideos:
        """Open the validation videos of a configuration.

        Args:
            config: the classes, image size and references.
            data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
            threads: threads that read frames ahead; 0 reads on demand.
            processes: number of processes that parse annotations, where no cache holds them.
            progress: told (videos read, videos in all) while they are parsed.

        Raises:
            DataError: if something is missing or bad, see ``on_bad_sample``.
        """
        return cls(
            index=read_test_index(config, data_root, processes=processes, progress=progress),
            config=config,
            threads=threads,
        )

    def facts(self) -> dict[str, dict[str, int | str]]:
        """Videos, frames and boxes, and a hash of the annotations; a resumed run compares them."""
        index = self.index
        told = (index.classes, index.video_names)
        return {
            "/".join(Path(index.image_root).parts[-2:]): {
                "videos": index.num_videos,
                "frames": index.num_frames,
                "boxes": len(index.labels),
                "annotations": contents_hash(array_fields(index).values(), text=told),
            }
        }

    def __len__(self) -> int:
        return self.index.num_videos

    def __iter__(self) -> Iterator[TestVideo]:
        return (self[position] for position in range(len(self)))

    def __getitem__(self, position: int) -> TestVideo:
        return TestVideo(
            index=self.index,
            video=position,
            config=self._config,
            skipped=self.skipped,
            threads=self._threads,
        )

    @property
    def num_frames(self) -> int:
        """Frames of the videos together."""
        return self.index.num_frames


def nothing_to_score(index: VideoIndex) -> Problem | None:
    """The problem of a validation set that no score can come from; None if there is none."""
    if index.num_videos == 0:
        return Problem(index.image_root, "no video of the validation set was found")
    if index.ignored.all():
        names = [name for name, _ in index.classes]
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        left = counted(index.left_out)
        reason = f"no box of the classes asked for ({shown}) to score with; left out: {left}"
        return Problem(index.image_root, reason)
    return None
