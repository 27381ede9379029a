"""A training and a validation part of a user's data, by whole videos, in a tree of their own.

Nothing of the source is changed or copied: folders are linked, and lists and annotation files are
written beside the links. Videos alone are decoded into images, since recipes learn from these.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from halftrack.bounds import shown
from halftrack.data.files import file_name, is_clutter
from halftrack.data.own.json_images import image_root, json_files
from halftrack.data.own.layouts import OwnData, sequence_folders
from halftrack.data.own.unpacked import add_seqinfo, tables_of, unpack_film, write_json
from halftrack.data.own.yolo import read_yolo
from halftrack.data.problems import DataError
from halftrack.data.progress import Progress
from halftrack.data.sot.folders import folders_of
from halftrack.data.tables.coco_records import Notes, Record, load_tables
from halftrack.data.vid.imagenet_lists import find_list
from halftrack.errors import UserError

__all__ = ["Split", "split_data"]

# Frames of a video that training learns from, spread over it, as in ImageNet VID's list.
_KEY_FRAMES = 15
# MOT17 holds a video three times, once for each public detector.
_COPY = re.compile(r"-(DPM|FRCNN|SDP)$")
_STILLS_LIST = "DET_train_30classes.txt"
# A hidden folder, which every reader passes over.
_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Split:
    """Names of the videos of both parts."""

    train: tuple[str, ...]
    val: tuple[str, ...]


def split_data(
    data: OwnData,
    out: Path,
    *,
    share: float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
) -> Split:
    """Write a tree that recipes read, with a training and a validation part of whole videos.

    Stills are divided by the names of their files without the number at the end, so that frames of
    one video do not come into both parts. A split that fails leaves ``out`` empty.

    Args:
        data: as recognised.
        out: a new or empty folder, the data root of the parts.
        share: of the videos that are for validation; at least one is, and one to learn from.
        seed: of the choice.
        progress: told (videos unpacked, videos in all), of video files.

    Raises:
        DataError: if a file of the data cannot be used.
        UserError: if there are fewer than two videos, two have one name, or the benchmark has parts
            of its own.
    """
    if out.exists() and any(not is_clutter(each.name) for each in out.iterdir()):
        raise UserError(f"{out} is not empty: choose a new folder for the parts")
    unfinished = out / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # one that was killed may have left it
    try:
        split = _SPLITS[data.kind](data, unfinished, share, seed, progress)
        for entry in list(unfinished.iterdir()):
            entry.replace(out / entry.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return split


Splitter = Callable[[OwnData, Path, float, int, Progress | None], Split]


def _chosen(names: Sequence[str], share: float, seed: int, what: str = "videos") -> Split:
    """A seeded choice of names, whatever the order in which they were found."""
    ordered = sorted(names)
    if len(ordered) < 2:
        raise UserError(f"there are {len(ordered)} {what}: a split by whole videos takes two")
    shuffled = random.Random(seed).sample(ordered, len(ordered))
    count = min(max(round(share * len(ordered)), 1), len(ordered) - 1)
    val = set(shuffled[:count])
    return Split(tuple(name for name in ordered if name not in val), tuple(sorted(val)))


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


def _link(place: Path, source: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(source.resolve(), target_is_directory=source.is_dir())


def _lines(file: Path, lines: Sequence[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _vid(data: OwnData, out: Path, share: float, seed: int, _: Progress | None) -> Split:
    annotations, root = data.place / "Annotations/VID", out / "ILSVRC"
    folders = _once(
        folders_of(annotations, "**/*.xml"),
        lambda folder: file_name(folder.relative_to(annotations).as_posix()),
    )
    chosen = _chosen(list(folders), share, seed)
    keys: list[str] = []
    numbered = True
    for part, names in (("train", chosen.train), ("val", chosen.val)):
        for name in names:
            below = f"{part}/{name}"
            _link(root / "Annotations/VID" / below, folders[name])
            images = data.place / "Data/VID" / folders[name].relative_to(annotations)
            _link(root / "Data/VID" / below, images)
            if part == "train":
                files = folders[name].glob("*.xml")
                stems = sorted(each.stem for each in files if not is_clutter(each.name))
                numbered &= stems == [f"{number:06d}" for number in range(len(stems))]
                keys += [f"{below} 1 {key} {len(stems)}" for key in _spread(len(stems))]
    _lines(root / "ImageSets/VID/train.txt", [f"{name} 1" for name in chosen.train])
    if numbered:  # else only all frames can be learned from, data.key_frames=all
        _lines(root / "ImageSets/VID/VID_train_15frames.txt", keys)
    if "det" in data.parts:
        _link_stills(data.place, root)
    return chosen


def _link_stills(source: Path, root: Path) -> None:
    """ImageNet DET whole: stills are for training alone."""
    for kind in ("Annotations", "Data"):
        _link(root / kind / "DET", source / kind / "DET")
    with suppress(DataError):  # without its list no recipe reads DET
        _link(root / "ImageSets/VID" / _STILLS_LIST, find_list(source, _STILLS_LIST))


def _spread(length: int) -> list[int]:
    """Numbers from 1, spread over a video."""
    count = min(_KEY_FRAMES, length)
    return [1 + place * length // count for place in range(count)]


def _sequences(data: OwnData, out: Path, share: float, seed: int, _: Progress | None) -> Split:
    folders: dict[str, list[Path]] = {}
    for name, folder in _once(_annotated(data), attrgetter("name")).items():
        folders.setdefault(_COPY.sub("", name), []).append(folder)
    chosen = _chosen(list(folders), share, seed, "sequences with ground truth")
    for part, names in (("train", chosen.train), ("test", chosen.val)):
        for source in (each for name in names for each in folders[name]):
            place = out / data.benchmark / part / source.name
            if (source / "seqinfo.ini").is_file():
                _link(place, source)
                continue
            for entry in sorted(source.iterdir()):
                if not is_clutter(entry.name):
                    _link(place / entry.name, entry)
            add_seqinfo(place)
    return chosen


def _annotated(data: OwnData) -> list[Path]:
    """The folders of sequences with ground truth."""
    if data.kind == "sequences":
        folders = sequence_folders(data)
    else:
        folders = [
            folder for part in data.parts for folder in sorted((data.place / part).iterdir())
        ]
    return [
        folder
        for folder in folders
        if not is_clutter(folder.name) and (folder / "gt/gt.txt").is_file()
    ]


def _films(data: OwnData, out: Path, share: float, seed: int, progress: Progress | None) -> Split:
    found = [data.place / name for name in data.parts]
    told = [film for film in found if film.with_suffix(".txt").is_file()]
    films = _once(told, lambda film: file_name(film.stem))
    chosen = _chosen(list(films), share, seed)
    parts = [("train", name) for name in chosen.train] + [("test", name) for name in chosen.val]
    for done, (part, name) in enumerate(parts, start=1):
        unpack_film(films[name], out / "MOT17" / part / name)
        if progress is not None:
            progress(done, len(parts))
    return chosen


def _sot(data: OwnData, out: Path, share: float, seed: int, _: Progress | None) -> Split:
    if data.benchmark != "LaSOT":
        raise UserError(f"{data.benchmark} has parts of its own; a split is for LaSOT's layout")
    folders = _once(folders_of(data.place, "*/*/groundtruth.txt"), attrgetter("name"))
    chosen = _chosen(list(folders), share, seed, "sequences")
    for name, folder in folders.items():
        _link(out / "LaSOTBenchmark" / folder.parent.name / name, folder)
    _lines(out / "LaSOTBenchmark/testing_set.txt", chosen.val)
    return chosen


def _coco(data: OwnData, out: Path, share: float, seed: int, _: Progress | None) -> Split:
    file, *others = json_files(data)
    if others:
        names = ", ".join(data.parts)
        raise UserError(f"{data.place} holds {names}: name one of these files to split")
    tables = load_tables(file, Notes(str(file)))
    return _split_tables(tables, image_root(file, tables), out, share, seed)


def _yolo(data: OwnData, out: Path, share: float, seed: int, progress: Progress | None) -> Split:
    tables = tables_of(read_yolo(data.place, progress=progress))
    return _split_tables(tables, data.place, out, share, seed)


def _split_tables(
    tables: Mapping[str, Sequence[Record]], images: Path, out: Path, share: float, seed: int
) -> Split:
    """Both parts of CocoVID's or COCO's tables, below ILSVRC, where SELSA reads them."""
    root, videos = out / "ILSVRC", tables["videos"]
    group_of = {each.get("id"): str(each.get("name")) for each in videos}

    def group(image: Record) -> str:
        return group_of.get(image.get("video_id"), "") if videos else _stem(image)

    names = set(map(group, tables["images"]))
    by_name = videos or len(names) > 1
    if not by_name:
        names = {str(image.get("file_name")) for image in tables["images"]}
    chosen = _chosen(list(names), share, seed, "videos or images")
    for part, kept in (("train", set(chosen.train)), ("val", set(chosen.val))):
        own = [
            image
            for image in tables["images"]
            if (group(image) if by_name else image.get("file_name")) in kept
        ]
        write_json(root / f"annotations/{part}.json", tables, own)
    for name in ("VID",) if videos else ("VID", "DET"):
        _link(root / "Data" / name, images)
    return chosen


def _stem(image: Record) -> str:
    """The path of a still without the number at its end, which frames of a video share."""
    return re.sub(r"[0-9]*$", "", os.path.splitext(str(image.get("file_name")))[0])


_SPLITS: dict[str, Splitter] = {
    "vid": _vid,
    "mot": _sequences,
    "sequences": _sequences,
    "sot": _sot,
    "coco": _coco,
    "yolo": _yolo,
    "films": _films,
}
