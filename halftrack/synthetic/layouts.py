"""Layouts of synthetic video: ImageNet VID's, MOT17's and LaSOT's files and folders."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from halftrack.synthetic.world import SYNTHETIC_CLASSES, Absence, SeenObject, Shot, film

__all__ = ["LAYOUT_FOLDERS", "Layout", "SyntheticVideo", "SyntheticVideoError", "write_layout"]

Layout = Literal["vid", "mot", "sot"]

LAYOUT_FOLDERS: dict[str, str] = {"vid": "ILSVRC", "mot": "MOT17", "sot": "LaSOTBenchmark"}
"""Folder below the data root that each layout fills."""

_ANNOTATED = 0.25  # objects of which less can be seen are not annotated in ImageNet VID
_ABSENT = 0.04  # a LaSOT target of which less can be seen is absent
_DISTRACTOR = len(SYNTHETIC_CLASSES) - 1  # the class that plays MOT17's distractors


class SyntheticVideoError(ValueError):
    """A request for synthetic video that cannot be filmed, and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class SyntheticVideo:
    """Settings of synthetic video: layout, seed, number, length and size of the videos."""

    layout: Layout = "vid"
    """Official layout: ``vid`` (ImageNet VID), ``mot`` (MOT17) or ``sot`` (LaSOT)."""
    seed: int = 0
    """Seed of all randomness."""
    train_videos: int = 14
    """Number of training videos."""
    val_videos: int = 6
    """Number of validation videos. In MOT17's layout they are ``test`` (with ground truth, unlike
    the official one), in LaSOT's the testing set."""
    frames: int = 40
    """Number of frames of each video."""
    size: tuple[int, int] = (192, 320)
    """Height and width in pixels."""
    absences: bool = True
    """Let the target of LaSOT's layout be hidden, or leave the image, in two videos of five."""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUT_FOLDERS:
            raise SyntheticVideoError(
                f"layout={self.layout!r}, allowed are {', '.join(LAYOUT_FOLDERS)}"
            )
        if self.train_videos < 0 or self.val_videos < 0 or self.train_videos + self.val_videos < 1:
            raise SyntheticVideoError(
                f"train_videos={self.train_videos}, val_videos={self.val_videos}: "
                "neither may be negative, and one video is needed"
            )
        if self.frames < 8:
            raise SyntheticVideoError(f"frames={self.frames}: a video needs at least 8")
        if len(self.size) != 2 or min(self.size) < 64:
            raise SyntheticVideoError(
                f"size={self.size}: height and width must be at least 64 pixels"
            )


def write_layout(root: Path, settings: SyntheticVideo) -> Iterator[None]:
    """Write all videos below ``root``; yield after each."""
    writers = {"vid": _write_vid, "mot": _write_mot, "sot": _write_sot}
    return writers[settings.layout](root / LAYOUT_FOLDERS[settings.layout], settings)


