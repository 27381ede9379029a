"""What a data set holds, as flat arrays: a million frames fit in memory.

Workers share them. Boxes are xyxy in original pixels without +1, as the reference reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from halftrack.data.problems import Problem

__all__ = ["Classes", "ParsedVideo", "VideoIndex", "assemble_index"]

Classes = tuple[tuple[str, str], ...]
"""The classes in label order, each as (name, wnid)."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

# MMTracking drops boxes narrower or lower than this many pixels.
MIN_BOX_SIDE = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex:
    """All frames and boxes of one data set; stills are videos of one frame.

    Frames of video ``v`` are ``video_starts[v]:video_starts[v + 1]``; boxes of frame ``f`` are
    ``box_starts[f]:box_starts[f + 1]``.
    """

    image_root: str
    """Folder that ``frame_files`` are relative to."""
    classes: Classes
    """What the labels mean."""
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
    overhanging_boxes: int = 0
    """Boxes that reach outside their image; they are clipped when the image is resized."""

    @property
    def num_videos(self) -> int:
        """How many videos (or stills) there are."""
        return len(self.video_names)

    @property
    def num_frames(self) -> int:
        """How many frames there are in all videos."""
        return len(self.frame_files)

    def video_of(self, frame: int) -> int:
        """The video that frame number ``frame`` of the whole index belongs to."""
        return int(np.searchsorted(self.video_starts, frame, side="right")) - 1

    def span(self, video: int) -> tuple[int, int]:
        """First frame of a video and the one after its last, counted over the whole index."""
        return int(self.video_starts[video]), int(self.video_starts[video + 1])

    def boxes_of(self, frame: int) -> slice:
        """Where a frame's boxes lie in the box arrays."""
        return slice(int(self.box_starts[frame]), int(self.box_starts[frame + 1]))

    def path(self, frame: int) -> str:
        """Where a frame's image lies."""
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


@dataclass
class ParsedVideo:
    """One video while its annotations are being read; turned into arrays by ``assemble_index``."""

    name: str
    still: bool = False
    files: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    is_key: list[bool] = field(default_factory=list)
    box_counts: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    track_ids: list[int] = field(default_factory=list)
    flags: list[tuple[bool, bool, bool]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unknown_objects: int = 0
    degenerate_boxes: int = 0
    overhanging_boxes: int = 0
    _track_numbers: dict[object, int] = field(default_factory=dict)

    def add_frame(self, file: str, *, height: int, width: int, is_key: bool) -> None:
        """Append a frame; the boxes that follow are its own."""
        self.files.append(file)
        self.sizes.append((height, width))
        self.is_key.append(is_key)
        self.box_counts.append(0)

    def add_box(
        self,
        box_xyxy: tuple[float, float, float, float],
        *,
        label: int,
        track: object,
        source: str,
        occluded: bool = False,
        generated: bool = False,
        ignored: bool = False,
    ) -> None:
        """Append a box to the last frame, or note why it cannot be used.

        Args:
            box_xyxy: in original pixels.
            label: 0-based class.
            track: the identity as annotated; only its equality within the video counts.
            source: file that holds the annotation, for the note.
            occluded: annotators' flag.
            generated: annotators' flag.
            ignored: True for crowd regions.
        """
        x1, y1, x2, y2 = box_xyxy
        height, width = self.sizes[-1]
        told = f"box (x1={x1:g}, y1={y1:g}, x2={x2:g}, y2={y2:g})"
        if not np.isfinite(box_xyxy).all():
            self.problems.append(Problem(source, f"{told} is not finite"))
        elif x2 < x1 or y2 < y1:
            self.problems.append(Problem(source, f"{told} is inverted"))
        elif x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            self.problems.append(Problem(source, f"{told} lies outside the {width}x{height} image"))
        elif x2 - x1 < MIN_BOX_SIDE or y2 - y1 < MIN_BOX_SIDE:
            self.degenerate_boxes += 1
        else:
            self.overhanging_boxes += x1 < 0 or y1 < 0 or x2 > width or y2 > height
            self.boxes.append(box_xyxy)
            self.labels.append(label)
            number = self._track_numbers.setdefault(track, len(self._track_numbers))
            self.track_ids.append(-1 if self.still else number)
            self.flags.append((occluded, generated, ignored))
            self.box_counts[-1] += 1


def assemble_index(
    videos: Iterable[ParsedVideo], *, image_root: Path, classes: Classes
) -> VideoIndex:
    """Join parsed videos into one index; videos left without any frame are dropped.

    Args:
        videos: in the order they shall have.
        image_root: folder that their file names are relative to.
        classes: what their labels mean.
    """
    everything = list(videos)
    kept = [video for video in everything if video.files]
    frames_per_video = [len(video.files) for video in kept]
    boxes_per_frame = [count for video in kept for count in video.box_counts]
    flags = np.array([flag for v in kept for flag in v.flags], dtype=np.bool_).reshape(-1, 3)
    # numpy drops trailing NULs only, so paths survive the fixed-width array.
    files = [file.encode() for video in kept for file in video.files]
    return VideoIndex(
        image_root=str(image_root),
        classes=classes,
        video_names=tuple(video.name for video in kept),
        video_starts=_starts(frames_per_video),
        frame_files=np.array(files, dtype=np.bytes_),
        frame_sizes=np.array([s for v in kept for s in v.sizes], dtype=np.int64).reshape(-1, 2),
        is_key=np.array([key for v in kept for key in v.is_key], dtype=np.bool_),
        box_starts=_starts(boxes_per_frame),
        boxes_xyxy=np.array([b for v in kept for b in v.boxes], dtype=np.float32).reshape(-1, 4),
        labels=np.array([label for v in kept for label in v.labels], dtype=np.int64),
        track_ids=np.array([track for v in kept for track in v.track_ids], dtype=np.int64),
        occluded=flags[:, 0].copy(),
        generated=flags[:, 1].copy(),
        ignored=flags[:, 2].copy(),
        problems=tuple(problem for video in everything for problem in video.problems),
        unknown_objects=sum(video.unknown_objects for video in everything),
        degenerate_boxes=sum(video.degenerate_boxes for video in everything),
        overhanging_boxes=sum(video.overhanging_boxes for video in everything),
    )


def array_fields(index: VideoIndex) -> dict[str, npt.NDArray[np.generic]]:
    """The index's arrays by field name."""
    values = {f.name: getattr(index, f.name) for f in fields(index)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _starts(counts: list[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
