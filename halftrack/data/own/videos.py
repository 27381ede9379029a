"""Videos of a user's data with their ground truth, whatever their layout: what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from halftrack.data.images import load_image
from halftrack.data.index import VideoIndex
from halftrack.data.mot.mot_challenge import read_mot, read_sequence
from halftrack.data.mot.records import MotRows, MotSequence
from halftrack.data.own.films import read_films
from halftrack.data.own.json_images import json_files, read_json
from halftrack.data.own.layouts import OwnData, sequence_folders
from halftrack.data.own.settings import vid_config
from halftrack.data.own.yolo import read_yolo
from halftrack.data.sot.benchmarks import read_sot
from halftrack.data.sot.sequences import SotSequence
from halftrack.data.vid.indexes import read_test_index
from halftrack.data.video_source import open_video
from halftrack.frames import Tracks

__all__ = ["OwnVideo", "own_videos"]


@dataclass(frozen=True, kw_only=True)
class OwnVideo:
    """One video, or all stills of a set, with its ground truth."""

    name: str
    """The video's name, with its folder where it has one."""
    numbers: range
    """Numbers of its frames as results count them."""
    class_names: tuple[str, ...]
    """Names of the classes, in the order of the labels; empty where there is one alone."""
    images: Callable[[Sequence[int]], Iterator[Tensor]]
    """Images uint8 ``(3, height, width)`` at rising positions, the first frame's being 0."""
    truth: Callable[[int], Tracks]
    """Objects of the frame at a position, in original pixels; stills number theirs."""
    frame_rate: float = 30.0
    """Frames a second."""

    def __len__(self) -> int:
        return len(self.numbers)


def own_videos(data: OwnData) -> list[OwnVideo]:
    """All videos of a user's data, those to learn from first.

    Args:
        data: as recognised.

    Raises:
        DataError: at the first file that is missing or malformed.
    """
    return list(_OPENED[data.kind](data))


def _vid(data: OwnData) -> Iterator[OwnVideo]:
    config, read = vid_config(data)
    for index in read:
        yield from _of_index(index)
    if config.training_sets and "val" in data.parts:
        yield from _of_index(read_test_index(config, data.root))


def _mot(data: OwnData) -> Iterator[OwnVideo]:
    for part in data.parts:
        found = read_mot(data.root, part, benchmark=data.benchmark)  # type: ignore[arg-type]
        yield from map(_of_sequence, found)


def _sequences(data: OwnData) -> Iterator[OwnVideo]:
    for folder in sequence_folders(data):
        yield _of_sequence(read_sequence(folder, "train", data.benchmark))  # type: ignore[arg-type]


def _sot(data: OwnData) -> Iterator[OwnVideo]:
    for part in data.parts:
        found = read_sot(data.root, data.benchmark, part)  # type: ignore[arg-type]
        yield from map(_of_target, found)


def _coco(data: OwnData) -> Iterator[OwnVideo]:
    for file in json_files(data):
        yield from _of_index(read_json(file), stills=file.stem)


def _yolo(data: OwnData) -> Iterator[OwnVideo]:
    yield from _of_index(read_yolo(data.place))


def _films(data: OwnData) -> Iterator[OwnVideo]:
    for film in read_films(data, None):
        yield _of_sequence(film)


_OPENED: dict[str, Callable[[OwnData], Iterator[OwnVideo]]] = {
    "vid": _vid,
    "mot": _mot,
    "sequences": _sequences,
    "sot": _sot,
    "coco": _coco,
    "yolo": _yolo,
    "films": _films,
}


def _of_index(index: VideoIndex, stills: str = "stills") -> Iterator[OwnVideo]:
    """The videos of an index; its stills, which are videos of one frame, together."""
    spans = [(name, *index.span(video)) for video, name in enumerate(index.video_names)]
    if spans and all(stop - start == 1 for _, start, stop in spans):
        spans = [(stills, 0, index.num_frames)]
    for name, start, stop in spans:

        def images(positions: Sequence[int], start: int = start) -> Iterator[Tensor]:
            return (load_image(index.path(start + position)) for position in positions)

        def truth(position: int, start: int = start) -> Tracks:
            boxes = index.boxes_of(start + position)
            ids = index.track_ids[boxes]
            ids = np.where(ids < 0, np.arange(len(ids)), ids)
            return _tracks(ids, index.boxes_xyxy[boxes], index.labels[boxes])

        yield OwnVideo(
            name=name,
            numbers=range(1, stop - start + 1),
            class_names=tuple(name for name, _ in index.classes),
            images=images,
            truth=truth,
        )


def _of_sequence(sequence: MotSequence) -> OwnVideo:
    def images(positions: Sequence[int]) -> Iterator[Tensor]:
        if sequence.folder.is_file():  # a film: one frame after the other
            return (each.image for each in open_video(sequence.folder).at(positions))
        paths = (sequence.path(sequence.frame_numbers[position]) for position in positions)
        return map(load_image, paths)

    def truth(position: int) -> Tracks:
        if sequence.truth is None:
            return _tracks(np.empty(0), np.empty((0, 4)), np.empty(0))
        rows: MotRows = sequence.truth.in_frame(sequence.frame_numbers[position])
        return _tracks(rows.ids, rows.boxes_xyxy, rows.classes - 1)

    return OwnVideo(
        name=sequence.name,
        numbers=sequence.frame_numbers,
        class_names=sequence.class_names,
        images=images,
        truth=truth,
        frame_rate=sequence.frame_rate,
    )


def _of_target(sequence: SotSequence) -> OwnVideo:
    def truth(position: int) -> Tracks:
        boxes = sequence.boxes_xyxy
        if boxes is None:
            boxes = sequence.first_box_xyxy[None]
        here = boxes[position : position + 1]
        if sequence.absent[position] or np.isnan(here).any():
            here = here[:0]
        return _tracks(np.zeros(len(here)), here, np.zeros(len(here)))

    return OwnVideo(
        name=sequence.name,
        numbers=range(1, len(sequence) + 1),
        class_names=(),
        images=lambda positions: (load_image(sequence.path(each)) for each in positions),
        truth=truth,
    )


def _tracks(ids: object, boxes_xyxy: object, labels: object) -> Tracks:
    boxes = torch.tensor(np.asarray(boxes_xyxy, dtype=np.float32).reshape(-1, 4))
    return Tracks(
        ids=torch.tensor(np.asarray(ids, dtype=np.int64)),
        boxes_xyxy=boxes,
        scores=torch.ones(len(boxes)),
        labels=torch.tensor(np.asarray(labels, dtype=np.int64)),
    )
