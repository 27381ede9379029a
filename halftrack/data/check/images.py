"""Are a data set's images there, and can they be decoded?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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
    size: Callable[[ImageT], tuple[int, int]] | None = None,
    source: str = "its annotation",
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> list[Problem]:
    """What is wrong with the images of a data set, in their order.

    Args:
        images: whatever stands for an image.
        path: where an image lies.
        size: annotated height and width of an image, to be compared with the decoded one.
        source: what ``size`` comes from.
        decode: decode every image, not only look for its file.
        threads: how many threads look.
        progress: told (images seen, images in all).
    """

    def look(image: ImageT) -> Problem | None:
        if not decode:
            return _missing(path(image))
        return _undecodable(path(image), None if size is None else size(image), source)

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


def _missing(path: str) -> Problem | None:
    if not os.path.isfile(path):
        return Problem(path, "image is missing")
    if os.path.getsize(path) == 0:
        return Problem(path, "image is an empty file")
    return None


def _undecodable(path: str, annotated: tuple[int, int] | None, source: str) -> Problem | None:
    try:
        height, width = load_image(path).shape[-2:]
    except DataError as error:
        return Problem(error.file, error.reason)
    if annotated is not None and (height, width) != annotated:
        told = f"{annotated[1]}x{annotated[0]} in {source}"
        return Problem(path, f"image is {width}x{height}, but {told}")
    return None
