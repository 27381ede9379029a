"""LaSOT, OTB100, UAV123, TrackingNet, GOT-10k and VOT2018 as downloaded, one target a sequence.

The boxes agree with MMTracking 0.14, which takes left and top as they are written: the 1 of 1-based
pixels is not subtracted. Which frames of OTB100 and UAV123 belong to a sequence is also its choice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from halftrack.data.files import user_path
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.sot.coco_json import read_json
from halftrack.data.sot.config import SotBenchmark, SotSplit
from halftrack.data.sot.folders import (
    ATTRIBUTES,
    UAV_STARTS,
    Asked,
    by_number,
    count_images,
    lasot_test_names,
    listed_sequences,
    named_once,
    read_attributes,
    read_infos,
    text_files,
)
from halftrack.data.sot.sequences import SotSequence, trackable_sequence
from halftrack.data.tables.target_text import read_boxes, read_flags
from halftrack.errors import UserError

__all__ = ["find_sot", "read_sot"]

# The number of the first image, where it is not 1. The videos are longer than the sequences.
_OTB_STARTS = {"BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18, "David": 300, "Tiger1": 6}
# OTB's initOmit: the first boxes of Tiger1 are written but not used.
_OTB_OMITTED = {"Tiger1": 5}
_OTB_DIGITS = {"Board": 5}
# Human4 shows two people, of whom the benchmark follows the second.
_OTB_TARGETS = {"Human4": ("groundtruth_rect.2.txt",)}


def read_sot(
    data_root: str | Path,
    benchmark: SotBenchmark,
    split: SotSplit = "test",
    *,
    attributes: str | Path | None = None,
    infos: str | Path | None = None,
    problems: list[Problem] | None = None,
) -> tuple[SotSequence, ...]:
    """The sequences of a split: in the order of the data set's list if it has one, else by name.

    Only LaSOT's list must be complete: elsewhere what is there is read.

    Args:
        data_root: the folder that contains the benchmark's folder, or that folder itself.
        benchmark: which data set.
        split: which sequences.
        attributes: a folder of ``<sequence>.txt``, each a line of flags: LaSOT's are not in its
            download but in its evaluation kit, ``annos/att``. UAV123's are found where they are.
        infos: MMTracking's list, ``lasot_test_infos.txt`` or its like: its sequences alone, in its
            order, whatever LaSOT's ``split``; or CocoVID, a ``.json`` with boxes and no flags.
        problems: sequences that cannot be used are left out and noted here; None raises the first.

    Raises:
        DataError: if the tree is missing, or a file is missing or malformed.
        ValueError: if an argument is not one of those allowed.
    """
    if benchmark not in get_args(SotBenchmark):
        allowed = ", ".join(map(repr, get_args(SotBenchmark)))
        raise UserError(f"benchmark={benchmark!r}: expected one of {allowed}")
    layout = _LAYOUTS[benchmark]
    if split not in layout.splits:
        allowed = ", ".join(map(repr, layout.splits))
        raise UserError(f"split={split!r}: {benchmark} has {allowed}")
    if attributes is not None and benchmark not in ATTRIBUTES:
        raise UserError(
            f"attributes={str(attributes)!r}: known are those of {', '.join(ATTRIBUTES)}, "
            f"not of {benchmark}"
        )
    base = find_sot(data_root, benchmark, split)
    flags = None if attributes is None else Path(attributes).expanduser()
    asked = Asked(split, flags, problems)
    sequences = named_once(_sequences(base, layout, asked, infos), problems)
    if not sequences and not problems:
        others = ", ".join(repr(other) for other in layout.splits if other != split)
        hint = f"; other splits are {others}" if others else ""
        raise DataError(str(base), f"no sequence of {benchmark} {split} here{hint}")
    return sequences


def _sequences(
    base: Path, layout: _Layout, asked: Asked, infos: str | Path | None
) -> Iterable[SotSequence]:
    """The sequences of a split, of a list, or of a CocoVID file."""
    if infos is None:
        return layout.read(base, asked)
    file = user_path(infos)
    if file.suffix == ".json":
        return read_json(file, base, asked.problems)
    listed = read_infos(file)
    split = "all" if layout is _LAYOUTS["LaSOT"] else asked.split
    named = frozenset(base / annotation for annotation in listed)
    found = layout.read(base, asked._replace(split=split, named=named))
    return listed_sequences(file, base, listed, found, asked.problems)


def find_sot(data_root: str | Path, benchmark: SotBenchmark, split: SotSplit) -> Path:
    """The benchmark's folder in ``data_root``, or ``data_root`` itself if it is one."""
    root, folders = user_path(data_root), _LAYOUTS[benchmark].folders
    sign = _LAYOUTS[benchmark].sign.format(split=split, upper=split.upper())
    for candidate in (*(root / folder for folder in folders), root):
        if candidate.is_dir() and next(candidate.glob(sign), None) is not None:
            return candidate
    looked = " or ".join(f"{root}{below}/{sign}" for below in (*(f"/{f}" for f in folders), ""))
    raise DataError(str(root), f"no {benchmark} here: looked for {looked}")


