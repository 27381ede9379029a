"""LaSOT, OTB100, UAV123, TrackingNet, GOT-10k and VOT2018 as downloaded, one target a sequence.

The boxes agree with MMTracking 0.14, which takes left and top as they are written: the 1 of 1-based
pixels is not subtracted. Which frames of OTB100 and UAV123 belong to a sequence is also its choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from halftrack.data.files import user_path
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.sot.config import SotBenchmark, SotSplit
from halftrack.data.sot.folders import (
    by_number,
    count_images,
    folders_of,
    lasot_test_names,
    listed_folders,
    named_once,
    text_files,
)
from halftrack.data.sot.sequences import SotSequence, trackable_sequence
from halftrack.data.sot.text import read_boxes, read_flags
from halftrack.errors import UserError

__all__ = ["read_sot"]


Problems = list[Problem] | None

# The number of the first image, where it is not 1. The videos are longer than the sequences.
_OTB_STARTS = {"BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18, "David": 300, "Tiger1": 6}
# OTB's initOmit: the first boxes of Tiger1 are written but not used.
_OTB_OMITTED = {"Tiger1": 5}
_OTB_DIGITS = {"Board": 5}
# Human4 shows two people, of whom the benchmark follows the second.
_OTB_TARGETS = {"Human4": ("groundtruth_rect.2.txt",)}
# Where each sequence begins that is cut from a longer video, <video>_1, <video>_2, ...
_UAV_STARTS = {
    "bird1": (1, 775, 1573),
    "car1": (1, 751, 1627),
    "car16": (1, 415),
    "car6": (1, 487, 1807, 2953, 3925),
    "car8": (1, 1357),
    "group1": (1, 1333, 2515, 3925),
    "group2": (1, 907, 1771),
    "group3": (1, 1567, 2827, 4369),
    "person12": (1, 601),
    "person14": (1, 847, 1813),
    "person17": (1, 1501),
    "person19": (1, 1243, 2791),
    "person2": (1, 1189),
    "person4": (1, 1501),
    "person5": (1, 877),
    "person7": (1, 1249),
    "person8": (1, 1075),
    "truck4": (1, 577),
    "uav1": (1, 1555, 2473),
}
# The order of the flags in the files of LaSOT's kit and of UAV123.
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "LaSOT": (
        *("IV", "POC", "DEF", "MB", "CM", "ROT", "BC"),
        *("VC", "SV", "FOC", "FM", "OV", "LR", "ARC"),
    ),
    "UAV123": ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB"),
}


def read_sot(
    data_root: str | Path,
    benchmark: SotBenchmark,
    split: SotSplit = "test",
    *,
    attributes: str | Path | None = None,
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
    if attributes is not None and benchmark not in _ATTRIBUTES:
        raise UserError(
            f"attributes={str(attributes)!r}: known are those of {', '.join(_ATTRIBUTES)}, "
            f"not of {benchmark}"
        )
    base = _find(data_root, benchmark, layout.sign.format(split=split, upper=split.upper()))
    flags = None if attributes is None else Path(attributes).expanduser()
    sequences = named_once(layout.read(base, split, flags, problems), problems)
    if not sequences and not problems:
        others = ", ".join(repr(other) for other in layout.splits if other != split)
        hint = f"; other splits are {others}" if others else ""
        raise DataError(str(base), f"no sequence of {benchmark} {split} here{hint}")
    return sequences


def _find(data_root: str | Path, benchmark: str, sign: str) -> Path:
    """The benchmark's folder in ``data_root``, or ``data_root`` itself if it is one."""
    root = user_path(data_root)
    folders = _LAYOUTS[benchmark].folders
    for candidate in (*(root / folder for folder in folders), root):
        if candidate.is_dir() and next(candidate.glob(sign), None) is not None:
            return candidate
    looked = " or ".join(f"{root}{below}/{sign}" for below in (*(f"/{f}" for f in folders), ""))
    raise DataError(str(root), f"no {benchmark} here: looked for {looked}")


def _read_lasot(
    base: Path, split: str, attributes: Path | None, problems: Problems
) -> Iterator[SotSequence]:
    listing, listed = lasot_test_names(base)
    found: dict[str, Path] = {}
    for folder in folders_of(base, "*/*/groundtruth.txt"):
        other = found.setdefault(folder.name, folder)
        with noting(problems):
            if other != folder:
                raise DataError(str(folder), f"{other} has the same name; results could not tell")
    names = listed if split == "test" else sorted(found.keys() - set(listed))
    missing = [name for name in names if name not in found]
    with noting(problems):
        if missing:
            count = f"{len(missing)} of its {len(listed)} sequences"
            first = f"are not here, {missing[0]} the first"
            raise DataError(str(listing), f"{count} {first}")
    for name in (each for each in names if each in found):
        with noting(problems):
            flags = None if attributes is None else attributes / f"{name}.txt"
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
        absent=absent,
        attributes=_NONE if attributes is None else _read_attributes(attributes, "LaSOT"),
    )


