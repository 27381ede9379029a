"""Images that a caller holds already, as a video: arrays, tensors or pictures of Pillow."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import cast
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from halftrack.data import VideoSource
from halftrack.data.images import GivenImage, pixels_of
from halftrack.data.video_file import Picture
from halftrack.errors import UserError

__all__ = ["given_images", "image_tensor"]

_NAME = "images"


def image_tensor(image: GivenImage) -> Tensor:
    """A copy of an image as uint8 RGB ``(3, height, width)``, on the CPU.

    Raises:
        ValueError: for another type, dtype or shape; names it and says what is allowed.
    """
    # A copy: cameras fill the same buffer again, and trackers look at the frame before.
    return torch.from_numpy(np.array(pixels_of(image))).permute(2, 0, 1)


def given_images(images: Iterable[GivenImage]) -> VideoSource:
    """The images as a video named ``images``, at 30 frames a second.

    Those of a list or array can be gone through again; others come once, as a camera's.

    Raises:
        ValueError: if there is none, or the first is none that ``image_tensor`` takes.
    """
    if not isinstance(images, Iterable):
        raise UserError(
            f"a {type(images).__name__} is no list of images: put a single one into [ ]"
        )
    if hasattr(images, "__getitem__"):
        return _source(cast("Sequence[GivenImage]", images))
    coming = iter(images)
    first = list(islice(coming, 1))
    return replace(
        _source(first),
        num_frames=None,
        pictures=lambda: _pictures(chain(first, coming)),
        pictures_at=None,
        live=True,
    )


def _source(images: Sequence[GivenImage]) -> VideoSource:
    if not len(images):  # of an array too
        raise UserError("there is no image to look at: the images given are empty")
    height, width = image_tensor(images[0]).shape[1:]
    return VideoSource(
        name=_NAME,
        origin=f"{_NAME} #{uuid4().hex}",  # the next list is another video
        size=(height, width),
        num_frames=len(images),
        pictures=lambda: _pictures(images),
        pictures_at=lambda wanted: _pictures([images[i] for i in wanted if i < len(images)]),
    )


def _pictures(images: Iterable[GivenImage]) -> Generator[Picture]:
    for image in images:
        yield Picture(image_tensor(image))
