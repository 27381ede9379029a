"""Tracking a video into files: names, times and notes, with a tracker that sees nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from halftrack.data import VideoSource, open_video
from halftrack.frames import Tracks
from halftrack.report import track_video as module
from halftrack.report.track_video import track_video

NO_TRACKS = Tracks(
    ids=torch.zeros(0, dtype=torch.int64),
    boxes_xyxy=torch.zeros(0, 4),
    scores=torch.zeros(0),
    labels=torch.zeros(0, dtype=torch.int64),
)


@pytest.fixture(autouse=True)
def sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def track(_: object, source: VideoSource, **how: object) -> Iterator[tuple[object, Tracks]]:
        for each in source:
            yield each, NO_TRACKS

    monkeypatch.setattr(module, "track", track)


def write_film(path: Path, times_ms: list[int], aspect: Fraction = Fraction(1)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.sample_aspect_ratio = aspect
        for time in times_ms:
            frame = av.VideoFrame.from_ndarray(np.zeros((96, 128, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def lines(file: Path) -> int:
    return len(file.read_text().splitlines())


def test_two_videos_of_one_name_keep_their_tracks(tmp_path: Path) -> None:
    write_film(tmp_path / "a" / "clip.mp4", [0, 40, 80])
    write_film(tmp_path / "b" / "clip.mp4", [0, 40])
    (tmp_path / "a" / "clip.mov").write_bytes((tmp_path / "b" / "clip.mp4").read_bytes())
    out = tmp_path / "tracks"
    for video in ("a/clip.mp4", "b/clip.mp4", "a/clip.mov", "a/clip.mp4"):
        done = track_video(None, tmp_path / video, out, film=False)
    assert [file.name for file in done.files] == ["clip.txt", "clip.jsonl"]
    assert done.notes == ()
    assert [lines(out / f"{name}.jsonl") for name in ("clip", "clip-2", "clip-3")] == [3, 2, 2]
    done = track_video(None, tmp_path / "b" / "clip.mp4", out, film=False)
    assert done.notes == (f"{out} holds another video's clip: files are called clip-2",)


def test_times_and_the_shape_of_pixels_are_kept_in_every_file(tmp_path: Path) -> None:
    times = [0, 20, 53, 153, 173, 600]
    write_film(tmp_path / "clip.mp4", times, Fraction(4, 3))
    track_video(None, tmp_path / "clip.mp4", tmp_path / "out")
    seconds = pytest.approx([time / 1000 for time in times], abs=1e-3)
    written = (tmp_path / "out" / "clip.jsonl").read_text().splitlines()
    assert [json.loads(line)["time"] for line in written] == seconds
    film = open_video(tmp_path / "out" / "clip.mp4")
    assert [each.time for each in film] == seconds
    assert film.pixel_aspect == Fraction(4, 3)


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(tmp_path: Path) -> None:
    write_film(tmp_path / "clip.mp4", [0])
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match="out"):
        track_video(None, tmp_path / "clip.mp4", tmp_path / "out")
