"""Video files, each with MOTChallenge's rows in a text file of its name beside it."""

from __future__ import annotations

from pathlib import Path

from halftrack.data.mot.classes import names_beside
from halftrack.data.mot.records import MotSequence
from halftrack.data.mot.tables import read_truth
from halftrack.data.own.layouts import OwnData
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.progress import Progress
from halftrack.data.sot.folders import named_once
from halftrack.data.video_source import open_video

__all__ = ["read_films"]


def read_films(
    data: OwnData,
    problems: list[Problem] | None,
    *,
    decode: bool = False,
    progress: Progress | None = None,
) -> tuple[MotSequence, ...]:
    """The videos as sequences, whose ``folder`` is the video file.

    Args:
        data: of the kind ``films``.
        problems: videos that cannot be used are left out and noted here; None raises the first.
        decode: decode every frame: a file may hold fewer than it says, and be damaged. One that
            does not say how many it holds, such as Matroska's, is decoded in any case.
        progress: told (videos read, videos in all).

    Raises:
        DataError: if a video, or its text file, is missing or malformed, or two have one name.
    """
    found = []
    for done, name in enumerate(data.parts, start=1):
        with noting(problems):
            found.append(_read_film(data.place / name, decode=decode))
        if progress is not None:
            progress(done, len(data.parts))
    return named_once(found, problems)


def _read_film(film: Path, *, decode: bool) -> MotSequence:
    video, table = open_video(film), film.with_suffix(".txt")
    if not table.is_file():
        raise DataError(str(table), "text file of MOT rows is missing beside the video")
    frames = video.num_frames
    if decode or frames is None:
        frames = sum(1 for _ in video.pictures())
    names = names_beside(table)
    rows, odd = read_truth(table, frames, video.size, "MOT17", len(names))
    return MotSequence(
        name=video.name,
        folder=film,
        frame_numbers=range(1, frames + 1),
        size=video.size,
        num_frames=frames,
        frame_rate=video.frame_rate,
        class_names=names,
        truth=rows,
        odd={what: count for what, count in odd.items() if count},
    )
