"""Is a user's data complete and readable? Counts of everything, and every problem with its file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from halftrack.data.annotation_xml import Progress
from halftrack.data.config import VidDataConfig
from halftrack.data.images import load_image
from halftrack.data.index import VideoIndex
from halftrack.data.mot_challenge import LeftOutRows, MotSequence, learned_rows, read_mot
from halftrack.data.mot_config import MotDetectionConfig, ReIDDataConfig
from halftrack.data.problems import DataError, Problem

__all__ = ["DataReport", "SetReport", "check"]


@dataclass(frozen=True, kw_only=True)
class SetReport:
    """What one data set holds and what is wrong with it."""

    name: str
    """``train vid``, ``train det``, ``val vid``, or a MOTChallenge split."""
    videos: int
    """Videos, or stills."""
    frames: int
    """Frames with a readable annotation."""
    key_frames: int
    """Frames that training could learn from; 0 for ImageNet's validation."""
    boxes_per_class: dict[str, int]
    """Usable boxes of each class."""
    unknown_objects: int
    """Objects of classes not asked for, left out."""
    degenerate_boxes: int
    """Boxes under one pixel wide or high or, in MOTChallenge, outside their image; left out."""
    overhanging_boxes: int
    """Boxes that reach outside their image, clipped."""
    problems: tuple[Problem, ...]
    """Everything that training or testing would stop at."""


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The findings of ``check``."""

    sets: tuple[SetReport, ...]
    """One report a data set."""
    decoded: bool
    """True if every image was decoded, not only looked for."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems of all sets."""
        return tuple(problem for report in self.sets for problem in report.problems)

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems

    def lines(self, limit: int = 50) -> list[str]:
        """Text for people, with at most ``limit`` problems of each set."""
        lines = []
        for report in self.sets:
            present = {name: n for name, n in report.boxes_per_class.items() if n}
            boxes = ", ".join(f"{name} {n}" for name, n in present.items()) or "none"
            lines += [
                f"{report.name}: {report.videos} videos, {report.frames} frames, "
                f"{report.key_frames} key frames",
                f"  boxes: {boxes}",
                f"  left out: {report.unknown_objects} objects of other classes, "
                f"{report.degenerate_boxes} boxes under one pixel or outside; "
                f"clipped: {report.overhanging_boxes} boxes that reach outside their image",
                f"  problems: {len(report.problems)}",
            ]
            lines += [f"    {problem}" for problem in report.problems[:limit]]
            if len(report.problems) > limit:
                lines.append(f"    ... and {len(report.problems) - limit} more")
        images = "decoded" if self.decoded else "looked for, not decoded"
        return [*lines, f"images were {images}; {'all is well' if self.ok else 'see problems'}"]


def check(
    data_root: str | Path,
    config: VidDataConfig | MotDetectionConfig | ReIDDataConfig,
    *,
    decode: bool = False,
    processes: int = 0,
    threads: int = 4,
    progress: Progress | None = None,
) -> DataReport:
    """Read all annotations and look for all images of the sets that ``config`` names.

    Args:
        data_root: the folder that contains ``ILSVRC`` (or ``MOT17``, ...), or that folder itself.
        config: which sets, classes and rules.
        decode: decode every image too, and compare its size with the annotation.
        processes: how many processes parse annotations.
        threads: how many threads look at images.
        progress: told (done, in all) for the videos of a set, then for its images.

    Raises:
        DataError: if there is no data set to look at. Everything smaller is in the report.
    """
    if not isinstance(config, VidDataConfig):
        return _check_mot(data_root, config, decode=decode, threads=threads, progress=progress)
    training = config.training_indexes(data_root, processes=processes, progress=progress)
    named = [
        (f"train {name}", index) for name, index in zip(config.training_sets, training, strict=True)
    ]
    named.append(("val vid", config.test_index(data_root, processes=processes, progress=progress)))
    look: Callable[[VideoIndex, int], Problem | None] = _decode if decode else _look_for
    reports = []
    for name, index in named:
        with ThreadPoolExecutor(threads) as pool:
            # Piece by piece: a million frames would be a million waiting futures.
            pieces = (
                range(i, min(i + 4096, index.num_frames)) for i in range(0, index.num_frames, 4096)
            )
            found = (p for piece in pieces for p in pool.map(partial(look, index), piece))
            bad_images = []
            for done, problem in enumerate(found, start=1):
                if problem is not None:
                    bad_images.append(problem)
                if progress is not None:
                    progress(done, index.num_frames)
        keys = index.training_keys(min_size=config.min_size) if name.startswith("train") else ()
        counts = np.bincount(index.labels, minlength=len(index.classes))
        reports.append(
            SetReport(
                name=name,
                videos=index.num_videos,
                frames=index.num_frames,
                key_frames=len(keys),
                boxes_per_class={
                    c: int(n) for (c, _), n in zip(index.classes, counts, strict=True)
                },
                unknown_objects=index.unknown_objects,
                degenerate_boxes=index.degenerate_boxes,
                overhanging_boxes=index.overhanging_boxes,
                problems=(*index.problems, *bad_images),
            )
        )
    return DataReport(sets=tuple(reports), decoded=decode)