def _rng(settings: SyntheticVideo, video: str) -> np.random.Generator:
    """Randomness of one video, which does not depend on the number of videos."""
    digest = hashlib.sha256(f"{settings.seed}:{settings.layout}:{video}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _save(shot: Shot, path: Path) -> None:
    shot.image.save(path, quality=90)


def _write_vid(base: Path, settings: SyntheticVideo) -> Iterator[None]:
    key_lines: list[str] = []
    val_lines: list[str] = []
    with_class: dict[int, list[str]] = defaultdict(list)
    shard = "ILSVRC2015_VID_train_0000"
    trained = [f"train/{shard}/sample_train_{i:04d}" for i in range(settings.train_videos)]
    validated = [f"val/sample_val_{i:04d}" for i in range(settings.val_videos)]
    for number, name in enumerate([*trained, *validated]):
        rng = _rng(settings, name)
        pictures, annotations = base / "Data/VID" / name, base / "Annotations/VID" / name
        pictures.mkdir(parents=True)
        annotations.mkdir(parents=True)
        # The classes take turns at the first individual, so that few videos hold all of them.
        others = rng.integers(len(SYNTHETIC_CLASSES), size=int(rng.integers(0, 4)))
        labels = [number % len(SYNTHETIC_CLASSES), *others.tolist()]
        annotated = []
        shots = film(rng, frames=settings.frames, size=settings.size, labels=labels)
        for index, shot in enumerate(shots):
            _save(shot, pictures / f"{index:06d}.JPEG")
            seen = [each for each in shot.objects if each.visible >= _ANNOTATED]
            (annotations / f"{index:06d}.xml").write_text(
                _vid_xml(name, index, settings.size, seen), encoding="utf-8"
            )
            if seen:
                annotated.append(index)
        short = name.split("/", 1)[1]
        if number < settings.train_videos:
            for label in sorted(set(labels)):
                with_class[label].append(f"{short} 1")
            places = np.linspace(0, len(annotated) - 1, min(15, len(annotated)))
            key_frames = [annotated[round(place)] for place in places]
            key_lines += [f"{name} 1 {index + 1} {settings.frames}" for index in key_frames]
        else:
            start = len(val_lines) + 1
            val_lines += [f"{short}/{i:06d} {start + i}" for i in range(settings.frames)]
        yield
    for label, lines in with_class.items():
        _write_lines(base / f"ImageSets/VID/train_{label + 1}.txt", lines)
    _write_lines(base / "ImageSets/VID/val.txt", val_lines)
    _write_lines(base / "Lists/VID_train_15frames.txt", key_lines)


def _vid_xml(name: str, index: int, size: tuple[int, int], seen: list[SeenObject]) -> str:
    height, width = size
    return (
        f"<annotation><folder>{name}</folder><filename>{index:06d}</filename>"
        f"<source><database>halftrack sample</database></source>"
        f"<size><width>{width}</width><height>{height}</height></size>"
        f"{''.join(_vid_object(each) for each in seen)}</annotation>"
    )


def _vid_object(seen: SeenObject) -> str:
    x1, y1, x2, y2 = seen.visible_xyxy or (0, 0, 0, 0)
    occluded = int(seen.visible < 0.9 * seen.inside)
    return (
        f"<object><trackid>{seen.identity}</trackid><name>{SYNTHETIC_CLASSES[seen.label][1]}</name>"
        f"<bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax><ymin>{y1}</ymin></bndbox>"
        f"<occluded>{occluded}</occluded><generated>0</generated></object>"
    )


def _write_mot(base: Path, settings: SyntheticVideo) -> Iterator[None]:
    height, width = settings.size
    for number in range(settings.train_videos + settings.val_videos):
        split = "train" if number < settings.train_videos else "test"
        name = f"MOT17-{60 + number:02d}-FRCNN"  # the official numbers end at 14
        folder = base / split / name
        for part in ("img1", "gt", "det"):
            (folder / part).mkdir(parents=True)
        rng = _rng(settings, name)
        detector = _rng(settings, f"{name}/det")
        labels = rng.integers(_DISTRACTOR, size=int(rng.integers(3, 6))).tolist()
        labels += [_DISTRACTOR] * (number % 2)
        truth: list[str] = []
        found: list[str] = []
        shots = film(rng, frames=settings.frames, size=settings.size, labels=labels)
        for frame_number, shot in enumerate(shots, start=1):
            _save(shot, folder / "img1" / f"{frame_number:06d}.jpg")
            inside = [each for each in shot.objects if each.inside > 0]
            truth += [_mot_row(frame_number, each) for each in inside]
            found += _detector_rows(detector, frame_number, inside, settings.size)
        _write_lines(folder / "gt" / "gt.txt", truth)
        _write_lines(folder / "det" / "det.txt", found)
        information = {
            "name": name,
            "imDir": "img1",
            "frameRate": 30,
            "seqLength": settings.frames,
            "imWidth": width,
            "imHeight": height,
            "imExt": ".jpg",
        }
        lines = [f"{key}={value}" for key, value in information.items()]
        _write_lines(folder / "seqinfo.ini", ["[Sequence]", *lines])
        yield


def _mot_row(frame_number: int, seen: SeenObject) -> str:
    x1, y1, x2, y2 = seen.box_xyxy
    kind = "0,8" if seen.label == _DISTRACTOR else "1,1"
    return (
        f"{frame_number},{seen.identity + 1},{x1 + 1:.2f},{y1 + 1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},"
        f"{kind},{seen.visible:.5f}"
    )


def _detector_rows(
    rng: np.random.Generator, frame_number: int, inside: list[SeenObject], size: tuple[int, int]
) -> list[str]:
    """Boxes of a mediocre public detector: inexact, with misses, distractors and false alarms."""
    boxes: list[tuple[np.ndarray, float]] = []
    for seen in inside:
        x1, y1, x2, y2 = seen.box_xyxy
        shake, luck, doubt = rng.normal(0, 0.04, 4), rng.uniform(), rng.uniform(0, 0.3)
        wanted = 0.5 if seen.label == _DISTRACTOR else 0.1
        if seen.visible > 0.3 and luck > wanted:
            box = np.asarray([x1 + 1, y1 + 1, x2 - x1, y2 - y1]) + shake * (x2 - x1)
            boxes.append((box, float(np.clip(seen.visible - doubt, 0.05, 1.0))))
    if rng.uniform() < 0.15:
        height, width = size
        side = rng.uniform(0.2, 0.4) * height
        corner = rng.uniform((0, 0), (width - side, height - side))
        boxes.append((np.asarray([*corner, side, side]), float(rng.uniform(0.05, 0.6))))
    return [
        f"{frame_number},-1,{','.join(f'{value:.2f}' for value in box)},{score:.3f}"
        for box, score in boxes
    ]


def _write_sot(base: Path, settings: SyntheticVideo) -> Iterator[None]:
    testing = []
    for number in range(settings.train_videos + settings.val_videos):
        label = number % len(SYNTHETIC_CLASSES)
        class_name = SYNTHETIC_CLASSES[label][0]
        name = f"{class_name}-{number // len(SYNTHETIC_CLASSES) + 1}"
        folder = base / class_name / name
        (folder / "img").mkdir(parents=True)
        rng = _rng(settings, name)
        absences: tuple[Absence, ...] = ("none", "hidden", "none", "outside", "none")
        # One companion of the target's own class, so that colour alone does not find it.
        labels = [label, label, int(rng.integers(len(SYNTHETIC_CLASSES)))]
        boxes, hidden, outside = [], [], []
        shots = film(
            rng,
            frames=settings.frames,
            size=settings.size,
            labels=labels,
            absence=absences[number % len(absences)] if settings.absences else "none",
        )
        for frame_number, shot in enumerate(shots, start=1):
            _save(shot, folder / "img" / f"{frame_number:08d}.jpg")
            target = shot.objects[0]
            gone = target.inside < _ABSENT
            absent = gone or target.visible < _ABSENT or target.visible_xyxy is None
            hidden.append(int(absent and not gone))
            outside.append(int(gone))
            x1, y1, x2, y2 = target.visible_xyxy or (0, 0, 0, 0)
            boxes.append("0,0,0,0" if absent else f"{x1 + 1},{y1 + 1},{x2 - x1},{y2 - y1}")
        _write_lines(folder / "groundtruth.txt", boxes)
        _write_lines(folder / "full_occlusion.txt", [",".join(map(str, hidden))])
        _write_lines(folder / "out_of_view.txt", [",".join(map(str, outside))])
        _write_lines(folder / "nlp.txt", [f"a patterned {class_name} moving over the ground"])
        if number >= settings.train_videos:
            testing.append(name)
        yield
    _write_lines(base / "testing_set.txt", testing)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
