"""The videos of a user's data that a split divides, or the reason for which there is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from pathlib import Path

from halftrack.bounds import shown
from halftrack.data.check.report import SetReport
from halftrack.data.files import file_name, is_clutter
from halftrack.data.own.layouts import OwnData, sequence_folders
from halftrack.data.sot.folders import folders_of
from halftrack.errors import UserError

__all__ = [
    "ANNOTATED",
    "IMAGES",
    "annotated_sequences",
    "annotated_videos",
    "require_two",
    "split_refusal",
    "targets",
    "told_films",
]

ANNOTATED, IMAGES = "sequences with ground truth", "videos or images"
"""Names of what is divided, in messages."""

# MOT17 holds a video three times, once for each public detector.
_COPY = re.compile(r"-(DPM|FRCNN|SDP)$")


def split_refusal(data: OwnData, report: SetReport) -> str | None:
    """The reason for which a split of a user's data would be refused; None if it would not.

    Args:
        data: as recognised; of JSON files one.
        report: what a look at it found.
    """
    counts = report.counts
    unread = data.kind == "coco" and not counts
    if report.problems and (data.kind == "yolo" or unread):
        return "its problems come first, of which nothing would tell in the parts"
    try:
        if data.kind in ("coco", "yolo"):
            require_two(max(counts.get("videos", 0), counts.get("stills", 0)), IMAGES)
        else:
            find, what = _CANDIDATES[data.kind]
            require_two(len(find(data)), what)
    except UserError as error:
        return str(error)
    return None


def require_two(count: int, what: str) -> None:
    """Refuse to divide fewer than two.

    Raises:
        UserError: says how many there are.
    """
    if count < 2:
        raise UserError(f"a split by whole videos takes two {what}, here: {count}")


def annotated_videos(data: OwnData) -> dict[str, Path]:
    """The annotation folders of videos in ImageNet's layout, by name.

    Raises:
        UserError: if two have one name, or there are stills alone.
    """
    annotations = data.place / "Annotations/VID"
    if not annotations.is_dir():
        raise UserError(
            "ImageNet DET's stills are for training beside ImageNet VID's videos, on which is "
            f"tested: put Annotations/VID and Data/VID into {data.place}"
        )
    return _once(
        folders_of(annotations, "**/*.xml"),
        lambda folder: file_name(folder.relative_to(annotations).as_posix()),
    )


def annotated_sequences(data: OwnData) -> dict[str, list[Path]]:
    """The folders of sequences with ground truth, all copies of a video together, by name.

    Raises:
        UserError: if two have one name.
    """
    if data.kind == "sequences":
        folders = sequence_folders(data)
    else:
        folders = [
            folder for part in data.parts for folder in sorted((data.place / part).iterdir())
        ]
    told = [
        folder
        for folder in folders
        if not is_clutter(folder.name) and (folder / "gt/gt.txt").is_file()
    ]
    copies: dict[str, list[Path]] = {}
    for name, folder in _once(told, attrgetter("name")).items():
        copies.setdefault(_COPY.sub("", name), []).append(folder)
    return copies


def told_films(data: OwnData) -> dict[str, Path]:
    """The video files with a text file of rows, by name.

    Raises:
        UserError: if two have one name.
    """
    found = [data.place / name for name in data.parts]
    told = [film for film in found if film.with_suffix(".txt").is_file()]
    return _once(told, lambda film: file_name(film.stem))


def targets(data: OwnData) -> dict[str, Path]:
    """The folders of single targets' sequences, by name.

    Raises:
        UserError: if two have one name, or the benchmark has parts of its own.
    """
    if data.benchmark != "LaSOT":
        raise UserError(f"{data.benchmark} has parts of its own; a split is for LaSOT's layout")
    return _once(folders_of(data.place, "*/*/groundtruth.txt"), attrgetter("name"))


def _once(paths: Iterable[Path], named: Callable[[Path], str]) -> dict[str, Path]:
    """The paths by the names that they have in the parts, where a name stands once.

    Raises:
        UserError: if two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(named(path), path)
        if other is not path:
            raise UserError(
                f"{other} and {path} would both be called {shown(named(path))} in the parts: "
                "rename one of the two"
            )
    return found


_CANDIDATES: dict[str, tuple[Callable[[OwnData], Mapping[str, object]], str]] = {
    "vid": (annotated_videos, "videos"),
    "mot": (annotated_sequences, ANNOTATED),
    "sequences": (annotated_sequences, ANNOTATED),
    "sot": (targets, "sequences"),
    "films": (told_films, "videos"),
}
