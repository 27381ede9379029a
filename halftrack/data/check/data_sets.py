"""Is a user's data complete and readable? Counts of everything, and every problem with its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from halftrack.data.check.images import look_at_images
from halftrack.data.check.pairs import check_pairs
from halftrack.data.check.report import DataReport, SetReport
from halftrack.data.check.videos import check_vid
from halftrack.data.mot.config import MotDetectionConfig, ReIDDataConfig
from halftrack.data.mot.crops import read_crops
from halftrack.data.mot.mot_challenge import read_mot
from halftrack.data.mot.records import LeftOutRows, MotSequence, learned_rows
from halftrack.data.problems import Problem
from halftrack.data.progress import Progress
from halftrack.data.sot.config import PairDataConfig
from halftrack.data.vid.config import VidDataConfig

__all__ = ["check"]


def check(
    data_root: str | Path,
    config: VidDataConfig | MotDetectionConfig | ReIDDataConfig | PairDataConfig,
    *,
    decode: bool = False,
    processes: int = 0,
    threads: int = 4,
    progress: Progress | None = None,
) -> DataReport:
    """Read all annotations and look for all images of the sets that ``config`` names.

    Args:
        data_root: the folder that contains ``ILSVRC`` (or ``MOT17``, ...), or that folder itself.
        config: which sets, classes and rules. Pairs name no test sequences: see ``check_sot``.
        decode: decode every image too, and compare its size with that of VID, DET or MOTChallenge.
        processes: how many processes parse annotations.
        threads: how many threads look at images.
        progress: told (done, in all) for the videos of a set, then for its images.

    Raises:
        DataError: if there is no data set to look at. Everything smaller is in the report, and of
            pairs, which come from several data sets, a missing one too.
    """
    if isinstance(config, PairDataConfig):
        sets = check_pairs(
            data_root,
            config,
            decode=decode,
            processes=processes,
            threads=threads,
            progress=progress,
        )
    elif isinstance(config, VidDataConfig):
        sets = check_vid(
            data_root,
            config,
            decode=decode,
            processes=processes,
            threads=threads,
            progress=progress,
        )
    else:
        sets = _check_mot(data_root, config, decode=decode, threads=threads, progress=progress)
    return DataReport(sets=sets, decoded=decode)


def _check_mot(
    data_root: str | Path,
    config: MotDetectionConfig | ReIDDataConfig,
    *,
    decode: bool,
    threads: int,
    progress: Progress | None,
) -> tuple[SetReport, ...]:
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
        problems = [problem for each in sequences for problem in _lacking(each, split, public)]
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
            crops = read_crops(config, data_root)
            boxes |= {"crops trained on": len(crops), "of individuals": crops.num_identities}
        reports.append(
            SetReport(
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
                },
                odd_images=tuple(images.odd),
                problems=(*problems, *images.problems),
            )
        )
    return tuple(reports)


def _lacking(sequence: MotSequence, split: str, public: bool) -> Iterator[Problem]:
    """What training or testing would stop at before the first image."""
    if sequence.truth is None and split != "test":
        yield Problem(str(sequence.folder / "gt" / "gt.txt"), "ground truth is missing")
    if public and sequence.detections is None:
        yield Problem(str(sequence.folder / "det" / "det.txt"), "public detections are missing")
