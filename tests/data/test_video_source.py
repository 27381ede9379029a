"""Videos as sources of frames: files, folders, MOT sequences, what is wrong with them, memory."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from halftrack.data import DataError, images, open_video, video_file
from halftrack.data.images import prepare_frame
from halftrack.data.video_file import Picture

SIZE = (96, 128)
GROUND, SQUARE = (200, 30, 60), (30, 180, 90)


def square_frame(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """RGB ``(height, width, 3)``: a square 4 pixels further right in every frame."""
    pixels = np.full((*size, 3), GROUND, dtype=np.uint8)
    pixels[32:64, 8 + 4 * number : 40 + 4 * number] = SQUARE
    return pixels


def write_film(path: Path, frames: list[np.ndarray], *, container: str = "mp4") -> None:
    with av.open(str(path), "w", format=container) as film:
        stream = film.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        film.mux(stream.encode(None))


def write_images(folder: Path, names: list[str], size: tuple[int, int] = SIZE) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(square_frame(number, size)).save(folder / name)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "squares.mp4"
    write_film(path, [square_frame(number) for number in range(12)])
    return path


def test_a_file_comes_back_frame_by_frame_and_again(film: Path) -> None:
    video = open_video(film)
    assert (video.name, video.frame_rate, video.size, video.num_frames) == (
        *("squares", 25.0),
        SIZE,
        12,
    )
    for _ in range(2):
        frames = list(video)
        assert [each.frame.sample_id for each in frames][::11] == [
            "squares/000000",
            "squares/000011",
        ]
        assert [each.frame.frame_index for each in frames] == list(range(12))
        for number, each in enumerate(frames):
            assert each.image.dtype == torch.uint8
            assert each.image.is_contiguous()
            expected = torch.from_numpy(square_frame(number)).permute(2, 0, 1).float()
            assert (each.image.float() - expected).abs().mean() < 4


def test_frames_are_resized_as_a_dataset_resizes_them(tmp_path: Path) -> None:
    write_images(tmp_path / "clip", ["0.png"])
    only = next(iter(open_video(tmp_path / "clip", image_scale=(64, 40))))
    expected = prepare_frame(
        str(tmp_path / "clip" / "0.png"),
        sample_id="clip/000000",
        frame_index=0,
        image_scale=(64, 40),
    )
    assert only.image.shape[1:] == SIZE
    assert only.frame.size == (40, 53)
    assert only.frame.scale_xy == (53 / 128, 40 / 96)
    assert torch.equal(only.frame.image, expected.image)


def test_a_folder_is_read_in_natural_order_and_only_its_images(tmp_path: Path) -> None:
    write_images(tmp_path / "clip", ["img1.png", "img2.PNG", "img10.png"])
    (tmp_path / "clip" / "notes.txt").write_text("frames")
    (tmp_path / "clip" / "._img1.png").write_bytes(b"resource fork")
    video = open_video(tmp_path / "clip")
    assert (video.name, video.num_frames, video.frame_rate) == ("clip", 3, 30.0)
    lefts = [int((each.image[0, 40] == SQUARE[0]).nonzero()[0]) for each in video]
    assert lefts == [8, 12, 16]


@pytest.mark.parametrize("images", ["img", "img1"])
def test_a_sequence_of_a_benchmark_has_the_name_of_its_folder(tmp_path: Path, images: str) -> None:
    write_images(tmp_path / "car-1" / images, ["00000001.png"])
    assert open_video(tmp_path / "car-1" / images).name == "car-1"


def write_sequence(folder: Path, *, rate: str = "frameRate=7", length: int = 3) -> None:
    write_images(folder / "img1", [f"{number:06d}.png" for number in range(1, 4)])
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname=MOT17-02-FRCNN\nimDir=img1\n{rate}\nseqLength={length}\n"
        "imWidth=128\nimHeight=96\nimExt=.png\n"
    )


def test_a_mot_sequence_has_the_name_of_its_folder_and_the_rate_it_says(tmp_path: Path) -> None:
    write_sequence(tmp_path / "02")
    video = open_video(tmp_path / "02")
    assert (video.name, video.num_frames, video.frame_rate, video.size) == (
        *("02", 3, 7.0),
        SIZE,
    )
    assert [each.frame.frame_index for each in video] == [0, 1, 2]


@pytest.mark.parametrize(
    ("rate", "length", "message"),
    [
        ("frameRate=fast", 3, r"seqinfo.ini: frameRate='fast': expected frames a second"),
        ("frameRate=0", 3, r"seqinfo.ini: frameRate='0': expected frames a second, 0.001 to"),
        ("frameRate", 3, r"seqinfo.ini: cannot be read as a \[Sequence\].*frameRate"),
        ("frameRate=7", 5, r"img1: holds 3 frames, but seqLength is 5"),
    ],
)
def test_a_broken_seqinfo_is_quoted(tmp_path: Path, rate: str, length: int, message: str) -> None:
    write_sequence(tmp_path, rate=rate, length=length)
    with pytest.raises(DataError, match=message):
        open_video(tmp_path)


def test_a_phone_held_upright_gives_upright_frames(tmp_path: Path) -> None:
    upright = np.full((128, 96, 3), GROUND, dtype=np.uint8)
    upright[:40] = SQUARE
    with av.open(str(tmp_path / "phone.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.height, stream.width = 96, 128
        stream.pix_fmt = "yuv420p"
        stream.set_display_rotation(-90)
        stored = np.ascontiguousarray(np.rot90(upright))
        film.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        film.mux(stream.encode(None))
    video = open_video(tmp_path / "phone.mp4")
    assert video.size == (128, 96)
    (only,) = video
    assert (only.image[:, 20, 48] - torch.tensor(SQUARE)).abs().max() < 12
    assert (only.image[:, 100, 48] - torch.tensor(GROUND)).abs().max() < 12


def test_a_container_that_does_not_count_leaves_the_number_open(tmp_path: Path) -> None:
    frames = [square_frame(number) for number in range(4)]
    write_film(tmp_path / "film.mkv", frames, container="matroska")
    video = open_video(tmp_path / "film.mkv")
    assert video.num_frames is None
    assert len(list(video)) == 4


def test_a_path_that_is_no_video_says_what_is_allowed(tmp_path: Path) -> None:
    allowed = "allowed are a video file, a folder of .jpg, .jpeg, .png frames and a MOT sequence"
    with pytest.raises(DataError, match=f"nowhere.mp4: no such file or folder; {allowed}"):
        open_video(tmp_path / "nowhere.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"empty: is an empty folder; {allowed}"):
        open_video(tmp_path / "empty")
    (tmp_path / "empty" / "b.txt").write_text("")
    with pytest.raises(DataError, match=r"holds no frames, only b\.txt; allowed"):
        open_video(tmp_path / "empty")
    for name, content in (
        ("empty.mp4", b""),
        ("text.txt", b"no film\n" * 99),
        ("x.bin", b"0" * 999),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: cannot be opened as a video: .*; {allowed}"):
            open_video(tmp_path / name)


def test_a_file_of_sound_alone_has_no_video_stream(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.wav"), "w") as song:
        stream = song.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        song.mux(stream.encode(sound))
        song.mux(stream.encode(None))
    with pytest.raises(DataError, match=r"song\.wav: has no video stream but audio; allowed"):
        open_video(tmp_path / "song.wav")


def test_a_film_cut_short_fails_at_the_frame_it_ends_in(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(60)]
    with av.open(str(tmp_path / "long.mp4"), "w", options={"movflags": "faststart"}) as film:
        stream = film.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for pixels in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        film.mux(stream.encode(None))
    content = (tmp_path / "long.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 3 // 4])
    seen = []
    with pytest.raises(DataError, match=r"cut\.mp4: frame (\d+) cannot be decoded: .*cut short"):
        seen.extend(each.frame.frame_index for each in open_video(tmp_path / "cut.mp4"))
    assert seen == list(range(len(seen)))
    assert 0 < len(seen) < 60


def test_a_frame_of_another_size_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "clip", ["1.png", "2.png"])
    write_images(tmp_path / "other", ["3.png"], size=(64, 200))
    (tmp_path / "other" / "3.png").rename(tmp_path / "clip" / "3.png")
    message = r"clip/000002: frame 2 is 64x200 \(height x width\), the first one is 96x128"
    with pytest.raises(DataError, match=message):
        list(open_video(tmp_path / "clip"))


def test_only_a_few_frames_are_held_however_long_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    made = 0

    def load(_: Path, *, upright: bool) -> Tensor:
        nonlocal made
        made += 1
        image = torch.zeros((3, 8, 8), dtype=torch.uint8)
        alive.add(image)
        return image

    write_images(tmp_path, [f"{number}.png" for number in range(100)], size=(8, 8))
    monkeypatch.setattr(images, "load_image", load)
    most = max(len(alive) for _ in open_video(tmp_path))
    assert made == 100
    assert most <= 4


def test_a_wrong_image_shows_at_once_and_damage_when_it_is_decoded(tmp_path: Path) -> None:
    write_images(tmp_path / "clip", ["1.png", "2.png"])
    first = tmp_path / "clip/1.png"
    content = first.read_bytes()
    first.write_bytes(content[: len(content) // 2])
    video = open_video(tmp_path / "clip")
    with pytest.raises(DataError, match=r"1\.png: image cannot be decoded"):
        next(iter(video))
    first.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png: image is no image of a known kind"):
        open_video(tmp_path / "clip")


def test_leaving_early_stops_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def load(_: Path, *, upright: bool) -> Tensor:
        nonlocal made
        made += 1
        return torch.zeros((3, 8, 8), dtype=torch.uint8)

    write_images(tmp_path, [f"{number}.png" for number in range(50)], size=(8, 8))
    monkeypatch.setattr(images, "load_image", load)
    for each in open_video(tmp_path):
        if each.frame.frame_index == 3:
            break
    del each
    assert made <= 1 + 4 + 2


def test_as_many_frames_as_asked_for_are_decoded_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = 7
    decoded = threading.Semaphore(0)

    def load(_: Path, *, upright: bool) -> Tensor:
        decoded.release()
        return torch.zeros((3, 8, 8), dtype=torch.uint8)

    write_images(tmp_path, [f"{number}.png" for number in range(20)], size=(8, 8))
    source = replace(open_video(tmp_path), ahead=ahead)
    monkeypatch.setattr(images, "load_image", load)
    frames = iter(source)
    assert next(frames).frame.frame_index == 0
    # The caller has not asked for a second one.
    assert all(decoded.acquire(timeout=60) for _ in range(ahead))
    assert next(frames).frame.frame_index == 1
    del frames


@pytest.mark.parametrize("kind", ["film", "folder", "sequence", "image"])
@pytest.mark.parametrize("positions", [(0, 5, 11), (11, 2, 2), (3, 400), (), (400,)])
def test_some_frames_are_those_of_the_whole_video(
    film: Path, tmp_path: Path, kind: str, positions: tuple[int, ...]
) -> None:
    place = film
    if kind != "film":
        place = tmp_path / "clip"
        write_images(place / "img1", [f"{number}.png" for number in range(12)])
    if kind == "sequence":
        (place / "seqinfo.ini").write_text("[Sequence]\nimDir=img1\nframeRate=7\nseqLength=12\n")
    elif kind != "film":
        place = place / "img1" / ("3.png" if kind == "image" else "")
    video = open_video(place, image_scale=(64, 40))
    every = list(video)
    some = list(video.at(positions))
    assert [each.frame.frame_index for each in some] == [
        index for index in sorted(set(positions)) if index < len(every)
    ]
    for each in some:
        same = every[each.frame.frame_index]
        assert torch.equal(each.image, same.image)
        assert torch.equal(each.frame.image, same.frame.image)
        assert (each.time, each.frame.sample_id) == (same.time, same.frame.sample_id)


def test_images_between_those_asked_for_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def load(path: Path, *, upright: bool) -> Tensor:
        read.append(path.name)
        return torch.zeros((3, 8, 8), dtype=torch.uint8)

    write_images(tmp_path, [f"{number}.png" for number in range(50)], size=(8, 8))
    monkeypatch.setattr(images, "load_image", load)
    assert len(list(open_video(tmp_path).at((0, 20, 49)))) == 3
    assert read == ["0.png", "20.png", "49.png"]


def test_frames_of_a_film_between_those_asked_for_become_no_pictures(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[float | None] = []

    def shown(frame: av.VideoFrame, time: float | None) -> Picture:
        made.append(time)
        return Picture(torch.zeros((3, *SIZE), dtype=torch.uint8), time)

    monkeypatch.setattr(video_file, "shown_picture", shown)
    assert len(list(open_video(film).at((2, 7)))) == 2
    assert made == pytest.approx([2 / 25, 7 / 25])


@pytest.mark.parametrize("turned", [3, 6, 8])
def test_images_of_a_folder_are_shown_upright(turned: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = turned
    upright = Image.fromarray(square_frame(0))
    quarter = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    stored = upright.transpose(quarter.get(turned, Image.Transpose.ROTATE_270))
    stored.save(tmp_path / "1.png", exif=exif.tobytes())
    for source in (tmp_path, tmp_path / "1.png"):
        video = open_video(source)
        assert video.size == SIZE
        (only,) = video
        assert torch.equal(only.image, torch.from_numpy(square_frame(0)).permute(2, 0, 1))


def test_a_sequence_is_taken_as_stored_and_must_have_its_size(tmp_path: Path) -> None:
    write_sequence(tmp_path / "02")
    assert open_video(tmp_path / "02").size == SIZE
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in (tmp_path / "02" / "img1").iterdir():
        Image.open(file).rotate(90, expand=True).save(file, exif=exif.tobytes())
    message = r"000001\.png: image is 96x128, but 128x96 in seqinfo\.ini: its orientation tag \(6\)"
    with pytest.raises(DataError, match=message):
        open_video(tmp_path / "02")


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "", "..", "con", "another"])
def test_a_sequence_has_its_folders_name_whatever_seqinfo_calls_it(
    name: str, tmp_path: Path
) -> None:
    write_sequence(tmp_path / "02")
    file = tmp_path / "02" / "seqinfo.ini"
    file.write_text(file.read_text().replace("MOT17-02-FRCNN", name))
    video = open_video(tmp_path / "02")
    assert video.name == "02"


def test_what_lies_beside_frames_is_passed_over_and_counted(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "@eaDir").mkdir()
    for name in ("._1.png", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_text("")
    video = open_video(tmp_path)
    assert video.num_frames == 2
    (note,) = video.notes
    assert "5 entries that are no frames passed over: " in note


def test_a_folder_that_is_called_like_an_image_is_told(tmp_path: Path) -> None:
    (tmp_path / "1.png").mkdir()
    with pytest.raises(DataError, match=r"1\.png: image is a folder, expected a file"):
        open_video(tmp_path)
