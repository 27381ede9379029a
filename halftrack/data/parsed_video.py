"""One video while its annotations are read, and all of them joined into an index.

Boxes are xyxy in original pixels without +1, as the reference reads them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from halftrack.data.files import require_utf8
from halftrack.data.index import MIN_BOX_SIDE, Classes, Integers, VideoIndex
from halftrack.data.problems import DataError, Problem

__all__ = ["MAX_COORDINATE", "MAX_IMAGE_SIDE", "ParsedVideo", "assemble_index"]

MAX_IMAGE_SIDE = 100_000
"""Longest side of an image in pixels: a larger number in an annotation is a mistake."""
MAX_COORDINATE = 1e6
"""Largest distance of a box from the image's corner: float32 still tells a tenth of a pixel."""
# Less than this inside the image is nothing after it is scaled to network size in float32: a share
# of the image's side, and in pixels.
_NOTHING_SHARE, _NOTHING_PIXELS = 1e-6, 0.01


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
    left_out: Counter[str] = field(default_factory=Counter)
    odd: Counter[str] = field(default_factory=Counter)
    _track_numbers: dict[object, int] = field(default_factory=dict)
    _in_frame: set[object] = field(default_factory=set)

    def add_frame(
        self, file: str, *, height: float, width: float, is_key: bool, source: str
    ) -> None:
        """Append a frame; the boxes that follow are its own.

        Args:
            file: its image, below the set's folder.
            height: of the image in pixels, a whole number.
            width: likewise.
            is_key: whether training's lists name it.
            source: file that holds the annotation.

        Raises:
            DataError: if this is no size, or not that of the video's other frames, or the file's
                name is not UTF-8.
        """
        for name, side in (("height", height), ("width", width)):
            # Written so that NaN fails too.
            if not 1 <= side <= MAX_IMAGE_SIDE or side != int(side):
                allowed = f"expected a whole number of pixels, 1 to {MAX_IMAGE_SIDE}"
                raise DataError(source, f"image {name} is {side:g}, {allowed}")
        require_utf8(file)
        size = int(height), int(width)
        if self.sizes and size != self.sizes[0]:
            (first_height, first_width), (new_height, new_width) = self.sizes[0], size
            reason = (
                f"{file} is annotated as {new_width}x{new_height}, but {self.files[0]} as "
                f"{first_width}x{first_height}: sizes may not change within a sequence"
            )
            raise DataError(source, reason)
        self.files.append(file)
        self.sizes.append(size)
        self.is_key.append(is_key)
        self.box_counts.append(0)
        self._in_frame.clear()

    def add_box(
        self,
        box_xyxy: tuple[float, float, float, float],
        *,
        label: int,
        track: object,
        source: str,
        about: Callable[[], str] = str,
        occluded: bool = False,
        generated: bool = False,
        ignored: bool = False,
    ) -> None:
        """Append a box to the last frame, or note why it cannot be used.

        Args:
            box_xyxy: in original pixels.
            label: 0-based class.
            track: the identity as annotated; only its equality within the video counts, None where
                there is none.
            source: file that holds the annotation, for the note.
            about: tells the annotation's place in that file, for the note.
            occluded: annotators' flag.
            generated: annotators' flag.
            ignored: True for crowd regions.
        """
        height, width = self.sizes[-1]
        fault = _fault(box_xyxy, width, height)
        if fault is not None:
            self.problems.append(Problem(source, about() + fault))
            return
        x1, y1, x2, y2 = box_xyxy
        if x2 - x1 < MIN_BOX_SIDE or y2 - y1 < MIN_BOX_SIDE:
            self.left_out["degenerate_boxes"] += 1
            return
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            if _nothing_inside(x1, x2, width) or _nothing_inside(y1, y2, height):
                self.left_out["vanishing_boxes"] += 1
                return
            self.left_out["overhanging_boxes"] += 1
            if x2 - x1 > width or y2 - y1 > height:
                self.odd["boxes larger than their image"] += 1
        self._note_repeats(box_xyxy, label, track)
        self.boxes.append(box_xyxy)
        self.labels.append(label)
        number = -1
        if not self.still and track is not None:
            number = self._track_numbers.setdefault(track, len(self._track_numbers))
        self.track_ids.append(number)
        self.flags.append((occluded, generated, ignored))
        self.box_counts[-1] += 1

    def _note_repeats(self, box_xyxy: object, label: int, track: object) -> None:
        """Count what comes twice in a frame: published data have such objects, so they stay."""
        in_frame = self._in_frame
        if (same := (box_xyxy, label)) in in_frame:
            self.odd["boxes equal to another of their class and image"] += 1
        in_frame.add(same)
        if self.still:
            return
        if track is None:
            self.odd["boxes of videos without a track"] += 1
        elif (named := ("track", track)) in in_frame:
            self.odd["boxes whose track is in their frame already"] += 1
        else:
            in_frame.add(named)


