"""Classes of ground truth in MOTChallenge's tables: names and the numbers of column 8."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from halftrack.bounds import shown
from halftrack.data.files import read_lines, require_distinct
from halftrack.errors import UserError

__all__ = ["CLASS_NAMES", "class_numbers", "names_beside"]

CLASS_NAMES = (
    *("pedestrian", "person_on_vehicle", "car", "bicycle", "motorbike", "other_vehicle"),
    *("static_person", "distractor", "occluder", "occluder_on_ground", "occluder_full"),
    *("reflection", "crowd"),
)
"""MOTChallenge's classes, those of the numbers 1 to 13."""


def names_beside(truth_file: Path) -> tuple[str, ...]:
    """Names of the classes 1, 2, ... of a ``gt.txt``: a line each of ``labels.txt`` beside it.

    Annotation tools write such a list; without it the names are MOTChallenge's. Numbers up to 13
    that it does not name are called by themselves.

    Raises:
        DataError: if the list cannot be read, or a name is there twice.
    """
    file = truth_file.with_name("labels.txt")
    if not os.path.lexists(file):
        return CLASS_NAMES
    names = [name for _, name in read_lines(file, what="list of classes")]
    require_distinct(file, names, first=1)
    return (*names, *map(str, range(len(names) + 1, len(CLASS_NAMES) + 1)))


def class_numbers(classes: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    """The number of each class, 0 for one that a sequence has not; a number may stand for itself.

    Args:
        classes: those asked for, in the order of their labels.
        names: of the classes 1, 2, ... of the sequence.

    Raises:
        UserError: if two have one number; names both.
    """
    numbers = {name: number for number, name in enumerate(names, start=1)}
    found: dict[int, str] = {}
    asked = []
    for name in classes:
        asked.append(numbers.get(name, int(name) if name.isascii() and name.isdecimal() else 0))
        other = found.setdefault(asked[-1], name)
        if asked[-1] and other != name:
            raise UserError(
                f"the classes {shown(other)} and {shown(name)} are both number {asked[-1]} in "
                "column 8: leave one out, or name classes alike in every labels.txt"
            )
    return tuple(asked)
