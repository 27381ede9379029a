"""Are the data of video detection complete and readable: training sets, validation videos?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from halftrack.data.check.images import look_at_images
from halftrack.data.check.report import SetReport
from halftrack.data.index import VideoIndex
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.progress import Progress
from halftrack.data.vid.clips import nothing_to_learn
from halftrack.data.vid.config import VidDataConfig
from halftrack.data.vid.frames import ANNOTATION
from halftrack.data.vid.indexes import read_test_index, read_training_indexes
from halftrack.data.vid.videos import nothing_to_score

__all__ = ["check_vid", "index_report"]


def check_vid(
    data_root: str | Path,
    config: VidDataConfig,
    *,
    read: Sequence[VideoIndex] = (),
    decode: bool,
    processes: int,
    threads: int,
    progress: Progress | None,
) -> tuple[SetReport, ...]:
    """Read the annotations of each set and look for its images.

    Args:
        data_root: as for ``check``, like all but ``read``.
        config: which sets, classes and rules.
        read: records that are read already: of all training sets in their order or, where the
            configuration has none, of the validation videos.
        decode: as for ``check``.
        processes: likewise.
        threads: likewise.
        progress: likewise.

    Raises:
        DataError: if there is none of the sets. One alone that is missing is a problem of its
            report: the others are looked at all the same.
    """
    report_of = partial(index_report, decode=decode, threads=threads, progress=progress)
    reports: list[SetReport] = []
    trained: list[VideoIndex] = []
    missing: list[Problem] = []
    for place, alone in enumerate(_one_by_one(config)):
        name = f"train {alone.training_sets[0]}"
        problems: list[Problem] = []
        with noting(problems):
            if read:
                index = read[place]
            else:
                (index,) = read_training_indexes(
                    alone, data_root, processes=processes, progress=progress
                )
            trained.append(index)
            stills = name == "train det"
            reports.append(report_of(name, index, min_size=config.min_size, stills=stills))
        reports += [SetReport(name=name, problems=(problem,)) for problem in problems]
        missing += problems
    if trained and not missing:
        reports[0] = _with(reports[0], nothing_to_learn(trained, config))
    problems = []
    with noting(problems):
        if read and not config.training_sets:
            (index,) = read
        else:
            index = read_test_index(config, data_root, processes=processes, progress=progress)
        reports.append(_with(report_of("val vid", index), nothing_to_score(index)))
    reports += [SetReport(name="val vid", problems=(problem,)) for problem in problems]
    missing += problems
    if len(missing) == len(reports):  # Most likely the data are in another folder.
        raise DataError(missing[0].file, missing[0].reason)
    return tuple(reports)


def _one_by_one(config: VidDataConfig) -> Iterator[VidDataConfig]:
    """The configuration with one training set at a time."""
    for place, name in enumerate(config.training_sets):
        file = config.training_json[place : place + 1]
        yield replace(config, training_sets=(name,), training_json=file)


def _with(report: SetReport, problem: Problem | None) -> SetReport:
    return report if problem is None else replace(report, problems=(*report.problems, problem))


def index_report(
    name: str,
    index: VideoIndex,
    *,
    min_size: int | None = None,
    stills: bool = False,
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> SetReport:
    """The records of a data set and a look at its images.

    Args:
        name: of the set.
        index: all records.
        min_size: images with a smaller side are not trained on; None of a set to test on.
        stills: its images are no frames of videos.
        decode: decode every image too.
        threads: how many threads look at images.
        progress: told (images seen, images in all).
    """
    images = look_at_images(
        range(index.num_frames),
        index.path,
        size=partial(_size, index),
        source=ANNOTATION,
        decode=decode,
        threads=threads,
        progress=progress,
    )
    counts = {"videos": index.num_videos, "frames": index.num_frames}
    if stills:
        counts = {"stills": index.num_frames}
    if min_size is not None:
        counts["key frames"] = len(index.training_keys(min_size=min_size))
    labels = np.bincount(index.labels, minlength=len(index.classes))
    return SetReport(
        name=name,
        counts=counts,
        sizes=Counter(map(tuple, index.frame_sizes.tolist())),
        boxes_per_class={c: int(n) for (c, _), n in zip(index.classes, labels, strict=True)},
        left_out={**index.left_out, **images.passed_over},
        clipped_boxes=index.overhanging_boxes,
        odd=index.odd,
        odd_images=tuple(images.odd),
        problems=(*index.problems, *images.problems),
    )


def _size(index: VideoIndex, frame: int) -> tuple[int, int]:
    height, width = index.frame_sizes[frame]
    return int(height), int(width)
