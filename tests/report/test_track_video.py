"""Tracking a video into files: names, times and notes, with a tracker that sees nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from halftrack.data import VideoSource, open_video
from halftrack.errors import UserError
from halftrack.frames import Tracks
from halftrack.recipes import load_recipe
from halftrack.report import track_video as module
from halftrack.report.track_video import track_video

RECIPE = load_recipe("tracktor_tiny_sample")
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
        done = track_video(RECIPE, tmp_path / video, out, film=False)
    assert [file.name for file in done.files] == ["clip.txt", "clip.jsonl", "clip.csv"]
    assert done.notes == ()
    assert [lines(out / f"{name}.jsonl") for name in ("clip", "clip-2", "clip-3")] == [3, 2, 2]
    done = track_video(RECIPE, tmp_path / "b" / "clip.mp4", out, film=False)
    assert done.notes == (f"{out} holds another video's clip: files are called clip-2",)


def test_times_and_the_shape_of_pixels_are_kept_in_every_file(tmp_path: Path) -> None:
    times = [0, 20, 53, 153, 173, 600]
    write_film(tmp_path / "clip.mp4", times, Fraction(4, 3))
    track_video(RECIPE, tmp_path / "clip.mp4", tmp_path / "out")
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
        track_video(RECIPE, tmp_path / "clip.mp4", tmp_path / "out")


def test_the_film_plays_in_browsers(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (63, 47), (9 * number, 0, 0)).save(tmp_path / f"{number}.png")
    track_video(RECIPE, tmp_path, tmp_path / "out")
    written = tmp_path / "out" / f"{tmp_path.name}.mp4"
    with av.open(str(written)) as film:
        (stream,) = film.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (64, 48)
        assert sum(1 for _ in film.decode(stream)) == 3
    content = written.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # the index comes first


def test_pictures_of_a_folder_are_one_video_named_by_it(tmp_path: Path) -> None:
    (tmp_path / "street").mkdir()
    files = tuple(tmp_path / "street" / f"{number}.jpg" for number in (10, 2))
    for file in files:
        Image.new("RGB", (64, 48)).save(file)
    done = track_video(RECIPE, files, tmp_path / "out", film=False)
    assert (done.name, done.frames) == ("street", 2)


def test_another_list_of_images_replaces_no_tracks(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    for count in (1, 2):
        done = track_video(RECIPE, [image] * count, tmp_path / "out", film=False)
    assert done.name == "images-2"
    assert [lines(tmp_path / f"out/{name}.jsonl") for name in ("images", "images-2")] == [1, 2]


def test_errors_are_refused_of_a_recipe_that_tracks_one_object(tmp_path: Path) -> None:
    one = load_recipe("siamese_rpn_tiny_sample")
    with pytest.raises(UserError, match="--show-errors is of tracktor_ recipes alone, not siam"):
        track_video(one, [], tmp_path / "out", show_errors=tmp_path / "gt.txt")


def test_ctrl_c_ends_a_live_video_with_complete_files_and_its_notes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_film(tmp_path / "clip.mp4", [0, 40, 80, 120])
    source = open_video(tmp_path / "clip.mp4")

    def told(done: int, _: int | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    def track(
        _: object, source: VideoSource, *, say: Callable[[str], None], **how: object
    ) -> Iterator[tuple[object, Tracks]]:
        try:
            for each in source:
                yield each, NO_TRACKS
        finally:
            say("frames were dropped")

    monkeypatch.setattr(module, "track", track)
    live = replace(source, live=True, num_frames=None)
    done = track_video(RECIPE, live, tmp_path / "live", progress=told)
    assert (done.frames, done.notes) == (2, ("frames were dropped",))
    assert all(file.is_file() for file in done.files)
    with pytest.raises(KeyboardInterrupt):
        track_video(RECIPE, source, tmp_path / "file", progress=told)
    assert (tmp_path / "file" / "clip.mp4.partial").is_file()


def test_detections_are_counted_and_only_good_ones_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_film(tmp_path / "clip.mp4", [0, 40])
    found = Tracks(
        ids=torch.tensor([-1, -1]),
        boxes_xyxy=torch.tensor([[10.0, 20, 50, 60], [60.0, 20, 100, 60]]),
        scores=torch.tensor([0.9, 0.2]),
        labels=torch.tensor([1, 0]),
    )

    def track(_: object, source: VideoSource, **how: object) -> Iterator[tuple[object, Tracks]]:
        for each in source:
            yield each, found

    monkeypatch.setattr(module, "track", track)
    recipe = load_recipe("selsa_tiny_sample")
    done = track_video(recipe, tmp_path / "clip.mp4", tmp_path / "out")
    assert (done.tracks, done.frames) == (4, 2)
    assert (tmp_path / "out/clip.txt").read_text().splitlines()[:2] == [
        "1 2 0.9000 10.00 20.00 50.00 60.00",
        "1 1 0.2000 60.00 20.00 100.00 60.00",
    ]
    table = (tmp_path / "out/clip.csv").read_text().splitlines()
    assert table[1].split(",")[2:] == [
        *("-1", "10.000", "20.000", "50.000", "60.000", "0.9000", "1"),
        recipe.data.class_names[1],
    ]
    first = next(iter(open_video(tmp_path / "out/clip.mp4"))).image
    assert first[:, 20:60, 8:52].max() > 100
    assert first[:, 24:60, 60:100].max() < 60


@pytest.mark.parametrize("classes", [("car", "person"), ("car",)])
def test_a_tracker_of_several_classes_names_them_in_film_and_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, classes: tuple[str, ...]
) -> None:
    write_film(tmp_path / "clip.mp4", [0])
    found = Tracks(
        ids=torch.tensor([7]),
        boxes_xyxy=torch.tensor([[10.0, 20, 50, 60]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([len(classes) - 1]),
    )
    named: list[object] = []

    def draw(image: Tensor, tracks: Tracks, **how: object) -> Image.Image:
        named.append(how["class_names"])
        return Image.new("RGB", (128, 96))

    def track(_: object, source: VideoSource, **how: object) -> Iterator[tuple[object, Tracks]]:
        for each in source:
            yield each, found

    monkeypatch.setattr(module, "track", track)
    monkeypatch.setattr(module, "draw_tracks", draw)
    recipe = RECIPE.with_classes(classes, None)
    track_video(recipe, tmp_path / "clip.mp4", tmp_path / "out")
    assert named == [classes if len(classes) > 1 else None]  # one class alone needs no word
    assert (tmp_path / "out/clip.csv").read_text().splitlines()[1].endswith(f",{classes[-1]}")


@pytest.mark.parametrize("film", [True, False])
def test_errors_are_listed_with_a_picture_of_each_moment(tmp_path: Path, film: bool) -> None:
    write_film(tmp_path / "clip.mp4", [0, 40, 80])
    (tmp_path / "gt.txt").write_text("2,1,10,10,20,40,1,1,1\n")
    video, truth = tmp_path / "clip.mp4", tmp_path / "gt.txt"
    recipe = RECIPE.with_classes(("pedestrian", "tram"), None)
    done = track_video(recipe, video, tmp_path / "out", film=film, show_errors=truth)
    assert done.notes == (f"{truth}: no row is of the class tram with flag 1",)
    (line,) = done.worst
    assert line.startswith("1 errors in a second, most in frame 2: 1 missed, 0 false, 0 switched")
    assert Path(line.rpartition(": ")[2]).is_file()


class ClosedAt:
    """A window that its user closes at a frame."""

    closed = False

    def __init__(self, frame: int) -> None:
        self.frame = frame
        self.shown: list[tuple[int, int]] = []

    def show(self, picture: Image.Image, pixel_aspect: Fraction) -> None:
        self.shown.append(picture.size)
        self.closed = len(self.shown) == self.frame


@pytest.mark.parametrize("film", [True, False])
def test_closing_the_window_ends_a_video_with_complete_files(tmp_path: Path, film: bool) -> None:
    write_film(tmp_path / "clip.mp4", [0, 40, 80, 120])
    window = ClosedAt(2)
    done = track_video(RECIPE, tmp_path / "clip.mp4", tmp_path / "out", film=film, window=window)
    assert window.shown == [(128, 96)] * 2
    assert done.notes == ("clip: the window was closed at frame 2",)
    assert lines(tmp_path / "out/clip.jsonl") == done.frames == 2
    if film:
        assert len(list(open_video(tmp_path / "out/clip.mp4"))) == 2
    assert not list((tmp_path / "out").glob("*.partial"))
