"""Videos opened for a recipe that tracks: what is wrong with one is told here, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from halftrack.data import VideoSource, open_video
from halftrack.data.files import is_live
from halftrack.data.mot.tables import read_detections
from halftrack.data.tables.seqinfo import MOST_FRAMES
from halftrack.errors import UserError
from halftrack.recipes.live import open_live

if TYPE_CHECKING:
    from torch import Tensor

    from halftrack.data.images import GivenImage
    from halftrack.recipes.kinds.recipe import Box, Recipe

__all__ = ["Video", "check_errors_shown", "check_weights", "open_for"]

Video: TypeAlias = "str | Path | Sequence[str | Path] | VideoSource | Iterable[GivenImage]"
"""A file or folder, a camera's number, a stream's address, a video's images as files or as they
are, or one opened."""


def check_weights(recipe: Recipe, checkpoint: str | Path | None) -> None:
    """Make sure that there are weights to track with.

    Raises:
        ValueError: without a checkpoint, for a recipe that names no files.
    """
    if checkpoint is None and recipe.needs_checkpoint:
        raise UserError(f"{recipe.name} needs weights to track with: give a checkpoint")


def check_errors_shown(recipe: Recipe) -> None:
    """Make sure that ground truth of MOTChallenge tells errors of what the recipe writes.

    Raises:
        ValueError: for a recipe of other tasks.
    """
    if recipe.text_format != "mot":
        raise UserError(f"--show-errors is of tracktor_ recipes alone, not {recipe.name}")


def open_for(
    recipe: Recipe,
    video: Video,
    *,
    init_box_xyxy: Box | None = None,
    detections: str | Path | None = None,
) -> VideoSource:
    """The video as the recipe's tracker takes it.

    Args:
        recipe: a recipe that tracks.
        video: the video; one that is opened is taken as it is.
        init_box_xyxy: the one object to track in the first frame, in original pixels.
        detections: a det.txt of the video, whose boxes then come with its frames.

    Raises:
        DataError: if the video or the detections cannot be read.
        ValueError: for a live video with a recipe that needs the whole of it, or with detections,
            for a box outside the first frame, and for images that are none.
    """
    source = _opened(video)
    if init_box_xyxy is not None:
        _check_inside(init_box_xyxy, source.size)
    source = recipe.video_source(source)
    return source if detections is None else _with_detections(source, Path(detections))


def _opened(video: Video) -> VideoSource:
    if isinstance(video, VideoSource):
        return video
    if isinstance(video, str) and is_live(video):
        return open_live(video)
    if isinstance(video, str | Path):
        return open_video(video)
    if isinstance(video, Sequence) and video and isinstance(video[0], str | Path):
        return open_video([Path(str(each)) for each in video])
    from halftrack.recipes.given_images import given_images

    return given_images(cast("Iterable[GivenImage]", video))


def _check_inside(box_xyxy: Box, size: tuple[int, int]) -> None:
    """Make sure that some of the first box lies in the first frame.

    Raises:
        ValueError: if nothing of it does.
    """
    x1, y1, x2, y2 = box_xyxy
    height, width = size
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise UserError(
            f"the first box (--init-box), from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}), is wholly "
            f"outside the image of width {width} and height {height}"
        )


def _with_detections(source: VideoSource, file: Path) -> VideoSource:
    """The video with a detector's boxes in each frame.

    Raises:
        DataError: if the file is missing or malformed.
        ValueError: for a live video.
    """
    if source.live:
        raise UserError(f"--detections {file}: {source.name} is live: take a file or a folder")
    rows, odd = read_detections(file, MOST_FRAMES, source.size)
    notes = [f"{file}: {count} {what}" for what, count in odd.items() if count]
    length = source.num_frames
    if length is not None and (behind := int((rows.frame_numbers > length).sum())):
        notes.append(f"{file}: {behind} detections lie behind the last frame, {length}")

    def boxes(index: int) -> Tensor:
        import torch

        here = rows.in_frame(index + 1).boxes_xyxy
        return torch.tensor(here.astype(np.float32), device="cpu")

    return replace(source, public=boxes, notes=(*source.notes, *notes))