def _fault(box: tuple[float, float, float, float], width: int, height: int) -> str | None:
    """The mistake in a box that cannot be meant; None if there is none."""
    x1, y1, x2, y2 = box
    if 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height:
        return None
    told = f"box (x1={x1:g}, y1={y1:g}, x2={x2:g}, y2={y2:g})"
    if not all(map(math.isfinite, box)):
        return f"{told} is not finite"
    if x2 < x1 or y2 < y1:
        return f"{told} is inverted: expected x1 <= x2 and y1 <= y2"
    if max(map(abs, box)) > MAX_COORDINATE:
        return f"{told} reaches beyond {MAX_COORDINATE:g} pixels"
    # One that touches the image is a rounded one, which is counted.
    if x2 <= -1 or y2 <= -1 or x1 >= width + 1 or y1 >= height + 1:
        return f"{told} lies outside the {width}x{height} image"
    return None


def _nothing_inside(low: float, high: float, side: int) -> bool:
    inside = min(high, side) - max(low, 0.0)
    return inside < max(_NOTHING_PIXELS, _NOTHING_SHARE * side)


def assemble_index(
    videos: Iterable[ParsedVideo],
    *,
    image_root: Path,
    classes: Classes,
    problems: Sequence[Problem] = (),
    odd: Mapping[str, int] | None = None,
) -> VideoIndex:
    """Join parsed videos into one index; videos left without any frame are dropped.

    Args:
        videos: in the order they shall have.
        image_root: folder that their file names are relative to.
        classes: what their labels mean.
        problems: found in lists, before the videos were read.
        odd: likewise.
    """
    everything = list(videos)
    kept = [video for video in everything if video.files]
    frames_per_video = [len(video.files) for video in kept]
    boxes_per_frame = [count for video in kept for count in video.box_counts]
    flags = np.array([flag for v in kept for flag in v.flags], dtype=np.bool_).reshape(-1, 3)
    # numpy drops trailing NULs only, so paths survive the fixed-width array.
    files = [file.encode() for video in kept for file in video.files]
    left_out: Counter[str] = Counter()
    noted: Counter[str] = Counter(odd)
    for video in everything:
        left_out.update(video.left_out)
        noted.update(video.odd)
    labels = np.array([label for v in kept for label in v.labels], dtype=np.int64)
    if len(labels) and len(classes) > 1 and labels.min() == labels.max():
        noted[f"boxes, all of the class {classes[labels[0]][0]}"] = len(labels)
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
        labels=labels,
        track_ids=np.array([track for v in kept for track in v.track_ids], dtype=np.int64),
        occluded=flags[:, 0].copy(),
        generated=flags[:, 1].copy(),
        ignored=flags[:, 2].copy(),
        problems=(*problems, *(problem for video in everything for problem in video.problems)),
        unknown_objects=left_out["unknown_objects"],
        degenerate_boxes=left_out["degenerate_boxes"],
        vanishing_boxes=left_out["vanishing_boxes"],
        flagged_objects=left_out["flagged_objects"],
        overhanging_boxes=left_out["overhanging_boxes"],
        odd=dict(noted),
    )


def _starts(counts: list[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
