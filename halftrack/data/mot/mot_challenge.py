"""MOT15, MOT16, MOT17 and MOT20 as downloaded: sequences, ground truth and public detections.

The boxes and the choice of rows agree with MMTracking 0.14's mot2coco, which takes left and top as
they are written: the 1 of 1-based pixels is not subtracted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from halftrack.data.files import is_clutter, require_utf8, user_path
from halftrack.data.image_header import header_of
from halftrack.data.mot.classes import CLASS_NAMES, class_numbers, names_beside
from halftrack.data.mot.coco_json import read_json
from halftrack.data.mot.config import Benchmark, Detectors, MotSplit
from halftrack.data.mot.pickled import PickledDetections
from halftrack.data.mot.records import DEFAULT_FRAME_RATE, MotRows, MotSequence
from halftrack.data.mot.scoring import lacking, unscorable
from halftrack.data.mot.tables import read_detections, read_truth
from halftrack.data.problems import (
    DataError,
    OnBadSample,
    Problem,
    SkipLedger,
    noting,
    settle_problems,
)
from halftrack.data.tables.seqinfo import read_seqinfo
from halftrack.errors import UserError

__all__ = [
    "find_mot",
    "find_split",
    "read_mot",
    "read_sequence",
    "read_usable_mot",
    "with_truth",
]

_DETECTOR = re.compile(r"-(DPM|FRCNN|SDP)$")


def read_mot(
    data_root: str | Path,
    split: MotSplit,
    *,
    benchmark: Benchmark = "MOT17",
    detectors: Detectors = "all",
    classes: tuple[str, ...] = ("pedestrian",),
    detections: bool | Path = False,
    json: str = "",
    problems: list[Problem] | None = None,
) -> tuple[MotSequence, ...]:
    """The sequences of a split, sorted by name.

    Args:
        data_root: the folder that contains the benchmark's folder, or that folder itself.
        split: which frames.
        benchmark: which data set.
        detectors: which of MOT17's three copies of each video; sequences whose name does not end
            in a detector's are always kept.
        classes: those that are learned, tracked and scored; the rows of others are kept.
        detections: read ``det/det.txt`` too, or in its place MMTracking's pickle at this path.
        json: a CocoVID file below the benchmark's folder that says which sequences and frames these
            are and where people are, in the place of ``seqinfo.ini`` and ``gt.txt``.
        problems: sequences that cannot be used are left out and noted here; None raises the first.

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
    parent = find_split(data_root, split, benchmark=benchmark)
    source = PickledDetections(detections) if isinstance(detections, Path) else detections
    if json:
        found = read_json(parent.parent / json, parent, problems, classes)
    else:
        found = _read_folders(parent, split, benchmark, detectors, classes, problems)
    sequences = []
    for each in found:
        with noting(problems):
            sequences.append(_with_detections(each, source) if source else each)
    return tuple(sequences)


def read_usable_mot(
    data_root: str | Path,
    split: MotSplit,
    *,
    benchmark: Benchmark,
    detectors: Detectors,
    classes: tuple[str, ...] = ("pedestrian",),
    on_bad_sample: OnBadSample,
    skipped: SkipLedger,
    detections: bool | Path = False,
    json: str = "",
    truth: bool = False,
    scored: bool = False,
) -> tuple[MotSequence, ...]:
    """The sequences of a split that can be used, others raised or left out and listed.

    Args:
        data_root: as of ``read_mot``, like ``split``, ``benchmark`` and ``detectors``.
        split: which frames.
        benchmark: which data set.
        detectors: which of MOT17's copies.
        classes: as of ``read_mot``.
        on_bad_sample: what becomes of a sequence that cannot be used.
        skipped: told what was left out.
        detections: each needs public detections, of ``det/det.txt`` or of this pickle.
        json: as of ``read_mot``.
        truth: each needs ground truth.
        scored: each needs ground truth that can be scored, unless none has any.

    Raises:
        DataError: for the first problem that is not skipped, and if no sequence is left.
    """
    problems: list[Problem] = []
    sequences = read_mot(
        data_root,
        split,
        benchmark=benchmark,
        detectors=detectors,
        classes=classes,
        detections=detections,
        json=json,
        problems=problems,
    )
    lacks = lacking(sequences, truth=truth, detections=detections)
    if scored:
        lacks |= unscorable(sequences, benchmark)
    problems += lacks.values()
    settle_problems(problems, on_bad_sample, skipped)
    usable = tuple(each for each in sequences if each.folder not in lacks)
    if not usable:
        raise DataError(problems[0].file, f"{problems[0].reason}; no sequence is left")
    return usable


def find_split(data_root: str | Path, split: MotSplit, *, benchmark: Benchmark) -> Path:
    """The folder of a split's sequences, those of half a video with the whole; reads no file.

    Raises:
        DataError: if it is not there.
    """
    part = "test" if split == "test" else "train"
    return find_mot(data_root, benchmark, part) / part