def _read_lasot(base: Path, asked: Asked) -> Iterator[SotSequence]:
    listing, listed = (base, []) if asked.split == "all" else lasot_test_names(base)
    found: dict[str, Path] = {}
    for folder in asked.folders(base, "*/*/groundtruth.txt"):
        other = found.setdefault(folder.name, folder)
        with noting(asked.problems):
            if other != folder:
                raise DataError(str(folder), f"{other} has the same name; results could not tell")
    names = listed if asked.split == "test" else sorted(found.keys() - set(listed))
    missing = [name for name in names if name not in found]
    with noting(asked.problems):
        if missing:
            count = f"{len(missing)} of its {len(listed)} sequences"
            first = f"are not here, {missing[0]} the first"
            raise DataError(str(listing), f"{count} {first}")
    for name in (each for each in names if each in found):
        with noting(asked.problems):
            flags = None if asked.attributes is None else asked.attributes / f"{name}.txt"
            yield _lasot_sequence(found[name], flags)


def _lasot_sequence(folder: Path, attributes: Path | None) -> SotSequence:
    boxes_xyxy = read_boxes(folder / "groundtruth.txt")
    # A box without area is nothing to be found, whatever the flags say.
    x1, y1, x2, y2 = boxes_xyxy.T
    absent = (x2 <= x1) | (y2 <= y1)
    for file in ("full_occlusion.txt", "out_of_view.txt"):
        absent |= read_flags(folder / file, len(absent))
    return trackable_sequence(
        folder.name,
        folder,
        "img/{:08d}.jpg",
        boxes_xyxy,
        annotation=folder / "groundtruth.txt",
        absent=absent,
        attributes=_NONE if attributes is None else read_attributes(attributes, "LaSOT"),
    )


def _read_otb(base: Path, asked: Asked) -> Iterator[SotSequence]:
    for folder in asked.folders(base, "*/groundtruth_rect*.txt"):
        video = folder.name
        files = sorted(path.name for path in folder.glob("groundtruth_rect*.txt"))
        for file in _OTB_TARGETS.get(video, files):
            if not asked.wants(folder / file):
                continue
            number = file.removeprefix("groundtruth_rect").removesuffix(".txt").lstrip(".")
            with noting(asked.problems):
                yield trackable_sequence(
                    f"{video}-{number}" if number else video,
                    folder,
                    f"img/{{:0{_OTB_DIGITS.get(video, 4)}d}}.jpg",
                    read_boxes(folder / file)[_OTB_OMITTED.get(video, 0) :],
                    annotation=folder / file,
                    start=_OTB_STARTS.get(video, 1),
                    cut=True,
                )


def _read_uav(base: Path, asked: Asked) -> Iterator[SotSequence]:
    for file in filter(asked.wants, text_files(base / "anno/UAV123")):
        with noting(asked.problems):
            yield _uav_sequence(base / "data_seq/UAV123", file, asked.attributes)


