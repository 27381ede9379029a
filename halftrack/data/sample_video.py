"""Writes sample video in the three official layouts, to try everything without a download.

ImageNet VID, MOT17 and LaSOT as FORMATS of their makers have them, filmed in the world of
sample_world.py.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from halftrack.data.sample_world import SAMPLE_CLASSES, SeenObject, Shot, film

__all__ = ["Layout", "SampleSettings", "write_sample"]

Layout = Literal["vid", "mot", "sot"]

_MARKER = "halftrack_sample.json"
_ANNOTATED = 0.25  # objects of which less can be seen are not annotated in ImageNet VID
_ABSENT = 0.05  # a LaSOT target of which less can be seen is absent


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """What is filmed."""

    layout: Layout = "vid"
    """Official layout: ``vid`` (ImageNet VID), ``mot`` (MOT17) or ``sot`` (LaSOT)."""
    seed: int = 0
    """Origin of all randomness."""
    train_videos: int = 24
    """Training videos; in the MOT layout, whose sequences are halved by time, all videos."""
    val_videos: int = 8
    """Validation videos; LaSOT's testing set."""
    frames: int = 40
    """Frames a video."""
    size: tuple[int, int] = (192, 320)
    """Height and width in pixels."""


def write_sample(
    root: Path,
    settings: SampleSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write sample video below ``root``, unless the same already lies there.

    Args:
        root: the data root, as ``--data-root`` takes it.
        settings: what is filmed.
        overwrite: replace sample video of other settings.
        progress: called with the videos done and the videos in all.

    Raises:
        FileExistsError: if ``root`` holds anything that this function did not write, or other
        settings without
            ``overwrite``.
    """
    settings = settings or SampleSettings()
    wanted = json.loads(json.dumps(asdict(settings)))
    marker = root / _MARKER
    if marker.is_file():
        found = json.loads(marker.read_text(encoding="utf-8"))
        if found == wanted:
            return root
        if not overwrite:
            raise FileExistsError(
                f"{root} holds sample video of other settings: {found}; asked for {wanted}. "
                "Choose another folder or overwrite."
            )
        shutil.rmtree(root)
    elif root.exists() and any(root.iterdir()):
        raise FileExistsError(
            f"{root} is not empty and holds no sample video: choose another folder"
        )
    root.mkdir(parents=True, exist_ok=True)
    writer = {"vid": _write_vid, "mot": _write_mot, "sot": _write_sot}[settings.layout]
    videos = settings.train_videos + settings.val_videos
    for done, _ in enumerate(writer(root, settings), start=1):
        if progress is not None:
            progress(done, videos)
    # Written last: without it the folder is an unfinished one, and refused.
    marker.write_text(json.dumps(wanted), encoding="utf-8")
    return root


def _rng(settings: SampleSettings, video: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{settings.seed}:{settings.layout}:{video}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _save(shot: Shot, path: Path) -> None:
    shot.image.save(path, quality=90)


def _clipped(seen: SeenObject, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box inside the image, in whole pixels."""
    height, width = size
    x1, y1, x2, y2 = seen.box_xyxy
    return (
        round(min(max(x1, 0), width)),
        round(min(max(y1, 0), height)),
        round(min(max(x2, 0), width)),
        round(min(max(y2, 0), height)),
    )


def _write_vid(root: Path, settings: SampleSettings) -> Iterator[None]:
    base = root / "ILSVRC"
    height, width = settings.size
    key_lines, train_lines, val_lines = [], [], []
    names = [
        f"train/ILSVRC2015_VID_train_0000/sample_train_{i:04d}"
        for i in range(settings.train_videos)
    ]
    names += [f"val/sample_val_{i:04d}" for i in range(settings.val_videos)]
    for name in names:
        rng = _rng(settings, name)
        pictures, labels = base / "Data/VID" / name, base / "Annotations/VID" / name
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        annotated = []
        shots = film(
            rng, frames=settings.frames, size=settings.size, objects=int(rng.integers(1, 5))
        )
        for index, shot in enumerate(shots):
            _save(shot, pictures / f"{index:06d}.JPEG")
            seen = [each for each in shot.objects if each.visible >= _ANNOTATED]
            boxes = "".join(_vid_object(each, settings.size) for each in seen)
            (labels / f"{index:06d}.xml").write_text(
                f"<annotation><folder>{name}</folder><filename>{index:06d}</filename>"
                f"<source><database>halftrack sample</database></source>"
                f"<size><width>{width}</width><height>{height}</height></size>{boxes}</annotation>",
                encoding="utf-8",
            )
            if seen:
                annotated.append(index)
        short = name.split("/", 1)[1]
        if name.startswith("train/"):
            train_lines.append(f"{short} 1")
            picks = np.unique(np.linspace(0, len(annotated) - 1, 15).round().astype(int))
            key_lines += [f"{name} 1 {annotated[pick] + 1} {settings.frames}" for pick in picks]
        else:
            start = len(val_lines)
            val_lines += [f"{short}/{i:06d} {start + i + 1}" for i in range(settings.frames)]
        yield
    _write_lines(base / "ImageSets/VID/train_1.txt", train_lines)
    _write_lines(base / "ImageSets/VID/val.txt", val_lines)
    _write_lines(base / "Lists/VID_train_15frames.txt", key_lines)


def _vid_object(seen: SeenObject, size: tuple[int, int]) -> str:
    x1, y1, x2, y2 = _clipped(seen, size)
    return (
        f"<object><trackid>{seen.identity}</trackid><name>{SAMPLE_CLASSES[seen.label][1]}</name>"
        f"<bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax><ymin>{y1}</ymin></bndbox>"
        f"<occluded>{int(seen.visible < 0.9)}</occluded><generated>0</generated></object>"
    )


def _write_mot(root: Path, settings: SampleSettings) -> Iterator[None]:
    height, width = settings.size
    for number in range(settings.train_videos + settings.val_videos):
        split = "train" if number < settings.train_videos else "test"
        name = f"MOT17-{60 + number:02d}-FRCNN"
        folder = root / "MOT17" / split / name
        for part in ("img1", "gt", "det"):
            (folder / part).mkdir(parents=True)
        rng = _rng(settings, name)
        truth, found = [], []
        shots = film(
            rng, frames=settings.frames, size=settings.size, objects=int(rng.integers(3, 7))
        )
        for frame_number, shot in enumerate(shots, start=1):
            _save(shot, folder / "img1" / f"{frame_number:06d}.jpg")
            for seen in shot.objects:
                x1, y1, x2, y2 = seen.box_xyxy
                if seen.visible <= 0.0:
                    continue
                truth.append(
                    f"{frame_number},{seen.identity + 1},{x1 + 1:.2f},{y1 + 1:.2f},"
                    f"{x2 - x1:.2f},{y2 - y1:.2f},1,1,{seen.visible:.4f}"
                )
                found += _noisy_detection(rng, frame_number, seen)
        _write_lines(folder / "gt" / "gt.txt", truth)
        _write_lines(folder / "det" / "det.txt", found)
        _write_lines(
            folder / "seqinfo.ini",
            [
                "[Sequence]",
                f"name={name}",
                "imDir=img1",
                "frameRate=15",
                f"seqLength={settings.frames}",
                f"imWidth={width}",
                f"imHeight={height}",
                "imExt=.jpg",
            ],
        )
        yield


def _noisy_detection(rng: np.random.Generator, frame_number: int, seen: SeenObject) -> list[str]:
    """What a mediocre public detector says of one object: a shaky box, nothing, or one box too many."""
    lines = []
    x1, y1, x2, y2 = seen.box_xyxy
    side = x2 - x1
    if seen.visible > 0.3 and rng.uniform() > 0.1:
        box = np.asarray([x1 + 1, y1 + 1, x2 - x1, y2 - y1]) + rng.normal(0, 0.03 * side, 4)
        score = np.clip(seen.visible - rng.uniform(0, 0.3), 0.05, 1.0)
        lines.append(f"{frame_number},-1," + ",".join(f"{v:.2f}" for v in box) + f",{score:.3f}")
    if rng.uniform() < 0.03:
        stray = rng.normal(0, 2 * side, 2) + (x1, y1)
        lines.append(
            f"{frame_number},-1,{stray[0]:.2f},{stray[1]:.2f},{side:.2f},{side:.2f},"
            f"{rng.uniform(0.05, 0.5):.3f}"
        )
    return lines


def _write_sot(root: Path, settings: SampleSettings) -> Iterator[None]:
    base = root / "LaSOTBenchmark"
    testing = []
    for number in range(settings.train_videos + settings.val_videos):
        label = number % len(SAMPLE_CLASSES)
        class_name = SAMPLE_CLASSES[label][0]
        name = f"{class_name}-{number // len(SAMPLE_CLASSES) + 1}"
        folder = base / class_name / name
        (folder / "img").mkdir(parents=True)
        rng = _rng(settings, name)
        boxes, hidden, outside = [], [], []
        shots = film(rng, frames=settings.frames, size=settings.size, objects=3, label=label)
        for frame_number, shot in enumerate(shots, start=1):
            _save(shot, folder / "img" / f"{frame_number:08d}.jpg")
            target = shot.objects[0]
            x1, y1, x2, y2 = _clipped(target, settings.size)
            absent = target.visible < _ABSENT
            gone = absent and (x2 <= x1 or y2 <= y1)
            boxes.append(f"{x1 + 1},{y1 + 1},{x2 - x1},{y2 - y1}")
            hidden.append(int(absent and not gone))
            outside.append(int(gone))
        _write_lines(folder / "groundtruth.txt", boxes)
        _write_lines(folder / "full_occlusion.txt", [",".join(map(str, hidden))])
        _write_lines(folder / "out_of_view.txt", [",".join(map(str, outside))])
        _write_lines(folder / "nlp.txt", [f"{class_name} moving over a blurred ground"])
        if number >= settings.train_videos:
            testing.append(name)
        yield
    _write_lines(base / "testing_set.txt", testing)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
