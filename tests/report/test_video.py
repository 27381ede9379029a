"""Films: what was written comes back, plays in browsers and is never half a film by its name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from PIL import Image
from torch import Tensor

from halftrack.data import open_video
from halftrack.errors import UserError
from halftrack.report import VideoWriter, video

GROUND, SQUARE = (200, 30, 60), (30, 180, 90)


def square_frame(number: int, size: tuple[int, int] = (96, 128)) -> Tensor:
    """uint8 ``(3, height, width)``: a square 4 pixels further right in every frame."""
    image = torch.tensor(GROUND, dtype=torch.uint8)[:, None, None].repeat(1, *size)
    image[:, 32:64, 8 + 4 * number : 40 + 4 * number] = torch.tensor(SQUARE)[:, None, None]
    return image


def write_film(path: Path, *, size: tuple[int, int] = (96, 128), rate: float = 25.0) -> None:
    with VideoWriter(path, size=size, frame_rate=rate) as film:
        for number in range(12):
            film.write(square_frame(number, size))


@pytest.mark.parametrize("rate", [25.0, 30000 / 1001, 7.5])
def test_a_film_comes_back_as_it_was_written(tmp_path: Path, rate: float) -> None:
    write_film(tmp_path / "film.mp4", rate=rate)
    back = open_video(tmp_path / "film.mp4")
    assert (back.num_frames, back.size) == (12, (96, 128))
    assert back.frame_rate == pytest.approx(rate, rel=1e-9)
    frames = [each.image for each in back]
    assert len(frames) == 12
    for number, image in enumerate(frames):
        assert (image.float() - square_frame(number).float()).abs().mean() < 4
        middle = image[:, 48, 24 + 4 * number].int() - torch.tensor(SQUARE)
        assert middle.abs().max() < 8
    assert list(tmp_path.iterdir()) == [tmp_path / "film.mp4"]


def test_browsers_play_it(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, as television has it
    content = (tmp_path / "film.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_an_odd_size_is_padded_by_its_last_row_and_column(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", size=(95, 127))
    first = next(iter(open_video(tmp_path / "film.mp4"))).image.int()
    assert first.shape == (3, 96, 128)
    assert (first[:, 95, 127] - torch.tensor(GROUND)).abs().max() < 8


def test_pictures_are_welcome(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", size=(32, 48), frame_rate=10) as film:
        film.write(Image.new("RGBA", (48, 32), (*SQUARE, 255)))
    (only,) = open_video(tmp_path / "film.mp4")
    assert (only.image[:, 16, 24].int() - torch.tensor(SQUARE)).abs().max() < 8


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_after_an_error_the_partial_film_plays(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "film.mp4"

    def run() -> None:
        with VideoWriter(path, size=(96, 128), frame_rate=25) as film:
            for number in range(5):
                film.write(square_frame(number))
            raise error

    with pytest.raises(error) as caught:
        run()
    assert list(tmp_path.iterdir()) == [tmp_path / "film.mp4.partial"]
    assert len(list(open_video(tmp_path / "film.mp4.partial"))) == 5
    assert caught.value.__notes__ == [
        f"5 frames were written until then; they are in {path}.partial"
    ]


def test_a_film_without_frames_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"film.mp4: no frame was written"),
        VideoWriter(tmp_path / "film.mp4", size=(96, 128), frame_rate=25),
    ):
        pass
    with (
        pytest.raises(RuntimeError, match="before the first frame"),
        VideoWriter(tmp_path / "film.mp4", size=(96, 128), frame_rate=25),
    ):
        raise RuntimeError("before the first frame")
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_or_type_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", size=(96, 128), frame_rate=25) as film:
        film.write(square_frame(0))
        with pytest.raises(ValueError, match=r"frame 1 is 96x130 .*allowed is 96x128"):
            film.write(square_frame(0, (96, 130)))
        with pytest.raises(ValueError, match=r"got torch.float32 \(3, 96, 128\)"):
            film.write(square_frame(0).float())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (0, 4), "frame_rate": 25}, r"size \(0, 4\) is not allowed"),
        ({"size": (4, 4), "frame_rate": 0}, r"frame_rate 0 is not allowed"),
        ({"size": (4, 4), "frame_rate": float("nan")}, r"frame_rate nan is not allowed"),
    ],
)
def test_a_setting_out_of_range_is_quoted(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        VideoWriter(tmp_path / "film.mp4", **settings)  # type: ignore[arg-type]


def test_a_build_without_the_codec_says_which_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video.av.codec, "codecs_available", {"h264", "h264_nvenc", "mpeg4"})
    with pytest.raises(UserError, match=r"has no libx264.*it has h264_nvenc\."):
        VideoWriter(tmp_path / "film.mp4", size=(96, 128), frame_rate=25)


def test_a_film_keeps_uneven_times(tmp_path: Path) -> None:
    times = [0.0, 0.02, 0.053, 0.153, 0.173, 0.6, 0.64]
    with VideoWriter(tmp_path / "film.mp4", size=(96, 128), frame_rate=12.3) as film:
        for number, time in enumerate(times):
            film.write(square_frame(number), time)
    back = open_video(tmp_path / "film.mp4")
    assert [each.time for each in back] == pytest.approx(times, abs=2e-4)


def test_times_that_do_not_rise_make_a_film_all_the_same(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", size=(96, 128), frame_rate=25) as film:
        for number, time in enumerate([0.0, 0.04, 0.04, 0.02, 0.16]):
            film.write(square_frame(number), time)
    assert len(list(open_video(tmp_path / "film.mp4"))) == 5


@pytest.mark.parametrize("rate", [1e-6, 0.1, 24000 / 1001, 240.0, 1e9])
def test_any_rate_makes_a_film(tmp_path: Path, rate: float) -> None:
    write_film(tmp_path / "film.mp4", rate=rate)
    assert len(list(open_video(tmp_path / "film.mp4"))) == 12


def test_a_film_tells_players_of_pixels_that_are_not_square(tmp_path: Path) -> None:
    aspect = Fraction(16, 15)
    with VideoWriter(
        tmp_path / "film.mp4", size=(96, 128), frame_rate=25, pixel_aspect=aspect
    ) as film:
        film.write(square_frame(0))
    assert open_video(tmp_path / "film.mp4").pixel_aspect == aspect