def _uav_sequence(videos: Path, file: Path, attributes: Path | None) -> SotSequence:
    video, _, part = file.stem.rpartition("_")
    starts = UAV_STARTS.get(video, ()) if part.isdecimal() else ()
    if not starts:
        video, start = file.stem, 1
    elif 1 <= int(part) <= len(starts):
        start = starts[int(part) - 1]
    else:
        raise DataError(str(file), f"{video} has sequences 1 to {len(starts)}, not {part}")
    flags = (attributes or file.parent / "att") / file.name
    # Those beside the annotations are read if they are there, those asked for must be.
    known = attributes is not None or os.path.lexists(flags)
    return trackable_sequence(
        file.stem,
        videos / video,
        "{:06d}.jpg",
        read_boxes(file, nan=True),
        annotation=file,
        start=start,
        cut=True,
        attributes=read_attributes(flags, "UAV123") if known else _NONE,
    )


def _read_trackingnet(base: Path, asked: Asked) -> Iterator[SotSequence]:
    for part in sorted(base.glob("TEST" if asked.split == "test" else "TRAIN_*"), key=by_number):
        for file in filter(asked.wants, text_files(part / "anno")):
            folder = part / "frames" / file.stem
            with noting(asked.problems):
                frames = count_images(folder, 0) if asked.split == "test" else None
                yield trackable_sequence(
                    file.stem,
                    folder,
                    "{}.jpg",
                    read_boxes(file),
                    annotation=file,
                    start=0,
                    frames=frames,
                )


def _read_got10k(base: Path, asked: Asked) -> Iterator[SotSequence]:
    for folder in asked.listed(base / asked.split):
        absence = folder / "absence.label"
        with noting(asked.problems):
            frames = count_images(folder, 1) if asked.split == "test" else None
            file = folder / "groundtruth.txt"
            boxes_xyxy = read_boxes(file)
            told = len(boxes_xyxy) if frames is None else frames
            absent = read_flags(absence, told) if os.path.lexists(absence) else None
            yield trackable_sequence(
                folder.name,
                folder,
                "{:08d}.jpg",
                boxes_xyxy,
                annotation=file,
                frames=frames,
                absent=absent,
            )


def _read_vot(base: Path, asked: Asked) -> Iterator[SotSequence]:
    for folder in asked.listed(base):
        with noting(asked.problems):
            file = folder / "groundtruth.txt"
            yield trackable_sequence(
                folder.name,
                folder,
                "color/{:08d}.jpg",
                read_boxes(file, polygons=True),
                annotation=file,
            )


@dataclass(frozen=True, kw_only=True)
class _Layout:
    folders: tuple[str, ...]
    """Below the data root: as it unpacks, then as MMTracking's guide has it."""
    sign: str
    """Pattern of what such a folder holds."""
    splits: tuple[str, ...]
    read: Callable[[Path, Asked], Iterator[SotSequence]]


_LAYOUTS = {
    "LaSOT": _Layout(
        folders=("LaSOTBenchmark", "lasot/LaSOTBenchmark"),
        sign="*/*/groundtruth.txt",
        splits=("train", "test"),
        read=_read_lasot,
    ),
    "OTB100": _Layout(
        folders=("OTB100", "otb100/data"),
        sign="*/groundtruth_rect*.txt",
        splits=("test",),
        read=_read_otb,
    ),
    "UAV123": _Layout(
        folders=("UAV123",), sign="anno/UAV123/*.txt", splits=("test",), read=_read_uav
    ),
    "TrackingNet": _Layout(
        folders=("TrackingNet", "trackingnet"),
        sign="{upper}*/anno",
        splits=("train", "test"),
        read=_read_trackingnet,
    ),
    "GOT-10k": _Layout(
        folders=("GOT-10k", "got10k"),
        sign="{split}/*/groundtruth.txt",
        splits=("train", "val", "test"),
        read=_read_got10k,
    ),
    "VOT2018": _Layout(
        folders=("VOT2018", "vot2018/data"),
        sign="*/groundtruth.txt",
        splits=("test",),
        read=_read_vot,
    ),
}
_NONE: frozenset[str] = frozenset()
