"""Video files as people have them: turned, mirrored, uneven, not square, with sound, cut short."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from halftrack.data import DataError, open_video

SIZE = (96, 128)
NOISE = np.random.default_rng(0)
# Four colours, so that each turn and mirroring shows.
CORNERS = np.zeros((*SIZE, 3), dtype=np.uint8)
CORNERS[:48, :64], CORNERS[:48, 64:] = (250, 20, 20), (20, 250, 20)
CORNERS[48:, :64], CORNERS[48:, 64:] = (20, 20, 250), (250, 250, 250)


def write_film(
    path: Path,
    frames: int = 6,
    *,
    times_ms: list[int] | None = None,
    aspect: Fraction | None = None,
    codec: str = "libx264",
    noisy: bool = False,
    sound: bool = False,
    cover: bool = False,
) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as film:
        stream = film.add_stream(codec, rate=25)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        track = film.add_stream("aac", rate=8000, layout="mono") if sound else None
        if cover:
            film.add_stream("mjpeg", rate=25)
        for number in range(frames if times_ms is None else len(times_ms)):
            pixels = NOISE.integers(0, 255, (*SIZE, 3), dtype=np.uint8) if noisy else CORNERS
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
        if track is not None:
            samples = np.zeros((1, 8000 * frames // 25 + 16000), np.float32)
            heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            heard.sample_rate = 8000
            film.mux(track.encode(heard))
            film.mux(track.encode(None))


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix into an mp4 file; 1 is as stored."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    content[start : start + 36] = struct.pack(">9i", *values)
    path.write_bytes(content)


SHOWN = {  # matrix, and the same turn by NumPy
    "as stored": ((1, 0, 0, 1), CORNERS),
    "a quarter clockwise": ((0, 1, -1, 0), np.rot90(CORNERS, -1)),
    "a quarter counter-clockwise": ((0, -1, 1, 0), np.rot90(CORNERS)),
    "upside down": ((-1, 0, 0, -1), np.rot90(CORNERS, 2)),
    "mirrored left to right": ((-1, 0, 0, 1), CORNERS[:, ::-1]),
    "mirrored top to bottom": ((1, 0, 0, -1), CORNERS[::-1]),
    "transposed": ((0, 1, 1, 0), CORNERS.transpose(1, 0, 2)),
    "transposed the other way": ((0, -1, -1, 0), np.rot90(CORNERS, 2).transpose(1, 0, 2)),
    "a matrix of zeros": ((0, 0, 0, 0), CORNERS),
}


@pytest.mark.parametrize("story", SHOWN)
def test_frames_are_turned_and_mirrored_as_players_show_them(story: str, tmp_path: Path) -> None:
    matrix, expected = SHOWN[story]
    write_film(tmp_path / "a.mp4", 2)
    set_matrix(tmp_path / "a.mp4", *matrix)
    video = open_video(tmp_path / "a.mp4")
    assert video.size == expected.shape[:2]
    for each in video:
        shown = torch.from_numpy(np.ascontiguousarray(expected)).permute(2, 0, 1)
        assert each.image.is_contiguous()
        assert (each.image.int() - shown.int()).abs().float().mean() < 8


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_uneven_frames_keep_their_times(ending: str, tmp_path: Path) -> None:
    times = [0, 20, 53, 153, 173, 600, 640, 641]
    write_film(tmp_path / f"a.{ending}", times_ms=[40 + time for time in times])
    video = open_video(tmp_path / f"a.{ending}")
    assert [each.time for each in video] == pytest.approx([t / 1000 for t in times], abs=1e-3)
    assert video.varying_rate
    assert any("not evenly spaced" in note for note in video.notes)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "ts"])
@pytest.mark.parametrize("frames", [1, 6, 150])
def test_even_frames_are_not_called_uneven(ending: str, frames: int, tmp_path: Path) -> None:
    write_film(tmp_path / f"a.{ending}", frames)
    video = open_video(tmp_path / f"a.{ending}")
    assert not video.varying_rate
    assert video.notes == ()
    times = [each.time for each in video]
    assert times == pytest.approx([number / 25 for number in range(frames)], abs=1e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square_are_told(turned: bool, tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", aspect=Fraction(4, 3))
    if turned:
        set_matrix(tmp_path / "a.mp4", 0, 1, -1, 0)
    video = open_video(tmp_path / "a.mp4")
    assert video.size == (SIZE[::-1] if turned else SIZE)
    assert video.pixel_aspect == (Fraction(3, 4) if turned else Fraction(4, 3))
    assert any("pixels are 4:3, not square" in note for note in video.notes)


@pytest.mark.parametrize("ending", ["mkv", "webm", "mp4", "ts"])
@pytest.mark.parametrize("part", [0.5, 0.8])
@pytest.mark.parametrize("sound", [False, True])
def test_a_film_cut_short_is_an_error(
    ending: str, part: float, sound: bool, tmp_path: Path
) -> None:
    codec = "libvpx" if ending == "webm" else "libx264"
    if sound and ending == "webm":
        pytest.skip("no sound that this container takes")
    write_film(tmp_path / f"a.{ending}", 60, codec=codec, noisy=True, sound=sound)
    assert len(list(open_video(tmp_path / f"a.{ending}"))) == 60
    content = (tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"cut.{ending}").write_bytes(content[: int(len(content) * part)])
    seen = []
    with pytest.raises(DataError, match=r"cut\.\w+: (frame \d+ cannot|ends after .*) .*cut short"):
        seen.extend(each.time for each in open_video(tmp_path / f"cut.{ending}"))
    assert 0 < len(seen) < 60


def test_sound_that_lasts_longer_is_no_damage(tmp_path: Path) -> None:
    for ending in ("mkv", "mp4"):
        write_film(tmp_path / f"a.{ending}", 30, sound=True)
        assert len(list(open_video(tmp_path / f"a.{ending}"))) == 30


def test_frames_above_the_limit_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from halftrack.data import video_file

    write_film(tmp_path / "a.mp4")
    monkeypatch.setattr(video_file, "MAX_PIXELS", 96 * 128 - 1)
    with pytest.raises(DataError, match=r"a\.mp4: frames are 128x96, .*; allowed are"):
        open_video(tmp_path / "a.mp4")


def test_a_song_with_a_cover_is_no_film(tmp_path: Path) -> None:
    picture = b"\xff\xd8" + bytes(10)
    frame = b"APIC" + struct.pack(">IH", len(picture) + 14, 0)
    frame += b"\0image/jpeg\0\x03\0" + picture
    size = bytes([0, 0, len(frame) >> 7, len(frame) & 127])
    with av.open(str(tmp_path / "plain.mp3"), "w") as song:
        stream = song.add_stream("mp3", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        sound.sample_rate = 8000
        song.mux(stream.encode(sound))
        song.mux(stream.encode(None))
    tagged = b"ID3\x03\0\0" + size + frame + (tmp_path / "plain.mp3").read_bytes()
    (tmp_path / "song.mp3").write_bytes(tagged)
    with pytest.raises(DataError, match=r"song\.mp3: has no video stream but .*audio"):
        open_video(tmp_path / "song.mp3")


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n",
        "ffconcat version 1.0\nfile other.mp4\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\n",
        "<?xml version='1.0'?>\n<MPD></MPD>\n",
    ],
)
def test_a_playlist_is_refused_without_waiting(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text(content)
    with pytest.raises(DataError, match=r"a\.mp4: is a list of videos, expected one of them"):
        open_video(tmp_path / "a.mp4")
