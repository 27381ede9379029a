"""One frame of an index: its image, which must have the annotated size, and its boxes."""

from __future__ import annotations

import torch

from halftrack.data.annotated_image import load_annotated_image
from halftrack.data.images import prepare_image
from halftrack.data.index import VideoIndex
from halftrack.frames import Frame

__all__ = ["ANNOTATION", "load_frame"]

ANNOTATION = "its annotation"
"""The source of a frame's size, in messages."""


def load_frame(
    index: VideoIndex,
    number: int,
    *,
    image_scale: tuple[int, int],
    flipped: bool = False,
    learned: bool = False,
) -> Frame:
    """Read, resize and perhaps mirror a frame, and the boxes to learn from with it.

    Args:
        index: the data set.
        number: the frame, counted over the whole index.
        image_scale: greatest long and short side at network size.
        flipped: mirror left to right.
        learned: with its boxes, crowds left out.

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
    )
