"""MOT15, MOT16, MOT17 and MOT20 as downloaded: sequences, ground truth and public detections.

The boxes and the choice of rows agree with MMTracking 0.14's mot2coco, which takes left and top as
they are written: the 1 of 1-based pixels is not subtracted.
"""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import get_args

import numpy as np

from halftrack.data.images import load_image
from halftrack.data.mot.config import Benchmark, Detectors, MotSplit
from halftrack.data.mot.records import DEFAULT_FRAME_RATE, Doubles, MotRows, MotSequence
from halftrack.data.problems import DataError
from halftrack.errors import UserError

__all__ = ["read_mot"]

_DETECTOR = re.compile(r"-(DPM|FRCNN|SDP)$")
_TRUTH_COLUMNS = 9


def read_mot(
    data_root: str | Path,
    split: MotSplit,
    *,
    benchmark: Benchmark = "MOT17",
    detectors: Detectors = "all",
    detections: bool = False,
) -> tuple[MotSequence, ...]:
    """The sequences of a split, sorted by name.

    Args:
        data_root: the folder that contains the benchmark's folder, or that folder itself.
        split: which frames.
        benchmark: which data set.
        detectors: which of MOT17's three copies of each video; sequences whose name does not end
            in a detector's are always kept.
        detections: read ``det/det.txt`` too.

    Raises:
        DataError: if the tree is missing, or a file is missing or malformed.
        ValueError: if an argument is not one of those allowed.
    """
    for name, value, allowed in (
        ("benchmark", benchmark, get_args(Benchmark)),
        ("split", split, get_args(MotSplit)),
        ("detectors", detectors, get_args(Detectors)),
    ):
        if value not in allowed:
            raise UserError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed))}")
    part = "test" if split == "test" else "train"
    parent = _find_mot(data_root, benchmark, part) / part
    folders = sorted(folder for folder in parent.iterdir() if folder.is_dir())
    kept = [folder for folder in folders if _wanted(folder.name, detectors)]
    if not kept:
        found = ", ".join(folder.name for folder in folders) or "no folder"
        raise DataError(str(parent), f"no sequence with detectors={detectors!r}, only {found}")
    return tuple(_read_sequence(folder, split, detections=detections) for folder in kept)


def _find_mot(data_root: str | Path, benchmark: Benchmark, part: str) -> Path:
    """The benchmark's folder in ``data_root``, or ``data_root`` itself if it is one.

    Raises:
        DataError: if neither holds the folder ``part``.
    """
    root = Path(data_root).expanduser().resolve()
    for candidate in (root / benchmark, root):
        # A folder of another benchmark has the same parts.
        foreign = candidate.name in get_args(Benchmark) and candidate.name != benchmark
        if (candidate / part).is_dir() and not foreign:
            return candidate
    looked = " or ".join(f"{root}{below}/{part}" for below in (f"/{benchmark}", ""))
    raise DataError(str(root), f"no {benchmark} here: looked for {looked}")


def _wanted(name: str, detectors: Detectors) -> bool:
    detector = _DETECTOR.search(name)
    return detectors == "all" or detector is None or detector[1] == detectors


def _read_sequence(folder: Path, split: MotSplit, *, detections: bool) -> MotSequence:
    file = folder / "seqinfo.ini"
    section = _read_section(file)
    num_frames = int(_positive(section, "seqLength", file))
    half = num_frames // 2 + 1
    frame_numbers = range(1, num_frames + 1)
    if split == "half-train":
        frame_numbers = range(1, half + 1)
    elif split == "half-val":
        frame_numbers = range(half + 1, num_frames + 1)
    truth, found = folder / "gt" / "gt.txt", folder / "det" / "det.txt"
    images, ending = section.get("imDir", "img1"), section.get("imExt", ".jpg")
    if "imHeight" in section and "imWidth" in section:
        height = int(_positive(section, "imHeight", file))
        width = int(_positive(section, "imWidth", file))
    else:
        height, width = load_image(folder / images / f"{1:06d}{ending}").shape[-2:]
    return MotSequence(
        name=folder.name,
        folder=folder,
        frame_numbers=frame_numbers,
        size=(height, width),
        frame_rate=_positive(section, "frameRate", file, default=DEFAULT_FRAME_RATE),
        image_folder=images,
        image_ending=ending,
        truth=_read_rows(truth, num_frames, frame_numbers, truth=True),
        detections=_read_rows(found, num_frames, frame_numbers) if detections else None,
    )