def _read_otb(
    base: Path, _split: str, _attributes: Path | None, problems: Problems
) -> Iterator[SotSequence]:
    for folder in folders_of(base, "*/groundtruth_rect*.txt"):
        video = folder.name
        files = sorted(path.name for path in folder.glob("groundtruth_rect*.txt"))
        for file in _OTB_TARGETS.get(video, files):
            number = file.removeprefix("groundtruth_rect").removesuffix(".txt").lstrip(".")
            with noting(problems):
                yield trackable_sequence(
                    f"{video}-{number}" if number else video,
                    folder,
                    f"img/{{:0{_OTB_DIGITS.get(video, 4)}d}}.jpg",
                    read_boxes(folder / file)[_OTB_OMITTED.get(video, 0) :],
                    start=_OTB_STARTS.get(video, 1),
                    cut=True,
                )


def _read_uav(
    base: Path, _split: str, attributes: Path | None, problems: Problems
) -> Iterator[SotSequence]:
    for file in text_files(base / "anno/UAV123"):
        with noting(problems):
            yield _uav_sequence(base / "data_seq/UAV123", file, attributes)


def _uav_sequence(videos: Path, file: Path, attributes: Path | None) -> SotSequence:
    video, _, part = file.stem.rpartition("_")
    starts = _UAV_STARTS.get(video, ()) if part.isdecimal() else ()
    if not starts:
        video, start = file.stem, 1
    elif 1 <= int(part) <= len(starts):
        start = starts[int(part) - 1]
    else:
        raise DataError(str(file), f"{video} has sequences 1 to {len(starts)}, not {part}")
    flags = (attributes or file.parent / "att") / file.name
    # Those beside the annotations are read if they are there, those asked for must be.
    known = attributes is not None or flags.exists()
    return trackable_sequence(
        file.stem,
        videos / video,
        "{:06d}.jpg",
        read_boxes(file, nan=True),
        start=start,
        cut=True,
        attributes=_read_attributes(flags, "UAV123") if known else _NONE,
    )


def _read_trackingnet(
    base: Path, split: str, _attributes: Path | None, problems: Problems
) -> Iterator[SotSequence]:
    for part in sorted(base.glob("TEST" if split == "test" else "TRAIN_*"), key=by_number):
        for file in text_files(part / "anno"):
            folder = part / "frames" / file.stem
            with noting(problems):
                frames = count_images(folder, 0) if split == "test" else None
                yield trackable_sequence(
                    file.stem, folder, "{}.jpg", read_boxes(file), start=0, frames=frames
                )


def _read_got10k(
    base: Path, split: str, _attributes: Path | None, problems: Problems
) -> Iterator[SotSequence]:
    for folder in listed_folders(base / split):
        absence = folder / "absence.label"
        with noting(problems):
            frames = count_images(folder, 1) if split == "test" else None
            boxes_xyxy = read_boxes(folder / "groundtruth.txt")
            told = len(boxes_xyxy) if frames is None else frames
            absent = read_flags(absence, told) if absence.exists() else None
            yield trackable_sequence(
                folder.name, folder, "{:08d}.jpg", boxes_xyxy, frames=frames, absent=absent
            )


def _read_vot(
    base: Path, _split: str, _attributes: Path | None, problems: Problems
) -> Iterator[SotSequence]:
    for folder in listed_folders(base):
        with noting(problems):
            boxes_xyxy = read_boxes(folder / "groundtruth.txt", polygons=True)
            yield trackable_sequence(folder.name, folder, "color/{:08d}.jpg", boxes_xyxy)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    folders: tuple[str, ...]
    """Below the data root: as it unpacks, then as MMTracking's guide has it."""
    sign: str
    """Pattern of what such a folder holds."""
    splits: tuple[str, ...]
    read: Callable[[Path, str, Path | None, Problems], Iterator[SotSequence]]
    """From folder, split, folder of attributes, and where problems are noted."""


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


def _read_attributes(file: Path, benchmark: str) -> frozenset[str]:
    names = _ATTRIBUTES[benchmark]
    flags = read_flags(file, len(names))
    return frozenset(name for name, flag in zip(names, flags, strict=True) if flag)
