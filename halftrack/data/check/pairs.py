"""Are the data of single-object tracking complete and readable: sets of pairs, test sequences?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from halftrack.data.check.images import look_at_images
from halftrack.data.check.report import SetReport
from halftrack.data.problems import Problem, noting
from halftrack.data.progress import Progress
from halftrack.data.sot.benchmarks import read_sot
from halftrack.data.sot.config import PairDataConfig, PairSet, SotBenchmark, SotSplit
from halftrack.data.sot.pair_objects import TrackedObjects
from halftrack.data.sot.pair_sets import left_out_problems, read_pair_set
from halftrack.data.sot.sequences import FIRST_IMAGE, SotSequence, odd_counts
from halftrack.data.sot.targets import partly_published, untrackable

__all__ = ["check_pairs", "check_sot"]

_STILLS: tuple[PairSet, ...] = ("det", "coco")


def check_pairs(
    data_root: str | Path,
    config: PairDataConfig,
    *,
    decode: bool = False,
    processes: int = 0,
    threads: int = 4,
    progress: Progress | None = None,
) -> tuple[SetReport, ...]:
    """Read each set that pairs are drawn from; look for the images that a pair may show.

    A set that is not there is a problem of its report: the others are looked at all the same.

    Args:
        data_root: the folder that contains ``ILSVRC``, ``coco`` and ``LaSOTBenchmark``.
        config: which sets and rules.
        decode: decode these images too.
        processes: how many processes parse annotations.
        threads: how many threads look at images.
        progress: told (done, in all) for the videos of a set, then for its images.
    """
    sets: list[TrackedObjects] = []
    reports = []
    for name in config.training_sets:
        problems: list[Problem] = []
        with noting(problems):
            sets.append(
                read_pair_set(config, name, data_root, processes=processes, progress=progress)
            )
        if problems:
            reports.append(SetReport(name=f"train {name}", problems=tuple(problems)))
        else:
            reports.append(_report(sets[-1], decode=decode, threads=threads, progress=progress))
    if len(sets) == len(reports):  # A name may be that of a video in a set that is not there.
        unknown = left_out_problems(config, sets, data_root)
        if unknown:
            counts = {"names": len(config.sequences_left_out)}
            reports.append(SetReport(name="sequences_left_out", counts=counts, problems=unknown))
    return tuple(reports)


def check_sot(
    data_root: str | Path,
    benchmark: SotBenchmark,
    split: SotSplit = "test",
    *,
    attributes: str | Path | None = None,
    infos: str | Path | None = None,
    decode: bool = False,
    threads: int = 4,
    progress: Progress | None = None,
) -> SetReport:
    """Read the sequences of a benchmark's split; look for all of their images.

    A benchmark that is not there is a problem of the report.

    Args:
        data_root: the folder that contains the benchmark's folder, or that folder itself.
        benchmark: which data set.
        split: which sequences.
        attributes: the folder of their attributes that scoring asks for, as of ``read_sot``.
        infos: MMTracking's list of the sequences, as of ``read_sot``.
        decode: decode every image too.
        threads: how many threads look at images.
        progress: told (images seen, images in all).

    Raises:
        ValueError: if an argument is not one of those allowed.
    """
    name = f"{benchmark} {split}"
    problems: list[Problem] = []
    sequences: tuple[SotSequence, ...] = ()
    with noting(problems):
        sequences = read_sot(
            data_root,
            benchmark,
            split,
            attributes=attributes,
            infos=infos,
            problems=problems,
        )
    if not sequences:
        return SetReport(name=name, problems=tuple(problems))
    problems += (*untrackable(sequences), *partly_published(sequences))
    frames = [(each, frame_index) for each in sequences for frame_index in range(len(each))]
    images = look_at_images(
        frames,
        lambda frame: frame[0].path(frame[1]),
        size=lambda frame: frame[0].size,
        source=FIRST_IMAGE,
        decode=decode,
        threads=threads,
        progress=progress,
    )
    counts = {
        "sequences": len(sequences),
        "frames": len(frames),
        "boxes": sum(_num_boxes(each) for each in sequences),
    }
    absent = sum(int(each.absent.sum()) for each in sequences)
    if absent:  # Most benchmarks are silent, which is not the same as none.
        counts["absent frames"] = absent
    return SetReport(
        name=name,
        counts=counts,
        sizes=Counter(each.size for each, _ in frames if each.size is not None),
        left_out=images.passed_over,
        odd=odd_counts(sequences),
        odd_images=tuple(images.odd),
        problems=(*problems, *images.problems),
    )


def _report(
    objects: TrackedObjects, *, decode: bool, threads: int, progress: Progress | None
) -> SetReport:
    problems = list(objects.problems)
    if len(objects) == 0:
        problems.append(Problem(objects.image_root, "no object to learn from"))
    # Frames without an object are in no pair: their images may be missing.
    _, boxes = np.unique(objects.frames, return_index=True)
    images = look_at_images(
        boxes.tolist(),
        objects.path,
        size=objects.size,
        source=objects.size_source,
        decode=decode,
        threads=threads,
        progress=progress,
    )
    extent = {"videos": len(objects.video_names), "frames": len(objects.files)}
    return SetReport(
        name=f"train {objects.name}",
        counts=(
            ({"stills": len(objects.files)} if objects.name in _STILLS else extent)
            | {"objects": len(objects), "boxes": len(objects.frames)}
        ),
        left_out={**objects.left_out, **images.passed_over},
        odd=objects.odd,
        odd_images=tuple(images.odd),
        problems=(*problems, *images.problems),
    )


def _num_boxes(sequence: SotSequence) -> int:
    """Frames whose box is published and shows something."""
    if sequence.boxes_xyxy is None:
        return 1
    sides = sequence.boxes_xyxy[:, 2:] - sequence.boxes_xyxy[:, :2]
    return int(((sides > 0).all(axis=1) & ~sequence.absent).sum())
