"""Video files, each with MOTChallenge's rows in a text file of its name beside it."""

from __future__ import annotations

from pathlib import Path

from halftrack.data.mot.classes import names_beside
from halftrack.data.mot.records import MotSequence
from halftrack.data.mot.tables import read_truth
from halftrack.data.own.layouts import OwnData
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.progress import Progress
from halftrack.data.tables.seqinfo import MOST_FRAMES
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
        decode: decode every frame: a file may hold fewer than it says, and be damaged.
        progress: told (videos read, videos in all).

    Raises:
        DataError: if a video, or its text file, is missing or malformed.
    """
    found = []
    for done, name in enumerate(data.parts, start=1):
        with noting(problems):
            found.append(_read_film(data.place / name, decode=decode))
        if progress is not None:
            progress(done, len(data.parts))
    return tuple(found)


def _read_film(film: Path, *, decode: bool) -> MotSequence:
    video, table = open_video(film), film.with_suffix(".txt")
    if not table.is_file():
        raise DataError(str(table), "text file of MOT rows is missing beside the video")
    frames = sum(1 for _ in video.pictures()) if decode else video.num_frames or MOST_FRAMES
    names = names_beside(table)
    rows, odd = read_truth(table, frames, video.size, "MOT17", len(names))
    if frames == MOST_FRAMES:  # the container does not say how many it holds
        frames = int(rows.frame_numbers.max(initial=1))
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
