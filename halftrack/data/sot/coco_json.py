"""CocoVID files of single-object benchmarks, such as MMTracking's ``lasot_test.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from halftrack.data.files import shortened
from halftrack.data.index import Booleans
from halftrack.data.problems import Problem
from halftrack.data.sot.sequences import SotSequence, trackable_sequence
from halftrack.data.tables.box_columns import first_wrong_box
from halftrack.data.tables.coco_records import (
    Notes,
    bbox_numbers,
    is_set,
    load_tables,
    named,
    path_text,
    track_of,
    whole_number,
)
from halftrack.data.tables.coco_videos import CocoVideo, coco_sequences
from halftrack.data.tables.target_text import Doubles

__all__ = ["read_json"]

_LAST_NUMBER = 10**9


def read_json(file: Path, base: Path, problems: list[Problem] | None) -> list[SotSequence]:
    """The sequences of a CocoVID file, in its order: of each video its one object.

    Frames where ``full_occlusion`` or ``out_of_view`` is set, or the box has no area, are absent.

    Args:
        file: the annotations.
        base: folder that ``file_name`` is relative to.
        problems: sequences that cannot be used are left out and noted here; None raises the first.

    Raises:
        DataError: if the file is missing, not JSON, or lacks a table.
    """
    notes = Notes(str(file))
    make = partial(_sequence, file=file, base=base)
    return coco_sequences(load_tables(file, notes), notes, problems, make)


def _sequence(video: CocoVideo, odd: Mapping[str, int], *, file: Path, base: Path) -> SotSequence:
    folder, image_name, first = _images(video)
    boxes_ltwh, absent = _boxes(video)
    if (wrong := first_wrong_box(boxes_ltwh)) is not None:
        raise ValueError(f"{named(video.images[wrong[0]][0])}: {wrong[1]}")
    corner = boxes_ltwh[:, :2]
    sequence = trackable_sequence(
        video.name,
        base / folder,
        image_name,
        np.concatenate([corner, corner + boxes_ltwh[:, 2:]], axis=1),
        annotation=file,
        start=first,
        frames=len(video.images),
        absent=absent,
    )
    return replace(sequence, odd=odd)


def _images(video: CocoVideo) -> tuple[PurePosixPath, str, int]:
    """The folder of a video's images, their name to be formatted, and the first one's number."""
    files = [PurePosixPath(path_text(image, "file_name")) for image, _ in video.images]
    for image, _ in video.images:
        for side in ("height", "width"):
            if whole_number(image, side) < 1:
                raise ValueError(f"{named(image)}: {side} is not a number of pixels")
    first = files[0]
    if not (first.stem.isascii() and first.stem.isdecimal() and int(first.stem) < _LAST_NUMBER):
        raise ValueError(f"{shortened(str(first))}: expected a number as the name of an image")
    digits = len(first.stem) if first.stem.startswith("0") and len(first.stem) > 1 else 0
    image_name = f"{{:0{digits}d}}" if digits else "{}"
    image_name += first.suffix.replace("{", "{{").replace("}", "}}")
    for number, path in enumerate(files, start=int(first.stem)):
        if path != first.parent / image_name.format(number):
            expected = first.parent / image_name.format(number)
            raise ValueError(f"{shortened(str(path))}: expected the image {expected}")
    return first.parent, image_name, int(first.stem)


def _boxes(video: CocoVideo) -> tuple[Doubles, Booleans]:
    """Boxes ``(n, 4)`` as written, one an image or the first image's alone; which are absent."""
    rows, absent, tracks = [], [], set()
    for image, own in video.images:
        if len(own) > 1:
            raise ValueError(f"{named(image)} has {len(own)} boxes, expected one target")
        for annotation in own:
            x, y, width, height = bbox_numbers(annotation)
            rows.append((x, y, width, height))
            tracks.add(track_of(annotation))
            hidden = any(is_set(annotation, name) for name in ("full_occlusion", "out_of_view"))
            absent.append(hidden or width <= 0 or height <= 0)
    count = len(video.images)
    if len(tracks) > 1:
        raise ValueError(f"{len(tracks)} objects (instance_id), expected one target")
    if len(rows) != count and not (len(rows) == 1 and video.images[0][1]):
        raise ValueError(f"{len(rows)} boxes for {count} images; expected one an image")
    flags = np.array(absent if len(rows) == count else [False] * count, dtype=np.bool_)
    return np.array(rows, dtype=np.float64), flags
