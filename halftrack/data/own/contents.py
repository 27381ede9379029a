"""Contents of a user's data and what is wrong with them, by the functions that train and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from halftrack.data.check.pairs import check_sot
from halftrack.data.check.report import DataReport, SetReport
from halftrack.data.check.sequences import check_mot, crops_to_learn, sequences_report
from halftrack.data.check.videos import check_vid, index_report
from halftrack.data.mot.classes import class_numbers
from halftrack.data.mot.config import MotDetectionConfig, ReIDDataConfig
from halftrack.data.mot.mot_challenge import read_sequence
from halftrack.data.mot.records import odd_counts
from halftrack.data.mot.scoring import lacking
from halftrack.data.own.films import read_films
from halftrack.data.own.json_images import json_files, read_json
from halftrack.data.own.layouts import OwnData, sequence_folders
from halftrack.data.own.settings import (
    INDIVIDUALS,
    mot_classes,
    mot_splits,
    reid_split,
    truth_classes,
    vid_config,
)
from halftrack.data.own.yolo import read_yolo
from halftrack.data.problems import Problem, noting
from halftrack.data.progress import Progress
from halftrack.data.tables.once import reading_once

__all__ = ["look_at"]

Look = Callable[..., list[SetReport]]


def look_at(
    data: OwnData, *, decode: bool = False, threads: int = 4, progress: Progress | None = None
) -> DataReport:
    """Read all annotations, look for all images, count them and list every problem.

    Args:
        data: as recognised.
        decode: decode every image too.
        threads: how many threads look at images.
        progress: told (done, in all) for the videos of a set, then for its images.
    """
    problems: list[Problem] = []
    reports: list[SetReport] = []
    with noting(problems), reading_once():
        reports = _LOOKS[data.kind](data, decode=decode, threads=threads, progress=progress)
    if problems:
        reports.append(SetReport(name=str(data), problems=tuple(problems)))
    return DataReport(sets=tuple(reports), decoded=decode)


def _vid(
    data: OwnData, *, decode: bool, threads: int, progress: Progress | None
) -> list[SetReport]:
    config, read = vid_config(data, progress=progress)
    reports = check_vid(
        data.root,
        config,
        read=read,
        decode=decode,
        processes=0,
        threads=threads,
        progress=progress,
    )
    return list(reports)


def _mot(
    data: OwnData, *, decode: bool, threads: int, progress: Progress | None
) -> list[SetReport]:
    trained, tested = mot_splits(data)
    config = MotDetectionConfig(
        benchmark=data.benchmark,  # type: ignore[arg-type]
        training_split=trained,  # type: ignore[arg-type]
        test_split=tested,  # type: ignore[arg-type]
    )
    if classes := mot_classes(config, data.root):
        config = replace(config, classes=classes)
    first, *others = check_mot(
        data.root,
        config,
        learned="train" in data.parts,
        tracked=True,
        decode=decode,
        threads=threads,
        progress=progress,
    )
    if "train" in data.parts:
        counts = first.counts | {INDIVIDUALS: _individuals(data, config.classes)}
        first = replace(first, counts=counts)
    return [first, *others]


def _individuals(data: OwnData, classes: tuple[str, ...]) -> int:
    """Individuals that a ReID model can learn from; 0 where it could not be validated."""
    config = ReIDDataConfig(
        benchmark=data.benchmark,  # type: ignore[arg-type]
        split=reid_split(data),
        classes=classes,
    )
    problems: list[Problem] = []
    crops = crops_to_learn(config, data.root, problems)
    return 0 if crops is None or problems else crops.num_identities


def _sot(
    data: OwnData, *, decode: bool, threads: int, progress: Progress | None
) -> list[SetReport]:
    return [
        check_sot(
            data.root,
            data.benchmark,  # type: ignore[arg-type]
            part,  # type: ignore[arg-type]
            decode=decode,
            threads=threads,
            progress=progress,
        )
        for part in data.parts or ("test",)  # without LaSOT's list, that is the problem
    ]


def _coco(
    data: OwnData, *, decode: bool, threads: int, progress: Progress | None
) -> list[SetReport]:
    reports = []
    for file in json_files(data):
        problems: list[Problem] = []
        with noting(problems):
            index = read_json(file)
            stills = index.num_videos == index.num_frames
            reports.append(
                index_report(
                    file.name,
                    index,
                    stills=stills,
                    decode=decode,
                    threads=threads,
                    progress=progress,
                )
            )
        reports += [SetReport(name=file.name, problems=(problem,)) for problem in problems]
    return reports


def _yolo(
    data: OwnData, *, decode: bool, threads: int, progress: Progress | None
) -> list[SetReport]:
    index = read_yolo(data.place, progress=progress)
    return [
        index_report(
            "images", index, stills=True, decode=decode, threads=threads, progress=progress
        )
    ]


def _films(
    data: OwnData, *, decode: bool, threads: int, progress: Progress | None
) -> list[SetReport]:
    problems: list[Problem] = []
    films = read_films(data, problems, decode=decode, progress=progress)
    tables = [each.truth for each in films if each.truth is not None]
    classes = Counter(
        film.class_names[number - 1]
        for film in films
        if film.truth is not None
        for number in film.truth.classes.tolist()
    )
    counts = {"videos": len(films), "frames": sum(map(len, films))}
    sizes: Counter[tuple[int, int]] = Counter()
    for film in films:
        sizes[film.size] += len(film)
    return [
        SetReport(
            name="videos",
            counts=counts | {"boxes": sum(map(len, tables))},
            sizes=sizes,
            boxes_per_class=dict(sorted(classes.items())),
            odd=odd_counts(films),
            problems=tuple(problems),
        )
    ]


def _sequences(
    data: OwnData, *, decode: bool, threads: int, progress: Progress | None
) -> list[SetReport]:
    problems: list[Problem] = []
    found = []
    for folder in sequence_folders(data):
        with noting(problems):
            found.append(read_sequence(folder, "train", data.benchmark))  # type: ignore[arg-type]
    classes = truth_classes(found)
    found = [
        replace(each, classes=classes, numbers=class_numbers(classes, each.class_names))
        for each in found
    ]
    problems += lacking(found, truth=True, detections=False).values()
    report = sequences_report("sequences", found, decode=decode, threads=threads, progress=progress)
    return [replace(report, problems=(*problems, *report.problems))]


_LOOKS: dict[str, Look] = {
    "vid": _vid,
    "mot": _mot,
    "sequences": _sequences,
    "sot": _sot,
    "coco": _coco,
    "yolo": _yolo,
    "films": _films,
}
