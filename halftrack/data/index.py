"""Index of a data set, as flat arrays: a million frames fit in memory.

Workers share them. Boxes are xyxy in original pixels without +1, as the reference reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from halftrack.data.problems import Problem

__all__ = [
    "MIN_BOX_SIDE",
    "Booleans",
    "Classes",
    "Floats",
    "Integers",
    "VideoIndex",
    "array_fields",
]

Classes = tuple[tuple[str, str], ...]
"""The classes in label order, each as (name, wnid)."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

MIN_BOX_SIDE = 1.0
"""Boxes narrower or lower than this many pixels are left out, as in MMTracking."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex:
    """All frames and boxes of one data set; stills are videos of one frame.

    Frames of video ``v`` are ``video_starts[v]:video_starts[v + 1]``; boxes of frame ``f`` are
    ``box_starts[f]:box_starts[f + 1]``.
    """

    image_root: str
    """Folder that ``frame_files`` are relative to."""
    classes: Classes
    """Classes in the order of the labels."""
    video_names: tuple[str, ...]
    """Path of each video below ``image_root``."""
    video_starts: Integers
    """``(videos + 1,)`` first frame of each video."""
    frame_files: npt.NDArray[np.bytes_]
    """``(frames,)`` UTF-8 path of each image below ``image_root``."""
    frame_sizes: Integers
    """``(frames, 2)`` height and width as annotated."""
    is_key: Booleans
    """``(frames,)`` True where the training lists name the frame."""
    box_starts: Integers
    """``(frames + 1,)`` first box of each frame."""
    boxes_xyxy: Floats
    """``(boxes, 4)`` in original pixels."""
    labels: Integers
    """``(boxes,)`` 0-based class."""
    track_ids: Integers
    """``(boxes,)`` identity within the video, numbered by first appearance; -1 in stills."""
    occluded: Booleans
    """``(boxes,)`` annotators' flag."""
    generated: Booleans
    """``(boxes,)`` True for boxes interpolated by the annotation tool."""
    ignored: Booleans
    """``(boxes,)`` crowd regions: neither trained on nor scored."""
    problems: tuple[Problem, ...] = ()
    """Files and boxes that could not be used and are not in the arrays."""
    unknown_objects: int = 0
    """Objects left out because their class is not in ``classes``."""
    degenerate_boxes: int = 0
    """Boxes left out because a side is under one pixel, as in MMTracking."""
    vanishing_boxes: int = 0
    """Boxes left out because nothing of them is left when they are clipped to their image."""
    flagged_objects: int = 0
    """Objects left out because their annotation says ``ignore``."""
    overhanging_boxes: int = 0
    """Boxes that reach outside their image; they are clipped when the image is resized."""
    odd: Mapping[str, int] = field(default_factory=dict)
    """Counts of what looks odd and is used all the same, by kind."""

    @property
    def left_out(self) -> dict[str, int]:
        """Counts of what is not used, by kind."""
        return {
            "objects of other classes": self.unknown_objects,
            "boxes under one pixel": self.degenerate_boxes,
            "boxes of which nothing is inside their image": self.vanishing_boxes,
            "objects to be ignored": self.flagged_objects,
        }

    def relabelled(self, classes: Classes) -> VideoIndex:
        """The same with its classes in another order, or among others."""
        places = {each: place for place, each in enumerate(classes)}
        labels = np.array([places[each] for each in self.classes], dtype=np.int64)[self.labels]
        return replace(self, classes=classes, labels=labels)

    @property
    def num_videos(self) -> int:
        """Number of videos (or stills)."""
        return len(self.video_names)

    @property
    def num_frames(self) -> int:
        """Number of frames of all videos."""
        return len(self.frame_files)

    def video_of(self, frame: int) -> int:
        """The video that frame number ``frame`` of the whole index belongs to."""
        return int(np.searchsorted(self.video_starts, frame, side="right")) - 1

    def span(self, video: int) -> tuple[int, int]:
        """First frame of a video and the one after its last, counted over the whole index."""
        return int(self.video_starts[video]), int(self.video_starts[video + 1])

    def boxes_of(self, frame: int) -> slice:
        """Slice of the box arrays that holds a frame's boxes."""
        return slice(int(self.box_starts[frame]), int(self.box_starts[frame + 1]))

    def path(self, frame: int) -> str:
        """Path of a frame's image."""
        return f"{self.image_root}/{self.frame_files[frame].decode()}"

    def sample_id(self, frame: int) -> str:
        """The frame's name in logs and errors: its path, without the ending."""
        return str(Path(self.frame_files[frame].decode()).with_suffix(""))

    def training_keys(self, *, min_size: int) -> Integers:
        """Key frames that hold a box to learn from and whose sides are at least ``min_size``."""
        boxes_before = np.concatenate([[0], np.cumsum(~self.ignored)])
        has_box = np.diff(boxes_before[self.box_starts]) > 0
        large_enough = self.frame_sizes.min(axis=1, initial=np.iinfo(np.int64).max) >= min_size
        return np.flatnonzero(self.is_key & has_box & large_enough)


def array_fields(index: VideoIndex) -> dict[str, npt.NDArray[np.generic]]:
    """The index's arrays by field name."""
    values = {f.name: getattr(index, f.name) for f in fields(index)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
