"""Pictures and films of a user's data: ground truth, and results beside it, drawn into frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from halftrack.data import Progress
from halftrack.data.files import file_name
from halftrack.data.own.layouts import OwnData
from halftrack.data.own.videos import OwnVideo, own_videos
from halftrack.errors import UserError
from halftrack.evaluation.mot_results import read_results
from halftrack.evaluation.sot_results import read_boxes
from halftrack.frames import Tracks
from halftrack.report.drawing import Trails, draw_tracks
from halftrack.report.video import VideoWriter

__all__ = ["show_data"]

Answers = Callable[[int], Tracks]


def show_data(
    found: Sequence[OwnData],
    out: Path,
    *,
    results: Path | None = None,
    film: bool = False,
    frames: int = 4,
    videos: int = 8,
    progress: Progress | None = None,
) -> dict[OwnData, list[Path]]:
    """Draw boxes, ids and classes into frames of each video; returns the files of each data set.

    With results these have the coloured boxes and ids, and ground truth is drawn thin and white.

    Args:
        found: data sets, as recognised.
        out: the folder of the pictures, made if it is not there; several sets have one each below.
        results: a folder of ``<sequence>.txt`` as trackers write them; videos without are left out.
        film: write a film of all frames of each video, in the place of pictures of some.
        frames: most pictures of a video, spread over all of it.
        videos: most videos of a set that are drawn, the first ones.
        progress: told (videos drawn, videos in all).

    Raises:
        DataError: if a file of the data cannot be used.
        ValueError: if results are malformed, or none is of a video here.
    """
    there = {data: own_videos(data) for data in found}
    chosen = {data: _chosen(data, there[data], results)[:videos] for data in found}
    if results is not None and not any(chosen.values()):
        names = [f"{video.name}.txt" for each in there.values() for video in each]
        told = ", ".join(names[:3])
        raise UserError(f"{results}: no result file of a video here, expected {told}, ...")
    files: dict[OwnData, list[Path]] = {}
    done, count = 0, sum(map(len, chosen.values()))
    for data, all_drawn in chosen.items():
        folder = out / _folder_name(data) if len(found) > 1 else out
        folder.mkdir(parents=True, exist_ok=True)
        files[data] = []
        for name, drawn in _named(all_drawn):
            files[data] += (
                [_film(drawn, folder / f"{name}.mp4")]
                if film
                else _pictures(drawn, folder, name, frames)
            )
            done += 1
            if progress is not None:
                progress(done, count)
    return files


def _folder_name(data: OwnData) -> str:
    """The folder and what is in it: one folder may hold two benchmarks."""
    return "_".join(dict.fromkeys((data.place.name, data.benchmark or data.kind)))


@dataclass(frozen=True)
class _Drawn:
    """A video whose frames are drawn into."""

    video: OwnVideo
    answers: Answers | None
    """Results by position of a frame; None to draw ground truth alone."""

    def frames(self, positions: range | list[int], *, trails: bool) -> Iterator[Image.Image]:
        """The frames at rising positions; trails are of all that were drawn."""
        video, behind = self.video, Trails() if trails else None
        for position, image in zip(positions, video.images(positions), strict=True):
            truth = video.truth(position)
            shown = truth if self.answers is None else self.answers(position)
            if behind is not None:
                behind.add(shown)
            names = video.class_names if self.answers is None else ()
            picture = draw_tracks(image, shown, trails=behind, class_names=names or None)
            if self.answers is not None:
                draw = ImageDraw.Draw(picture)
                for box in truth.boxes_xyxy.tolist():
                    draw.rectangle(box, outline="white", width=1)
            yield picture


def _named(all_drawn: Sequence[_Drawn]) -> Iterator[tuple[str, _Drawn]]:
    """The videos by names of files, numbered where two are called alike, as in train and test."""
    taken: Counter[str] = Counter()
    for drawn in all_drawn:
        name = file_name(drawn.video.name)
        taken[name] += 1
        yield (name if taken[name] == 1 else f"{name}_{taken[name]}"), drawn


def _pictures(drawn: _Drawn, out: Path, name: str, count: int) -> list[Path]:
    length = len(drawn.video)
    spread = np.linspace(0, length - 1, min(count, length)).round().astype(int)
    files = []
    for position, picture in zip(
        spread.tolist(), drawn.frames(spread.tolist(), trails=False), strict=True
    ):
        files.append(out / f"{name}_{drawn.video.numbers[position]:06d}.png")
        picture.save(files[-1])
    return files


def _film(drawn: _Drawn, file: Path) -> Path:
    frames = drawn.frames(range(len(drawn.video)), trails=True)
    first = next(frames)
    with VideoWriter(
        file, size=(first.height, first.width), frame_rate=drawn.video.frame_rate
    ) as film:
        film.write(first)
        for frame in frames:
            film.write(frame)
    return file


def _chosen(data: OwnData, videos: list[OwnVideo], results: Path | None) -> list[_Drawn]:
    """All videos; with results those that have a file of them."""
    if results is None:
        return [_Drawn(video, None) for video in videos]
    files = [(video, results / f"{video.name}.txt") for video in videos]
    return [
        _Drawn(video, _boxes(file) if data.kind == "sot" else _rows(file, video))
        for video, file in files
        if file.is_file()
    ]


def _rows(file: Path, video: OwnVideo) -> Answers:
    rows = read_results(file)

    def at(position: int) -> Tracks:
        here = rows.frame_numbers == video.numbers[position]
        return _tracks(rows.ids[here], rows.boxes_xyxy[here])

    return at


def _boxes(file: Path) -> Answers:
    boxes = read_boxes(file)
    return lambda position: _tracks(
        np.zeros(len(boxes[position : position + 1])), boxes[position : position + 1]
    )


def _tracks(ids: object, boxes_xyxy: object) -> Tracks:
    boxes = torch.tensor(np.asarray(boxes_xyxy, dtype=np.float32))
    kinds = torch.zeros(len(boxes), dtype=torch.int64)
    named = torch.tensor(np.asarray(ids, dtype=np.int64))
    return Tracks(ids=named, boxes_xyxy=boxes, scores=torch.ones(len(boxes)), labels=kinds)
