"""Recognition of a user's data: the layout that a folder or a file is in, by names alone.

Nothing is decoded or parsed here but the first bytes of a JSON file, so that a foreign folder is
told at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from halftrack.data.files import is_clutter, shortened, user_path
from halftrack.data.mot.config import Benchmark
from halftrack.data.problems import DataError
from halftrack.data.sot.benchmarks import find_sot
from halftrack.data.sot.config import SotBenchmark, SotSplit
from halftrack.data.sot.folders import folders_of, lasot_test_names

__all__ = [
    "FILM_ENDINGS",
    "IMAGE_ENDINGS",
    "Kind",
    "OwnData",
    "first_folders",
    "recognise",
    "sequence_folders",
]

Kind = Literal["vid", "mot", "sequences", "sot", "coco", "yolo", "films"]
"""A layout. ``sequences`` are MOTChallenge's outside of a folder ``train`` or ``test``; ``films``
are video files, each with a text file of MOTChallenge's rows."""

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
"""Endings of images, as they are looked for in layouts that leave the choice."""
FILM_ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
"""Endings of video files."""

_BENCHMARKS: tuple[str, ...] = get_args(Benchmark)
_LOOKED_FOR = (
    "ImageNet VID (Annotations/VID), MOTChallenge (train/<sequence>/seqinfo.ini), LaSOT and its "
    "sisters, CocoVID or COCO (annotations/*.json), YOLO (images/ beside labels/), videos with MOT "
    "rows (a.mp4 beside a.txt)"
)
# Parts of a benchmark, folders that it unpacks to, and a sign of its images beside its text files.
_TARGETS: dict[SotBenchmark, tuple[tuple[SotSplit, ...], str, str]] = {
    "LaSOT": (("test",), "LaSOTBenchmark", "*/*/img"),
    "OTB100": (("test",), "OTB100 data", "*/img"),
    "UAV123": (("test",), "UAV123", "data_seq"),
    "TrackingNet": (("train", "test"), "TrackingNet trackingnet", "*/frames"),
    "GOT-10k": (("train", "val", "test"), "GOT-10k got10k", "*/*/00000001.jpg"),
    "VOT2018": (("test",), "VOT2018 data", "*/color"),
}
# Entries of a folder that are looked at: a layout shows in its first.
_SOME = 50


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """Data of a user's, and the layout they are in."""

    kind: Kind
    """The layout."""
    root: Path
    """The folder that ``--data-root`` takes."""
    place: Path
    """The folder of this layout, or its file."""
    parts: tuple[str, ...] = ()
    """Parts that are there: ``train``, ``val``, ``test``; the files of CocoVID and COCO."""
    benchmark: str = ""
    """The benchmark whose rules are read by: of MOTChallenge's and of single-object tracking."""

    def __str__(self) -> str:
        names = {
            "vid": "ImageNet VID",
            "mot": f"MOTChallenge ({self.benchmark})",
            "sequences": "MOTChallenge, outside of a folder train",
            "sot": self.benchmark,
            "coco": "CocoVID or COCO",
            "yolo": "YOLO",
            "films": "videos with MOT rows",
        }
        return f"{self.place}: {names[self.kind]}"


def recognise(path: str | Path) -> tuple[OwnData, ...]:
    """The layouts that a folder, or a file, holds.

    Args:
        path: a folder of one or several data sets, the folder of one, or a JSON file.

    Raises:
        DataError: if there is no such path, or nothing in it that is known; says what is there, and
            whether a folder above or below it is known.
    """
    root = user_path(path)
    if not root.exists():
        raise DataError(str(path), "there is no such file or folder")
    if found := tuple(_found(root)):
        return found
    if root.is_file():
        raise DataError(str(path), f"a file of no known layout; known are {_LOOKED_FOR}")
    near = [*first_folders(root), *root.parents[:3]]
    hint = next((f"; {folder} does: check that" for folder in near if [*_found(folder)]), "")
    names = [shortened(name, 40) for name in _names(root)[:4]]
    holds = f"holds {', '.join(names)}" if names else "is empty"
    raise DataError(str(path), f"{holds}, which is no known layout{hint}; known are {_LOOKED_FOR}")


def sequence_folders(data: OwnData) -> list[Path]:
    """The folders of data of the kind ``sequences``: those below it, or it alone."""
    return [data.place] if _is_sequence(data.place) else [*filter(_is_sequence, _all(data.place))]


def first_folders(folder: Path) -> list[Path]:
    """The first folders in a folder, by name: a layout shows in them."""
    paths = (folder / name for name in _names(folder)[:_SOME])
    return [path for path in paths if path.is_dir()]


