"""The videos of a CocoVID file: their images in order, each with its annotations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from halftrack.data.files import shortened
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.tables.coco_records import (
    Id,
    Notes,
    Record,
    by_id,
    identifier,
    named,
    path_text,
    references,
    whole_number,
)

__all__ = ["CocoVideo", "coco_sequences", "coco_videos"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CocoVideo:
    """A video, or a still image, with its records as they stand in the file."""

    name: str
    """Name in the file; of a still the path of its image without the ending."""
    record: Record
    """Record in the file; of a still that of its image."""
    images: Sequence[tuple[Record, Sequence[Record]]]
    """Images by ``frame_id``, each with its annotations; none where that tells no order."""
    still: bool = False
    """True where the file lists no videos."""


def coco_videos(tables: Mapping[str, Sequence[Record]], notes: Notes) -> list[CocoVideo]:
    """The videos, or stills, in the order of the file.

    Args:
        tables: as ``load_tables`` gives them.
        notes: told what is wrong; what cannot be told apart or leads nowhere is left out.
    """
    images, bad_images = by_id(tables["images"], "images", notes)
    annotations = references(
        list(_unrepeated(tables["annotations"], notes)),
        "image_id",
        images,
        bad_images,
        table="annotations",
        target="images",
        notes=notes,
    )
    filmed = [image for image in images.values() if image.get("video_id") is not None]
    if not tables["videos"] and filmed:
        told = f"{named(filmed[0])} and {len(filmed) - 1} more have a video_id"
        notes.problem(f"images: {told}, but the file lists no videos")
        return []
    if not tables["videos"]:
        return [
            CocoVideo(
                name=_stem(image), record=image, images=[(image, annotations[key])], still=True
            )
            for key, image in images.items()
        ]
    videos, bad_videos = _videos(tables["videos"], notes)
    frames = references(
        images.values(),
        "video_id",
        videos,
        bad_videos,
        table="images",
        target="videos",
        notes=notes,
    )
    parsed = []
    for key, video in videos.items():
        # Where images have no usable id, theirs is the problem.
        if not frames[key] and not bad_images:
            notes.problem(f"videos: {named(video)} has no images")
        ordered = _in_order(video, frames[key], notes)
        own = [(image, annotations[image["id"]]) for image in ordered]
        parsed.append(CocoVideo(name=video["name"], record=video, images=own))
    return parsed


def coco_sequences(
    tables: Mapping[str, Sequence[Record]],
    notes: Notes,
    problems: list[Problem] | None,
    make: Callable[[CocoVideo, Mapping[str, int]], T],
) -> list[T]:
    """The sequences of a tracking benchmark, one of each video, in the order of the file.

    Args:
        tables: as ``load_tables`` gives them.
        notes: of the file.
        problems: videos that cannot be used are left out and noted here, as is what else is wrong
            with the file; None raises the first.
        make: makes a sequence of a video with images, or raises a ``ValueError`` without the file;
            the first one is also given counts of what is odd in the whole file.

    Raises:
        DataError: for a problem, where ``problems`` is None.
    """
    videos = coco_videos(tables, notes)
    for problem in notes.problems:
        with noting(problems):
            raise DataError(problem.file, problem.reason)
    made: list[T] = []
    for video in videos:
        if not video.images:  # a problem that is noted already
            continue
        with noting(problems):
            try:
                if video.still or "/" in video.name:
                    raise ValueError(
                        "expected a video with a name without /: result files go by it"
                    )
                made.append(make(video, {} if made else +notes.odd))
            except DataError:
                raise
            except (ValueError, OverflowError) as error:
                told = f"video {shortened(video.name)}: {error}"
                raise DataError(notes.source, told) from None
    return made


def _videos(records: Sequence[Record], notes: Notes) -> tuple[dict[Id, Record], set[Id]]:
    """The videos by their id, each with a name of its own, and the ids that cannot be used."""
    videos, bad_videos = by_id(records, "videos", notes)
    names: dict[str, Id] = {}
    for key, video in list(videos.items()):
        try:
            name = path_text(video, "name")
            if names.setdefault(name, key) != key:
                raise ValueError(f"{shortened(name)} is the name of {shortened(names[name])} too")
        except ValueError as error:
            notes.problem(f"videos: id {shortened(key)}, left out with its images: {error}")
            bad_videos.add(key)
            del videos[key]
    return videos, bad_videos


def _in_order(video: Record, images: Sequence[Record], notes: Notes) -> list[Record]:
    """The images of a video by ``frame_id``; none where that tells no order."""
    numbered: dict[int, Record] = {}
    for image in images:
        try:
            number = whole_number(image, "frame_id")
            if number in numbered:
                other = named(numbered[number])
                raise ValueError(f"frame_id {number} is that of {other} too")
        except ValueError as error:
            notes.problem(
                f"videos: {named(video)} has no order and is left out: {named(image)}: {error}"
            )
            return []
        numbered[number] = image
    return [numbered[number] for number in sorted(numbered)]


def _unrepeated(annotations: Sequence[Record], notes: Notes) -> Iterator[Record]:
    """The annotations without those that are there again, word for word."""
    numbers = [identifier(annotation.get("id")) for annotation in annotations]
    times = Counter(number for number in numbers if number is not None)
    seen: set[tuple[Id, str]] = set()
    met: set[Id] = set()
    for number, annotation in zip(numbers, annotations, strict=True):
        if number is not None and times[number] > 1:
            content = number, json.dumps(annotation, sort_keys=True)
            if content in seen:
                told = f"id {shortened(number)} is there twice, alike"
                notes.problem(f"annotations: {told}; was the file joined twice?")
                continue
            # Nothing refers to an annotation, so nothing is confused.
            notes.odd["annotation ids used again"] += number in met
            seen.add(content)
            met.add(number)
        yield annotation


def _stem(image: Record) -> str:
    name = PurePosixPath(str(image.get("file_name")))
    return str(name.with_suffix("") if name.name else name)
