"""Are MOTChallenge's sequences complete and readable: ground truth, detections, images, crops?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from halftrack.data.check.images import look_at_images
from halftrack.data.check.report import SetReport
from halftrack.data.mot.config import MotDetectionConfig, MotSplit, ReIDDataConfig
from halftrack.data.mot.crop_batches import CropBatches
from halftrack.data.mot.crops import Crops, read_crops
from halftrack.data.mot.frame_batches import FrameBatches
from halftrack.data.mot.mot_challenge import lacking, read_mot
from halftrack.data.mot.records import LeftOutRows, MotSequence, learned_rows, odd_counts
from halftrack.data.mot.scoring import nothing_to_detect, unscorable
from halftrack.data.problems import Problem, noting
from halftrack.data.progress import Progress

__all__ = ["check_mot"]


def check_mot(
    data_root: str | Path,
    config: MotDetectionConfig | ReIDDataConfig,
    *,
    tracked: bool,
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> tuple[SetReport, ...]:
    """The sequences of each split; of ReID, the crops cut from them; arguments as for ``check``.

    Raises:
        DataError: if the benchmark is not there.
    """
    splits: tuple[MotSplit, ...] = ("train",)
    if isinstance(config, MotDetectionConfig):
        splits = tuple(dict.fromkeys((config.training_split, config.test_split)))
    report_of = partial(_check_split, tracked=tracked, decode=decode, threads=threads)
    return tuple(report_of(data_root, config, split, progress=progress) for split in splits)


def _check_split(
    data_root: str | Path,
    config: MotDetectionConfig | ReIDDataConfig,
    split: MotSplit,
    *,
    tracked: bool,
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> SetReport:
    learned_from = True
    public: bool | Path = False
    if isinstance(config, MotDetectionConfig):
        learned_from = split == config.training_split
        public = split == config.test_split and config.public_source
    problems: list[Problem] = []
    sequences = read_mot(
        data_root,
        split,
        benchmark=config.benchmark,
        detectors=config.detectors,
        detections=public,
        problems=problems,
    )
    lacks = lacking(sequences, truth=learned_from or not tracked, detections=public)
    problems += lacks.values()
    places = [(each, number) for each in sequences for number in each.frame_numbers]
    images = look_at_images(
        places,
        lambda place: place[0].path(place[1]),
        size=lambda place: place[0].size,
        source="seqinfo.ini",
        decode=decode,
        threads=threads,
        progress=progress,
    )
    annotated = [each for each in sequences if each.truth is not None]
    learned = [learned_rows(each, flag_zero=config.train_flag_zero) for each in annotated]
    left_out = sum((counts for _, counts in learned), LeftOutRows())
    boxes = {"pedestrian": sum(len(rows) for rows, _ in learned)}
    if isinstance(config, ReIDDataConfig):
        crops = _check_crops(config, data_root, problems) if not problems else None
        if crops is not None:
            boxes |= {"crops trained on": len(crops), "of individuals": crops.num_identities}
    else:
        usable = [each for each in sequences if each.folder not in lacks]
        problems += _unusable(config, split, usable, tracked=tracked)
    return SetReport(
        name=f"{config.benchmark} {split}",
        counts={
            "videos": len(sequences),
            "frames": len(places),
            "key frames": sum(len(np.unique(rows.frame_numbers)) for rows, _ in learned),
        },
        boxes_per_class=boxes,
        left_out={
            "pedestrians with flag 0": left_out.flagged,
            "people hard to judge": left_out.ignored_classes,
            "other objects": left_out.other_classes,
            "boxes outside their image": left_out.outside,
            "boxes under one pixel": left_out.degenerate,
            **images.passed_over,
        },
        odd=odd_counts(sequences),
        odd_images=tuple(images.odd),
        problems=(*problems, *images.problems),
    )


def _unusable(
    config: MotDetectionConfig,
    split: MotSplit,
    sequences: Sequence[MotSequence],
    *,
    tracked: bool,
) -> list[Problem]:
    """What training stops at for want of a frame to learn from, and testing of one to score."""
    problems: list[Problem] = []
    if split == config.training_split and sequences:
        with noting(problems):
            FrameBatches(sequences=sequences, config=config)
    if split == config.test_split and tracked:
        problems += unscorable(sequences, config.benchmark).values()
    elif split == config.test_split and sequences:
        nothing = nothing_to_detect(sequences, flag_zero=config.train_flag_zero)
        problems += [] if nothing is None else [nothing]
    return problems


def _check_crops(
    config: ReIDDataConfig, data_root: str | Path, problems: list[Problem]
) -> Crops | None:
    """The crops that are trained on; None if there are none, or too few of individuals."""
    crops = None
    with noting(problems):
        crops = read_crops(config, data_root)
        CropBatches(crops=crops, config=config, crop_size=(1, 1))
    with noting(problems):
        read_crops(config, data_root, validation=True)
    return crops
