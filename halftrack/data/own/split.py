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
from pathlib import Path

from halftrack.data.files import is_clutter
from halftrack.data.own.divisible import (
    ANNOTATED,
    IMAGES,
    annotated_sequences,
    annotated_videos,
    require_two,
    targets,
    told_films,
)
from halftrack.data.own.json_images import image_root, json_files
from halftrack.data.own.layouts import OwnData
from halftrack.data.own.unpacked import add_seqinfo, tables_of, unpack_film, write_json
from halftrack.data.own.yolo import read_yolo
from halftrack.data.problems import DataError
from halftrack.data.progress import Progress
from halftrack.data.tables.coco_records import Notes, Record, load_tables
from halftrack.data.vid.imagenet_lists import find_list
from halftrack.errors import UserError

__all__ = ["Split", "split_data"]

# Frames of a video that training learns from, spread over it, as in ImageNet VID's list.
_KEY_FRAMES = 15
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


def _chosen(names: Iterable[str], share: float, seed: int, what: str = "videos") -> Split:
    """A seeded choice of names, whatever the order in which they were found."""
    ordered = sorted(names)
    require_two(len(ordered), what)
    shuffled = random.Random(seed).sample(ordered, len(ordered))
    count = min(max(round(share * len(ordered)), 1), len(ordered) - 1)
    val = set(shuffled[:count])
    return Split(tuple(name for name in ordered if name not in val), tuple(sorted(val)))


def _link(place: Path, source: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(source.resolve(), target_is_directory=source.is_dir())


def _lines(file: Path, lines: Sequence[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _vid(data: OwnData, out: Path, share: float, seed: int, _: Progress | None) -> Split:
    annotations, root = data.place / "Annotations/VID", out / "ILSVRC"
    folders = annotated_videos(data)
    chosen = _chosen(folders, share, seed)
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
    folders = annotated_sequences(data)
    chosen = _chosen(folders, share, seed, ANNOTATED)
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


def _films(data: OwnData, out: Path, share: float, seed: int, progress: Progress | None) -> Split:
    films = told_films(data)
    chosen = _chosen(films, share, seed)
    parts = [("train", name) for name in chosen.train] + [("test", name) for name in chosen.val]
    for done, (part, name) in enumerate(parts, start=1):
        unpack_film(films[name], out / "MOT17" / part / name)
        if progress is not None:
            progress(done, len(parts))
    return chosen


def _sot(data: OwnData, out: Path, share: float, seed: int, _: Progress | None) -> Split:
    folders = targets(data)
    chosen = _chosen(folders, share, seed, "sequences")
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
    index = read_yolo(data.place, progress=progress)
    if index.problems:  # in the JSON that is written nothing would tell of them
        problem, *others = index.problems
        more = f"; {len(others)} more: see `halftrack data check`" if others else ""
        raise DataError(problem.file, problem.reason + more)
    return _split_tables(tables_of(index), data.place, out, share, seed)


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
    chosen = _chosen(names, share, seed, IMAGES)
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