def _found(root: Path) -> Iterator[OwnData]:
    """The official layouts, or else the freer ones."""
    if root.is_file():
        if root.suffix == ".json":
            yield OwnData(kind="coco", root=root.parent, place=root, parts=(root.name,))
        return
    official = [*_imagenet(root), *_mot(root), *_sot(root)]
    if (coco := _coco(root / "coco")) is not None:
        official.append(replace(coco, root=root))
    yield from official
    if not official:
        for look in (_sequences, _coco, _yolo, _films):
            if (free := look(root)) is not None:
                yield free
                return


def _imagenet(root: Path) -> Iterator[OwnData]:
    for place in (root / "ILSVRC", root):
        annotations = place / "Annotations"
        parts = [part for part in ("train", "val") if (annotations / "VID" / part).is_dir()]
        if (annotations / "DET").is_dir():
            parts.append("det")
        if parts:
            yield OwnData(kind="vid", root=root, place=place, parts=tuple(parts))
            return


def _mot(root: Path) -> Iterator[OwnData]:
    places = [(root, root / name) for name in _BENCHMARKS]
    places += [(root, root)]
    if root.name in ("train", "test"):
        places.append((root.parent, root.parent))
    for data_root, place in places:
        parts = tuple(part for part in ("train", "test") if _has_sequences(place / part))
        if parts:
            name = place.name if place.name in _BENCHMARKS else "MOT17"
            yield OwnData(kind="mot", root=data_root, place=place, parts=parts, benchmark=name)


def _sot(root: Path) -> Iterator[OwnData]:
    for benchmark, (splits, names, sign) in _TARGETS.items():
        places: dict[str, Path] = {}
        for split in splits:
            with suppress(DataError):
                places[split] = find_sot(root, benchmark, split)
        if not places:
            continue
        place = next(iter(places.values()))
        # Text files of other benchmarks have the same names one folder higher or lower.
        if place.name in names.split() or next(place.glob(sign), None) is not None:
            parts = _lasot_parts(place) if benchmark == "LaSOT" else (*places,)
            yield OwnData(kind="sot", root=root, place=place, parts=parts, benchmark=benchmark)


def _lasot_parts(place: Path) -> tuple[str, ...]:
    """LaSOT's test sequences, and the others where there are any; none without its list."""
    try:
        _, listed = lasot_test_names(place)
    except DataError:
        return ()
    others = any(each.name not in listed for each in folders_of(place, "*/*/groundtruth.txt"))
    return ("test", "train") if others else ("test",)


def _sequences(root: Path) -> OwnData | None:
    if _has_sequences(root) or _is_sequence(root):
        return OwnData(kind="sequences", root=root, place=root, benchmark="MOT17")
    return None


def _coco(root: Path) -> OwnData | None:
    for folder in (root / "annotations", root / "ILSVRC/annotations", root):
        names = [name for name in _names(folder) if name.endswith(".json")]
        files = [name for name in names if b'"images"' in _start_and_end(folder / name)]
        if files:
            return OwnData(kind="coco", root=root, place=folder, parts=tuple(files))
    return None


def _yolo(root: Path) -> OwnData | None:
    labelled = [root, *first_folders(root)]
    if any((folder / "labels").is_dir() and (folder / "images").is_dir() for folder in labelled):
        return OwnData(kind="yolo", root=root, place=root)
    return None


def _films(root: Path) -> OwnData | None:
    films = [name for name in _names(root) if name.lower().endswith(FILM_ENDINGS)]
    if any((root / name).with_suffix(".txt").is_file() for name in films):
        return OwnData(kind="films", root=root, place=root, parts=tuple(films))
    return None


def _has_sequences(folder: Path) -> bool:
    return any(map(_is_sequence, first_folders(folder)))


def _is_sequence(folder: Path) -> bool:
    signs = ("seqinfo.ini", "gt/gt.txt", "img1", "det/det.txt")
    return any((folder / sign).exists() for sign in signs)


def _names(folder: Path) -> list[str]:
    """Names in a folder, sorted, but for what systems leave there; none if it cannot be listed."""
    try:
        return sorted(name for name in os.listdir(folder) if not is_clutter(name))
    except OSError:
        return []


def _all(folder: Path) -> list[Path]:
    return [path for name in _names(folder) if (path := folder / name).is_dir()]


def _start_and_end(file: Path) -> bytes:
    """The first and the last part of a file: names of tables stand at either."""
    if not file.is_file():
        return b""
    try:
        with open(file, "rb") as stream:
            start = stream.read(1 << 16)
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - (1 << 16)))
            return start + stream.read()
    except OSError:
        return b""
