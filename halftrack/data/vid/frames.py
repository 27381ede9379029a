"""Frames of videos: those that lend a key frame their features, and the reading of one.

The choice of references is SELSA's, https://arxiv.org/abs/1907.06390, as in MMTracking 0.14.
"""

from __future__ import annotations

import random

import torch

from halftrack.data.annotated_image import load_annotated_image
from halftrack.data.images import prepare_image
from halftrack.data.index import VideoIndex
from halftrack.data.vid.config import ResizeOn
from halftrack.frames import Frame

__all__ = ["ANNOTATION", "adaptive_stride", "bilateral_uniform", "load_frame"]

ANNOTATION = "its annotation"
"""The source of a frame's size, in messages."""


def load_frame(
    index: VideoIndex,
    number: int,
    *,
    image_scale: tuple[int, int],
    flipped: bool = False,
    learned: bool = False,
    resize_on: ResizeOn = "cpu",
) -> Frame:
    """Read, resize and perhaps mirror a frame, and the boxes to learn from with it.

    Args:
        index: the data set.
        number: the frame, counted over the whole index.
        image_scale: greatest long and short side at network size.
        flipped: mirror left to right.
        learned: with its boxes, crowds left out.
        resize_on: where it is resized and mirrored.

    Raises:
        DataError: if the image cannot be used, or has another size than annotated.
    """
    height, width = index.frame_sizes[number].tolist()
    boxes = labels = None
    if learned:
        rows = index.boxes_of(number)
        kept = ~index.ignored[rows]
        boxes = torch.from_numpy(index.boxes_xyxy[rows][kept])
        labels = torch.from_numpy(index.labels[rows][kept])
    return prepare_image(
        load_annotated_image(index.path(number), (height, width), source=ANNOTATION),
        sample_id=index.sample_id(number),
        frame_index=number - index.span(index.video_of(number))[0],
        image_scale=image_scale,
        flipped=flipped,
        boxes_xyxy=boxes,
        labels=labels,
        on_device=resize_on == "device",
    )


def bilateral_uniform(
    key: int, num_frames: int, *, num_references: int, frame_range: int, rng: random.Random
) -> tuple[int, ...]:
    """Training references: half of them before the key frame, half behind it, never the key itself.

    The first and the last frame of a video get references from one side only, so half as many, as
    in the reference implementation. A video of one frame refers to itself ``num_references`` times.

    Args:
        key: position of the key frame in its video.
        num_frames: length of the video.
        num_references: an even number.
        frame_range: how far a reference may be from the key frame, in frames.
        rng: source of chance; one ``sample`` is drawn for each side.

    Raises:
        ValueError: if ``num_references`` is not a positive even number.
    """
    if num_references < 2 or num_references % 2:
        raise ValueError(
            f"num_references={num_references!r}: bilateral sampling takes a positive even number, "
            "half of it from each side"
        )
    if num_frames == 1:
        return (key,) * num_references
    sides = (
        range(max(0, key - frame_range), key),
        range(key + 1, min(key + frame_range, num_frames - 1) + 1),
    )
    half = num_references // 2
    return tuple(frame for side in sides for frame in rng.sample(side, min(half, len(side))))


def adaptive_stride(num_frames: int, *, num_references: int) -> tuple[int, ...]:
    """Test references: spread evenly over the whole video, duplicates kept in short ones.

    Args:
        num_frames: length of the video.
        num_references: how many, at least 2. Python's ``round`` (half to even) places them.
    """
    if num_references < 2:
        raise ValueError(f"num_references={num_references!r}: a spread needs at least 2")
    stride = (num_frames - 1) / (num_references - 1)
    return tuple(round(position * stride) for position in range(num_references))
