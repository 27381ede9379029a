"""Are a data set's images there, and can they be decoded?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from halftrack.data.annotated_image import require_size
from halftrack.data.check.damage import damage, libjpeg_warnings
from halftrack.data.files import count_clutter
from halftrack.data.image_header import (
    ImageHeader,
    first_bytes,
    orientation,
    read_bytes,
    read_header,
)
from halftrack.data.images import decode_image
from halftrack.data.problems import DataError, Problem
from halftrack.data.progress import Progress

__all__ = ["ImageFindings", "look_at_images"]

ImageT = TypeVar("ImageT")

# Images looked at together, those that are decoded again where one of them is damaged.
_PIECE = 128


class ImageFindings(NamedTuple):
    """Whatever is to be told of the images of a data set, in their order."""

    problems: list[Problem]
    """Images that training or testing would stop at, and those with wrong pixels."""
    odd: list[Problem]
    """Images that are used, but otherwise than they look."""
    passed_over: dict[str, int]
    """Number of hidden and foreign files beside images and their folders; empty without any."""


class _Seen(NamedTuple):
    problem: Problem | None
    odd: Problem | None = None


def look_at_images(
    images: Sequence[ImageT],
    path: Callable[[ImageT], str],
    *,
    size: Callable[[ImageT], tuple[int, int] | None] | None = None,
    source: str = "its annotation",
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> ImageFindings:
    """The problems and oddities of the images of a data set.

    Args:
        images: whatever stands for an image.
        path: where an image lies.
        size: annotated height and width of an image, to be compared with its own.
        source: what ``size`` comes from.
        decode: decode every image and look for damage, not only read its header.
        threads: how many threads look.
        progress: told (images seen, images in all).
    """

    def look(image: ImageT) -> _Seen:
        return _look(path(image), None if size is None else size(image), source, decode=decode)

    findings, done = ImageFindings([], [], {}), 0
    folders: set[str] = set()
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(images), _PIECE):
            piece = images[first : first + _PIECE]
            folders.update(os.path.dirname(path(image)) for image in piece)
            for seen in _look_at_all(pool, look, piece, path, decode=decode):
                done += 1
                if seen.problem is not None:
                    findings.problems.append(seen.problem)
                if seen.odd is not None:
                    findings.odd.append(seen.odd)
                if progress is not None:
                    progress(done, len(images))
    for _ in range(2):  # a sequence's folder, and that of all sequences
        folders |= {os.path.dirname(folder) for folder in folders}
    if clutter := count_clutter(folders):
        findings.passed_over["hidden and foreign files"] = clutter
    return findings


def _look_at_all(
    pool: ThreadPoolExecutor,
    look: Callable[[ImageT], _Seen],
    images: Sequence[ImageT],
    path: Callable[[ImageT], str],
    *,
    decode: bool,
) -> list[_Seen]:
    """Each image's first problem, those that libjpeg only warns of included."""
    if not decode:
        return list(pool.map(look, images))
    with libjpeg_warnings() as warnings:
        found = list(pool.map(look, images))
    if not warnings:
        return found
    # Warnings name no file: each image of the piece is decoded again, alone.
    for number, image in enumerate(images):
        if found[number].problem is None:
            with libjpeg_warnings() as warnings:
                look(image)
            if warnings:
                found[number] = _Seen(Problem(path(image), warnings[0]))
    return found


def _look(path: str, annotated: tuple[int, int] | None, source: str, *, decode: bool) -> _Seen:
    """The first problem of an image: of its file, its header, its size, its pixels."""
    try:
        if decode:
            content = read_bytes(path)
            header = read_header(content, path)
        else:
            header, content = first_bytes(path)
        if annotated is not None:
            require_size(path, (header.height, header.width), annotated, source=source)
        if decode:
            decode_image(content, header, path)
    except DataError as error:
        return _Seen(Problem(error.file, error.reason))
    reason = damage(content, header) if decode else None
    return _Seen(None if reason is None else Problem(path, reason), _odd(content, header, path))


def _odd(content: bytearray, header: ImageHeader, path: str) -> Problem | None:
    if header.bits > 8:
        return Problem(path, f"image has {header.bits} bits a channel, the upper 8 are used")
    if (turned := orientation(content)) > 1:
        return Problem(path, f"orientation tag {turned} is ignored: pixels are taken as stored")
    return None
