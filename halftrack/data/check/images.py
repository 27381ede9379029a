"""Are a data set's images there, and can they be decoded?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from halftrack.data.annotated_image import require_size
from halftrack.data.check.damage import damage, libjpeg_warnings
from halftrack.data.image_header import header_of, read_bytes, read_header
from halftrack.data.images import decode_image
from halftrack.data.problems import DataError, Problem
from halftrack.data.progress import Progress

__all__ = ["bad_images"]

ImageT = TypeVar("ImageT")

# Images looked at together, those that are decoded again where one of them is damaged.
_PIECE = 128


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
    """The problems of the images of a data set, in their order.

    Args:
        images: whatever stands for an image.
        path: where an image lies.
        size: annotated height and width of an image, to be compared with its own.
        source: what ``size`` comes from.
        decode: decode every image and look for damage, not only read its header.
        threads: how many threads look.
        progress: told (images seen, images in all).
    """

    def look(image: ImageT) -> Problem | None:
        return _look(path(image), None if size is None else size(image), source, decode=decode)

    problems, done = [], 0
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(images), _PIECE):
            piece = images[first : first + _PIECE]
            for problem in _look_at_all(pool, look, piece, path, decode=decode):
                done += 1
                if problem is not None:
                    problems.append(problem)
                if progress is not None:
                    progress(done, len(images))
    return problems


def _look_at_all(
    pool: ThreadPoolExecutor,
    look: Callable[[ImageT], Problem | None],
    images: Sequence[ImageT],
    path: Callable[[ImageT], str],
    *,
    decode: bool,
) -> list[Problem | None]:
    """The first problem of each image, those that libjpeg only warns of included."""
    if not decode:
        return list(pool.map(look, images))
    with libjpeg_warnings() as warnings:
        found = list(pool.map(look, images))
    if not warnings:
        return found
    # Warnings name no file: each image of the piece is decoded again, alone.
    for number, image in enumerate(images):
        if found[number] is None:
            with libjpeg_warnings() as warnings:
                look(image)
            if warnings:
                found[number] = Problem(path(image), warnings[0])
    return found


def _look(
    path: str, annotated: tuple[int, int] | None, source: str, *, decode: bool
) -> Problem | None:
    """The first problem of an image: of its file, its header, its size, its pixels."""
    try:
        content = bytearray()
        if decode:
            content = read_bytes(path)
            header = read_header(content, path)
        else:
            header = header_of(path)
        if annotated is not None:
            require_size(path, (header.height, header.width), annotated, source=source)
        if decode:
            decode_image(content, header, path)
    except DataError as error:
        return Problem(error.file, error.reason)
    reason = damage(content, header) if decode else None
    return None if reason is None else Problem(path, reason)
