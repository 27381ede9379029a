"""Crops that are files already, as MMTracking's mot2reid writes them with their lists.

A line of ``train_80.txt``, ``val_20.txt`` and their like is the path of a crop below ``reid/imgs``
and the individual that it shows, a number.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from halftrack.data.files import leads_below, read_lines, shortened
from halftrack.data.mot.crops.records import Crops
from halftrack.data.mot.records import MotSequence
from halftrack.data.problems import DataError

__all__ = ["IMAGES", "listed_crops"]

IMAGES = "reid/imgs"
"""Folder of the crops below the benchmark's."""

_LINE = re.compile(r"(\S.*?)\s+([0-9]{1,15})")


def listed_crops(file: Path, images: Path) -> Crops:
    """The crops of a list, sorted by individual.

    Args:
        file: the list.
        images: the folder that its paths are relative to.

    Raises:
        DataError: if the list or the folder is missing, the list is empty, or a line is malformed
            or there twice.
    """
    places: dict[str, int] = {}
    shown: list[tuple[int, str]] = []
    for number, line in read_lines(file, what="list of crops"):
        found = _LINE.fullmatch(line)
        if found is None or not leads_below(found[1]):
            reason = "expected <path of a crop> <number of the individual>"
            raise DataError(str(file), f"line {number}, {shortened(line)}: {reason}")
        first = places.setdefault(found[1], number)
        if first != number:
            reason = f"is in line {first} already; list each crop once"
            raise DataError(str(file), f"line {number}, {shortened(found[1])}: {reason}")
        shown.append((int(found[2]), found[1]))
    if not shown:
        raise DataError(str(file), "the list is empty, expected a line for each crop")
    shown.sort(key=lambda each: each[0])
    numbers, labels = np.unique([number for number, _ in shown], return_inverse=True)
    paths = {place: str(images / path) for place, (_, path) in enumerate(shown, start=1)}
    sequence = MotSequence(
        name=file.stem,
        folder=images,
        frame_numbers=range(1, len(shown) + 1),
        size=(0, 0),
        image_paths=paths,
    )
    return Crops(
        sequences=(sequence,),
        sequence=np.zeros(len(shown), dtype=np.int64),
        frame_numbers=np.arange(1, len(shown) + 1),
        edges_xyxy=None,
        labels=labels.astype(np.int64),
        names=tuple(str(number) for number in numbers.tolist()),
    )
