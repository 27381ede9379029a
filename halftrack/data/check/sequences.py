"""Are MOTChallenge's sequences complete and readable: ground truth, detections, images, crops?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from halftrack.data.check.images import look_at_images
from halftrack.data.check.report import SetReport
from halftrack.data.mot.config import MotDetectionConfig, MotSplit, ReIDDataConfig
from halftrack.data.mot.crops.batches import CropBatches
from halftrack.data.mot.crops.read import read_crops
from halftrack.data.mot.crops.records import Crops
from halftrack.data.mot.frame_batches import FrameBatches
from halftrack.data.mot.mot_challenge import read_mot
from halftrack.data.mot.records import LeftOutRows, MotRows, MotSequence, learned_rows, odd_counts
from halftrack.data.mot.scoring import lacking, nothing_to_detect, unscorable
from halftrack.data.problems import Problem, noting
from halftrack.data.progress import Progress
from halftrack.data.tables.once import reading_once

__all__ = ["check_mot", "crops_to_learn", "sequences_report"]


def check_mot(
    data_root: str | Path,
    config: MotDetectionConfig | ReIDDataConfig,
    *,
    learned: bool = True,
    tracked: bool,
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> tuple[SetReport, ...]:
    """The sequences of each split; of ReID, the crops cut from them.

    Args:
        data_root: as for ``check``, like all but ``learned``.
        config: which sets, classes and rules.
        learned: False where nothing is trained on, and ground truth may be missing.
        tracked: as for ``check``.
        decode: likewise.
        threads: likewise.
        progress: likewise.

    Raises:
        DataError: if the benchmark is not there.
    """
    if isinstance(config, ReIDDataConfig) and config.training_list:
        return _check_listed(data_root, config, decode=decode, threads=threads, progress=progress)
    parts: tuple[tuple[MotSplit, str], ...] = (("train", ""),)
    if isinstance(config, MotDetectionConfig):
        parts = _parts(config)
    report_of = partial(
        _check_split, learned=learned, tracked=tracked, decode=decode, threads=threads
    )
    with reading_once():
        return tuple(report_of(data_root, config, *part, progress=progress) for part in parts)


def _parts(config: MotDetectionConfig) -> tuple[tuple[MotSplit, str], ...]:
    """The split that is trained on and the one that is tested on, each with its CocoVID file."""
    trained = config.training_split, config.training_json
    return tuple(dict.fromkeys((trained, (config.test_split, config.test_json))))


def _check_split(
    data_root: str | Path,
    config: MotDetectionConfig | ReIDDataConfig,
    split: MotSplit,
    json: str,
    *,
    learned: bool,
    tracked: bool,
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> SetReport:
    learned_from, tested = True, False
    public: bool | Path = False
    if isinstance(config, MotDetectionConfig):
        trained_on, tested_on = _parts(config)[0], _parts(config)[-1]
        learned_from = learned and (split, json) == trained_on
        tested = (split, json) == tested_on
        public = tested and config.public_source
    problems: list[Problem] = []
    sequences = read_mot(
        data_root,
        split,
        benchmark=config.benchmark,
        detectors=config.detectors,
        classes=config.classes,
        detections=public,
        json=json,
        problems=problems,
    )
    lacks = lacking(sequences, truth=learned_from or not tracked, detections=public)
    problems += lacks.values()
    report = sequences_report(
        f"{config.benchmark} {json or split}",
        sequences,
        flag_zero=config.train_flag_zero,
        decode=decode,
        threads=threads,
        progress=progress,
    )
    boxes = dict(report.boxes_per_class)
    if isinstance(config, ReIDDataConfig):
        crops = crops_to_learn(config, data_root, problems) if not problems else None
        if crops is not None:
            with noting(problems):
                CropBatches(crops=crops, config=config, crop_size=(1, 1))
            boxes |= {"crops trained on": len(crops), "of individuals": crops.num_identities}
    else:
        usable = [each for each in sequences if each.folder not in lacks]
        if learned_from:
            problems += _nothing_to_learn(config, usable)
        if tested:
            problems += _nothing_to_score(config, usable, tracked=tracked)
    return replace(report, boxes_per_class=boxes, problems=(*problems, *report.problems))


def sequences_report(
    name: str,
    sequences: Sequence[MotSequence],
    *,
    flag_zero: bool = False,
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> SetReport:
    """The rows of some sequences that are learned from, and a look at their images.

    Args:
        name: of the set.
        sequences: as read.
        flag_zero: learn from objects with flag 0 too.
        decode: decode every image too.
        threads: how many threads look at images.
        progress: told (images seen, images in all).
    """
    places = [(each, number) for each in sequences for number in each.frame_numbers]
    images = look_at_images(
        places,
        lambda place: place[0].path(place[1]),
        size=lambda place: place[0].size,
        source=sequences[0].size_source if sequences else "seqinfo.ini",
        decode=decode,
        threads=threads,
        progress=progress,
    )
    annotated = [each for each in sequences if each.truth is not None]
    learned = [learned_rows(each, flag_zero=flag_zero) for each in annotated]
    left_out = sum((counts for _, counts in learned), LeftOutRows())
    return SetReport(
        name=name,
        counts={
            "videos": len(sequences),
            "frames": len(places),
            "key frames": sum(len(np.unique(rows.frame_numbers)) for rows, _ in learned),
        },
        sizes=Counter(each.size for each, _ in places),
        boxes_per_class=_boxes_per_class(annotated, [rows for rows, _ in learned]),
        left_out={
            "objects with flag 0": left_out.flagged,
            "people hard to judge": left_out.ignored_classes,
            "other objects": left_out.other_classes,
            "boxes outside their image": left_out.outside,
            "boxes under one pixel": left_out.degenerate,
            **images.passed_over,
        },
        odd=odd_counts(sequences),
        odd_images=tuple(images.odd),
        problems=tuple(images.problems),
    )


def _boxes_per_class(
    sequences: Sequence[MotSequence], learned: Sequence[MotRows]
) -> dict[str, int]:
    """Rows that are learned from, by the name of their class."""
    counts: Counter[str] = Counter()
    for sequence, rows in zip(sequences, learned, strict=True):
        counts.update(dict.fromkeys(sequence.classes, 0))
        counts.update(sequence.classes[label] for label in sequence.labels(rows).tolist())
    return dict(counts)


def _nothing_to_learn(
    config: MotDetectionConfig, sequences: Sequence[MotSequence]
) -> list[Problem]:
    """What training stops at for want of a frame to learn from."""
    problems: list[Problem] = []
    if sequences:
        with noting(problems):
            FrameBatches(sequences=sequences, config=config)
    return problems


def _nothing_to_score(
    config: MotDetectionConfig, sequences: Sequence[MotSequence], *, tracked: bool
) -> list[Problem]:
    """What testing stops at for want of truth to score with."""
    if tracked:
        return list(unscorable(sequences, config.benchmark).values())
    nothing = nothing_to_detect(sequences, flag_zero=config.train_flag_zero) if sequences else None
    return [] if nothing is None else [nothing]


def _check_listed(
    data_root: str | Path,
    config: ReIDDataConfig,
    *,
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> tuple[SetReport, ...]:
    """The crops of both lists, and their images."""
    reports = []
    for validation, name in enumerate((config.training_list, config.validation_list)):
        problems: list[Problem] = []
        report = SetReport(name=f"{config.benchmark} {name}")
        with noting(problems):
            crops = read_crops(config, data_root, validation=bool(validation))
            if not validation:
                CropBatches(crops=crops, config=config, crop_size=(1, 1))
            (sequence,) = crops.sequences
            images = look_at_images(
                sequence.frame_numbers,
                sequence.path,
                decode=decode,
                threads=threads,
                progress=progress,
            )
            report = replace(
                report,
                counts={"crops": len(crops), "individuals": crops.num_identities},
                left_out=images.passed_over,
                odd_images=tuple(images.odd),
                problems=tuple(images.problems),
            )
        reports.append(replace(report, problems=(*problems, *report.problems)))
    return tuple(reports)


def crops_to_learn(
    config: ReIDDataConfig, data_root: str | Path, problems: list[Problem]
) -> Crops | None:
    """The crops that are trained on, of the training sequences; None if there are none.

    Args:
        config: which sequences, classes and rules.
        data_root: the folder that contains e.g. ``MOT17``.
        problems: what stops training or validation is added here.
    """
    crops = None
    with noting(problems):
        crops = read_crops(config, data_root)
    with noting(problems):
        read_crops(config, data_root, validation=True)
    return crops
