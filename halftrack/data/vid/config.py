"""What a recipe says about its data: one frozen value that opens training clips and test videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from halftrack.data.index import Classes, VideoIndex
from halftrack.data.problems import OnBadSample
from halftrack.data.progress import Progress
from halftrack.data.vid.clips import ClipSettings, TrainingClips
from halftrack.data.vid.coco_vid import read_coco_vid
from halftrack.data.vid.imagenet_vid import (
    IMAGENET_VID_CLASSES,
    KeyFrames,
    find_ilsvrc,
    read_imagenet_det,
    read_imagenet_vid,
)
from halftrack.data.vid.videos import TestVideos

__all__ = ["VidDataConfig"]


@dataclass(frozen=True, kw_only=True)
class VidDataConfig:
    """ImageNet VID (and DET) for video detection; the defaults are SELSA's published recipe."""

    classes: Classes = IMAGENET_VID_CLASSES
    """The classes in label order, each as (name, wnid)."""
    training_sets: tuple[Literal["vid", "det"], ...] = ("vid", "det")
    """What is trained on: videos, and the stills of DET."""
    key_frames: KeyFrames = "listed"
    """``listed``: those of ``VID_train_15frames.txt``; ``all``: every frame of the snippets."""
    training_json: tuple[str, ...] = ()
    """CocoVID files below ILSVRC to read instead of the training XML, one for each training set."""
    test_json: str = ""
    """A CocoVID file below ILSVRC to read instead of the validation XML."""
    image_scale: tuple[int, int] = (1000, 600)
    """Greatest long and short side at network size, in pixels."""
    num_references: int = 2
    """Reference frames of a training clip, half from each side of the key frame."""
    frame_range: int = 9
    """How far a training reference may be from its key frame, in frames."""
    test_references: int = 14
    """Reference frames of a test video, spread over all of it."""
    flip_probability: float = 0.5
    """Chance that a training clip is mirrored."""
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    """In training, ``image_scale`` is multiplied by a number from this range."""
    min_size: int = 32
    """Images with a smaller side are not trained on."""
    on_bad_sample: OnBadSample = "error"
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it."""

    def __post_init__(self) -> None:
        if self.on_bad_sample not in ("error", "skip"):
            raise ValueError(f"on_bad_sample={self.on_bad_sample!r}: expected 'error' or 'skip'")
        if not 0 < self.scale_jitter[0] <= self.scale_jitter[1]:
            raise ValueError(f"scale_jitter={self.scale_jitter!r}: expected 0 < low <= high")
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(f"flip_probability={self.flip_probability!r}: expected 0 to 1")
        if self.num_references < 2 or self.num_references % 2:
            raise ValueError(
                f"num_references={self.num_references!r}: expected an even number, half from each "
                "side of the key frame"
            )
        if self.frame_range < self.num_references // 2 or self.test_references < 2:
            raise ValueError(
                f"frame_range={self.frame_range!r}, test_references={self.test_references!r}: "
                "expected at least num_references / 2 and 2"
            )
        if not set(self.training_sets) <= {"vid", "det"}:
            raise ValueError(f"training_sets={self.training_sets!r}: expected 'vid' and 'det'")
        if self.training_json and len(self.training_json) != len(self.training_sets):
            raise ValueError(
                f"training_json={self.training_json!r}: one file for each of "
                f"training_sets={self.training_sets!r}, or none"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order."""
        return tuple(name for name, _ in self.classes)

    def training_indexes(
        self, data_root: str | Path, *, processes: int = 0, progress: Progress | None = None
    ) -> tuple[VideoIndex, ...]:
        """The records of each training set, from the cache where that still holds.

        Raises:
            DataError: if the tree or a list is missing or malformed.
        """
        if self.training_json:
            pairs = zip(self.training_sets, self.training_json, strict=True)
            return tuple(self._from_json(data_root, file, name) for name, file in pairs)
        indexes = []
        for name in self.training_sets:
            if name == "vid":
                index = read_imagenet_vid(
                    data_root,
                    "train",
                    classes=self.classes,
                    key_frames=self.key_frames,
                    processes=processes,
                    progress=progress,
                )
            else:
                index = read_imagenet_det(
                    data_root, classes=self.classes, processes=processes, progress=progress
                )
            indexes.append(index)
        return tuple(indexes)

    def test_index(
        self, data_root: str | Path, *, processes: int = 0, progress: Progress | None = None
    ) -> VideoIndex:
        """The records of the validation set, from the cache where that still holds.

        Raises:
            DataError: if the tree or the list is missing or malformed.
        """
        if self.test_json:
            return self._from_json(data_root, self.test_json, "vid")
        return read_imagenet_vid(
            data_root, "val", classes=self.classes, processes=processes, progress=progress
        )

    def training_clips(
        self,
        data_root: str | Path,
        *,
        rank: int = 0,
        world_size: int = 1,
        processes: int = 0,
        progress: Progress | None = None,
    ) -> TrainingClips:
        """Open the training clips.

        Args:
            data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
            rank: which share of every epoch.
            world_size: number of shares.
            processes: how many processes parse annotations, where no cache holds them.
            progress: told (videos read, videos in all) while they are parsed.

        Raises:
            DataError: if something is missing or bad, see ``on_bad_sample``.
        """
        return TrainingClips(
            indexes=self.training_indexes(data_root, processes=processes, progress=progress),
            settings=ClipSettings(
                image_scale=self.image_scale,
                num_references=self.num_references,
                frame_range=self.frame_range,
                flip_probability=self.flip_probability,
                scale_jitter=self.scale_jitter,
                min_size=self.min_size,
            ),
            on_bad_sample=self.on_bad_sample,
            rank=rank,
            world_size=world_size,
        )

    def test_videos(
        self,
        data_root: str | Path,
        *,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
        processes: int = 0,
        progress: Progress | None = None,
    ) -> TestVideos:
        """Open the validation videos; arguments as for ``training_clips``.

        Args:
            data_root: the folder that contains ``ILSVRC``, or ``ILSVRC`` itself.
            rank: which share of the videos.
            world_size: number of shares.
            threads: threads that read frames ahead; 0 reads on demand.
            processes: how many processes parse annotations.
            progress: told (videos read, videos in all).

        Raises:
            DataError: if something is missing or bad, see ``on_bad_sample``.
        """
        return TestVideos(
            index=self.test_index(data_root, processes=processes, progress=progress),
            image_scale=self.image_scale,
            num_references=self.test_references,
            on_bad_sample=self.on_bad_sample,
            rank=rank,
            world_size=world_size,
            threads=threads,
        )

    def _from_json(self, data_root: str | Path, file: str, name: str) -> VideoIndex:
        ilsvrc = find_ilsvrc(data_root, holding=("Data",))
        images = ilsvrc / "Data" / name.upper()
        return read_coco_vid(ilsvrc / file, image_root=images, classes=self.classes)