def _read_section(file: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(file, encoding="utf-8-sig") as stream:
            parser.read_file(stream)
        return parser["Sequence"]
    except FileNotFoundError:
        raise DataError(str(file), "file is missing") from None
    except KeyError:
        found = ", ".join(parser.sections()) or "none"
        raise DataError(str(file), f"expected a section [Sequence], found {found}") from None
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(str(file), f"cannot be read: {reason}") from None


def _positive(
    section: configparser.SectionProxy, key: str, file: Path, *, default: float | None = None
) -> float:
    text = section.get(key)
    if text is None:
        if default is None:
            raise DataError(str(file), f"{key} is missing; it holds {', '.join(section)}")
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < np.inf:
        raise DataError(str(file), f"{key}={text}: expected a positive number")
    return number


def _read_rows(
    file: Path, num_frames: int, frame_numbers: range, *, truth: bool = False
) -> MotRows | None:
    """The rows of some frames; None if there is no such file."""
    if not file.exists():
        return None
    table = _read_table(file)
    _check_table(table, file, num_frames, truth=truth)
    ones = np.ones(len(table))
    flags, classes, visibility, scores = ones, ones, ones, ones
    if truth:
        flags = table[:, 6]
        # MOT15 has three world coordinates in the place of class and visibility.
        if table.shape[1] == _TRUTH_COLUMNS:
            classes, visibility = table[:, 7], table[:, 8]
    else:
        scores = table[:, 6]
    rows = MotRows(
        frame_numbers=table[:, 0].astype(np.int64),
        ids=table[:, 1].astype(np.int64),
        boxes_ltwh=table[:, 2:6],
        flags=flags != 0,
        classes=classes.astype(np.int64),
        visibility=visibility,
        scores=scores,
    )
    if len(frame_numbers) == num_frames:
        return rows
    first, stop = frame_numbers.start, frame_numbers.stop
    return rows.select((rows.frame_numbers >= first) & (rows.frame_numbers < stop))


def _read_table(file: Path) -> Doubles:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(file), f"cannot be read: {error}") from None
    numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbers:
        return np.empty((0, _TRUTH_COLUMNS))
    if len(numbers) < len(lines):
        # Line numbers in errors count lines as an editor does: blank ones may only end a file.
        if numbers[-1] > len(numbers):
            blank = next(n for n, line in enumerate(lines, start=1) if not line.strip())
            raise DataError(str(file), f"line {blank} is empty")
        lines = lines[: len(numbers)]
    try:
        return np.loadtxt(lines, delimiter=",", ndmin=2, comments=None)
    except ValueError:
        raise DataError(str(file), _what_is_wrong(lines)) from None


def _what_is_wrong(lines: list[str]) -> str:
    """The first line that is no row of numbers like the one before it."""
    width = lines[0].count(",")
    for number, line in enumerate(lines, start=1):
        values = line.split(",")
        if len(values) != width + 1:
            told = f"{len(values)} columns, the lines before it have {width + 1}"
            return f"line {number}, {line!r}: {told}"
        for value in values:
            try:
                float(value)
            except ValueError:
                return f"line {number}, {line!r}: {value.strip()!r} is not a number"
    return "is not a table of numbers separated by commas"


def _check_table(table: Doubles, file: Path, num_frames: int, *, truth: bool) -> None:
    columns = table.shape[1]
    # Detections have a confidence and perhaps three fillers; so has MOT15's ground truth.
    allowed = (_TRUTH_COLUMNS, 7, 10) if truth else range(7, 11)
    if columns not in allowed:
        layout = "frame, id, left, top, width, height, "
        layout += "flag, class, visibility" if truth else "confidence"
        raise DataError(str(file), f"{columns} columns; expected {layout}")
    frames = table[:, 0]
    wrong = [
        (~np.isfinite(table).all(axis=1), "a value is not finite"),
        ((table[:, :2] % 1 != 0).any(axis=1), "frame and id must be whole numbers"),
        ((frames < 1) | (frames > num_frames), f"expected a frame of 1 to {num_frames}"),
    ]
    for rows, reason in wrong:
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            text = file.read_text(encoding="utf-8-sig").splitlines()[row]
            raise DataError(str(file), f"line {row + 1}, {text!r}: {reason}")
