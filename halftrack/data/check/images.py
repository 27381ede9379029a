"""Are a data set's images there, and can they be decoded?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from halftrack.data.annotated_image import header_of, load_annotated_image, require_size
from halftrack.data.images import load_image
from halftrack.data.problems import DataError, Problem
from halftrack.data.progress import Progress

__all__ = ["bad_images"]

ImageT = TypeVar("ImageT")

# A million frames at once would be a million waiting futures.
_PIECE = 4096


def bad_images(
    images: Sequence[ImageT],
    path: Callable[[ImageT], str],
    *,
    size: Callable[[ImageT], tuple[int, int] | None] | None = None,
    source: str = "its annotation",
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> list[Problem]:
    """What is wrong with the images of a data set, in their order.

    Args:
        images: whatever stands for an image.
        path: where an image lies.
        size: annotated height and width of an image, to be compared with its own.
        source: what ``size`` comes from.
        decode: decode every image, not only look for its file.
        threads: how many threads look.
        progress: told (images seen, images in all).
    """

    def look(image: ImageT) -> Problem | None:
        annotated = None if size is None else size(image)
        try:
            (_decode if decode else _look)(path(image), annotated, source)
        except DataError as error:
            return Problem(error.file, error.reason)
        return None

    problems, done = [], 0
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(images), _PIECE):
            for problem in pool.map(look, images[first : first + _PIECE]):
                done += 1
                if problem is not None:
                    problems.append(problem)
                if progress is not None:
                    progress(done, len(images))
    return problems


def _look(path: str, annotated: tuple[int, int] | None, source: str) -> None:
    """Everything that can be told of an image without decoding it."""
    if not os.path.isfile(path):
        raise DataError(path, "image is missing")
    if os.path.getsize(path) == 0:
        raise DataError(path, "image is an empty file")
    header = None if annotated is None else header_of(path)
    if annotated is not None and header is not None:
        require_size(path, (header.height, header.width), annotated, source=source)


def _decode(path: str, annotated: tuple[int, int] | None, source: str) -> None:
    if annotated is None:
        load_image(path)
    else:
        load_annotated_image(path, annotated, source=source)