def find_mot(data_root: str | Path, benchmark: Benchmark, part: str) -> Path:
    """The benchmark's folder in ``data_root``, or ``data_root`` itself if it is one.

    Raises:
        DataError: if neither holds the folder ``part``.
    """
    root = user_path(data_root)
    other = ""
    for candidate in (root / benchmark, root):
        # A folder of another benchmark has the same parts.
        if candidate.name in get_args(Benchmark) and candidate.name != benchmark:
            continue
        if (candidate / part).is_dir():
            return candidate
        if part == "test" and (candidate / "train").is_dir():
            other = f"; {candidate}/train is there: its splits are train, half-train and half-val"
    looked = " or ".join(f"{root}{below}/{part}" for below in (f"/{benchmark}", ""))
    raise DataError(str(root), f"no {benchmark} here: looked for {looked}{other}")


def _read_folders(
    parent: Path,
    split: MotSplit,
    benchmark: Benchmark,
    detectors: Detectors,
    classes: tuple[str, ...],
    problems: list[Problem] | None,
) -> tuple[MotSequence, ...]:
    """The sequences of a folder as MOTChallenge has them."""
    folders = sorted(
        folder for folder in parent.iterdir() if folder.is_dir() and not is_clutter(folder.name)
    )
    kept = [folder for folder in folders if _wanted(folder.name, detectors)]
    if not kept:
        found = ", ".join(folder.name for folder in folders) or "no folder"
        raise DataError(str(parent), f"no sequence with detectors={detectors!r}, only {found}")
    sequences = []
    for folder in kept:
        with noting(problems):
            sequences.append(read_sequence(folder, split, benchmark, classes))
    return tuple(sequences)


def _wanted(name: str, detectors: Detectors) -> bool:
    detector = _DETECTOR.search(name)
    return detectors == "all" or detector is None or detector[1] == detectors


def read_sequence(
    folder: Path,
    split: MotSplit,
    benchmark: Benchmark,
    classes: tuple[str, ...] = ("pedestrian",),
) -> MotSequence:
    """One sequence, of its own folder; arguments as of ``read_mot``.

    Raises:
        DataError: if a file is missing or malformed.
    """
    require_utf8(str(folder))
    file = folder / "seqinfo.ini"
    info = read_seqinfo(file)
    num_frames = info.num_frames
    if num_frames is None:
        raise DataError(str(file), "seqLength is missing: the number of frames, counted from 1")
    half = num_frames // 2 + 1
    frame_numbers = range(1, num_frames + 1)
    if split == "half-train":
        frame_numbers = range(1, half + 1)
    elif split == "half-val":
        frame_numbers = range(half + 1, num_frames + 1)
    sequence = MotSequence(
        name=folder.name,
        folder=folder,
        frame_numbers=frame_numbers,
        size=(0, 0) if info.size is None else info.size,
        frame_rate=info.frame_rate or DEFAULT_FRAME_RATE,
        image_folder=info.image_folder,
        image_ending=info.image_ending,
        num_frames=num_frames,
    )
    _check_length(sequence, num_frames)
    if info.size is None:
        header = header_of(sequence.path(1))
        sequence = replace(sequence, size=(header.height, header.width))
    if not os.path.lexists(sequence.truth_file):
        return sequence
    return with_truth(sequence, sequence.truth_file, benchmark, classes)


def with_truth(
    sequence: MotSequence, file: Path, benchmark: Benchmark, classes: Sequence[str]
) -> MotSequence:
    """The sequence with the ground truth of a ``gt.txt``, and the classes that are named beside it.

    Raises:
        DataError: if the table, or its list of classes, is missing or malformed.
    """
    names = names_beside(file)
    numbers = class_numbers(classes, names)
    last = max(len(CLASS_NAMES), len(names), *numbers)
    rows, odd = read_truth(file, sequence.num_frames, sequence.size, benchmark, last)
    return replace(
        sequence,
        classes=tuple(classes),
        numbers=numbers,
        class_names=names,
        truth=_within(rows, sequence.frame_numbers),
        odd={what: count for what, count in odd.items() if count},
    )


def _with_detections(sequence: MotSequence, source: PickledDetections | bool) -> MotSequence:
    """The sequence with its public detections, where there are any."""
    if isinstance(source, PickledDetections):
        named = source.rows(sequence)
        if named is None:
            return sequence
        (rows, odd), file = named, source.file
    else:
        file = sequence.folder / "det" / "det.txt"
        if not os.path.lexists(file):
            return sequence
        rows, odd = read_detections(file, sequence.num_frames, sequence.size)
        rows = _within(rows, sequence.frame_numbers)
    counts = {f"{what} ({file.name})": count for what, count in odd.items() if count}
    return replace(sequence, detections=rows, odd={**sequence.odd, **counts})


def _check_length(sequence: MotSequence, num_frames: int) -> None:
    """Check that there are as many images as ``seqLength`` says, by three looks at the disk.

    Without any image nothing is said: result files are scored on ground truth alone.
    """
    first, last, after = (Path(sequence.path(number)) for number in (1, num_frames, num_frames + 1))
    told = f"but seqLength={num_frames} in {sequence.folder / 'seqinfo.ini'}"
    if after.exists():
        raise DataError(str(after), f"there is an image of frame {num_frames + 1}, {told}")
    if first.exists() and not last.exists():
        raise DataError(str(last), f"image of the last frame is missing, {told}")


def _within(rows: MotRows, frame_numbers: range) -> MotRows:
    first, stop = frame_numbers.start, frame_numbers.stop
    within = (rows.frame_numbers >= first) & (rows.frame_numbers < stop)
    return rows if within.all() else rows.select(within)