def _check_mot(
    data_root: str | Path,
    config: MotDetectionConfig | ReIDDataConfig,
    *,
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> DataReport:
    """The sequences of each split; of ReID, the crops cut from them."""
    if isinstance(config, MotDetectionConfig):
        splits = dict.fromkeys((config.training_split, config.test_split))
        public = config.public
    else:
        splits, public = dict.fromkeys(("train",)), False
    reports = []
    for split in splits:
        sequences = read_mot(
            data_root,
            split,
            benchmark=config.benchmark,
            detectors=config.detectors,
            detections=public,
        )
        places = [(each, number) for each in sequences for number in each.frame_numbers]
        look = _decode_mot if decode else lambda place: _missing(place[0].path(place[1]))
        with ThreadPoolExecutor(threads) as pool:
            problems = [problem for each in sequences for problem in _lacking(each, split, public)]
            for done, problem in enumerate(pool.map(look, places), start=1):
                if problem is not None:
                    problems.append(problem)
                if progress is not None:
                    progress(done, len(places))
        annotated = [each for each in sequences if each.truth is not None]
        learned = [learned_rows(each, flag_zero=config.train_flag_zero) for each in annotated]
        left_out = sum((counts for _, counts in learned), LeftOutRows())
        boxes = {"pedestrian": sum(len(rows) for rows, _ in learned)}
        if isinstance(config, ReIDDataConfig):
            crops = config.training_crops(data_root)
            boxes |= {"crops trained on": len(crops), "of individuals": crops.num_identities}
        reports.append(
            SetReport(
                name=f"{config.benchmark} {split}",
                videos=len(sequences),
                frames=len(places),
                key_frames=sum(len(np.unique(rows.frame_numbers)) for rows, _ in learned),
                boxes_per_class=boxes,
                unknown_objects=(
                    left_out.other_classes + left_out.ignored_classes + left_out.flagged
                ),
                degenerate_boxes=left_out.degenerate + left_out.outside,
                overhanging_boxes=0,  # they may leave the image, and none is clipped
                problems=tuple(problems),
            )
        )
    return DataReport(sets=tuple(reports), decoded=decode)


def _lacking(sequence: MotSequence, split: str, public: bool) -> Iterator[Problem]:
    """What training or testing would stop at before the first image."""
    if sequence.truth is None and split != "test":
        yield Problem(str(sequence.folder / "gt" / "gt.txt"), "ground truth is missing")
    if public and sequence.detections is None:
        yield Problem(str(sequence.folder / "det" / "det.txt"), "public detections are missing")


def _decode_mot(place: tuple[MotSequence, int]) -> Problem | None:
    sequence, number = place
    return _undecodable(sequence.path(number), sequence.size, "seqinfo.ini")


def _look_for(index: VideoIndex, frame: int) -> Problem | None:
    return _missing(index.path(frame))


def _missing(path: str) -> Problem | None:
    if not os.path.isfile(path):
        return Problem(path, "image is missing")
    if os.path.getsize(path) == 0:
        return Problem(path, "image is an empty file")
    return None


def _decode(index: VideoIndex, frame: int) -> Problem | None:
    height, width = index.frame_sizes[frame]
    return _undecodable(index.path(frame), (int(height), int(width)), "its annotation")


def _undecodable(path: str, annotated: tuple[int, int], where: str) -> Problem | None:
    try:
        height, width = load_image(path).shape[-2:]
    except DataError as error:
        return Problem(error.file, error.reason)
    if (height, width) != annotated:
        told = f"{annotated[1]}x{annotated[0]} in {where}"
        return Problem(path, f"image is {width}x{height}, but {told}")
    return None
