"""Drawn tracks: one colour an id, trails of bounded length, legible at any size."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from halftrack.frames import Tracks
from halftrack.report import Trails, draw_tracks


def tracks_at(positions: dict[int, tuple[float, float]], side: float = 40.0) -> Tracks:
    boxes = [[x, y, x + side, y + 1.5 * side] for x, y in positions.values()]
    return Tracks(
        ids=torch.tensor(list(positions), dtype=torch.int64),
        boxes_xyxy=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.ones(len(positions)),
        labels=torch.zeros(len(positions), dtype=torch.int64),
    )


def black(size: tuple[int, int]) -> torch.Tensor:
    return torch.zeros(3, *size, dtype=torch.uint8)


def painted(picture: Image.Image) -> int:
    """How many pixels are not black."""
    return sum(picture.convert("L").point(lambda value: int(value > 0)).histogram()[1:])


def test_an_id_has_one_colour_wherever_it_is_and_another_than_its_neighbours() -> None:
    here = draw_tracks(black((200, 320)), tracks_at({7: (50, 80), 8: (200, 80)}))
    there = draw_tracks(black((200, 320)), tracks_at({7: (120, 100)}))
    assert here.getpixel((50, 130)) == there.getpixel((120, 150))
    assert here.getpixel((50, 130)) != here.getpixel((200, 130))
    ids = range(30)
    boxes = [draw_tracks(black((200, 320)), tracks_at({i: (50, 80)})) for i in ids]
    assert len({box.getpixel((50, 130)) for box in boxes}) == 30


def test_the_frame_itself_is_not_drawn_on() -> None:
    image = black((200, 320))
    draw_tracks(image, tracks_at({1: (50, 80)}))
    assert not image.any()


def test_an_array_is_not_drawn_on_either() -> None:
    image = np.zeros((200, 320, 3), np.uint8)
    draw_tracks(image, tracks_at({1: (50, 80)}))
    assert not image.any()


def test_drawing_takes_no_video_library() -> None:
    code = "import halftrack.report.drawing, sys; sys.exit('av' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_tracks_leave_the_frame_as_it_is() -> None:
    assert painted(draw_tracks(black((64, 64)), tracks_at({}), trails=Trails())) == 0


def test_a_trail_shows_the_way_the_foot_point_came() -> None:
    trails = Trails(length=10)
    for x in range(20, 100, 10):
        tracks = tracks_at({3: (x, 40)}, side=20)
        trails.add(tracks)
    assert trails.points(3)[0] == (30.0, 70.0)
    picture = draw_tracks(black((120, 200)), tracks, trails=trails)
    assert picture.getpixel((45, 70)) == picture.getpixel((90, 70)) != (0, 0, 0)


def test_trails_are_no_longer_than_asked_and_forget_who_is_gone() -> None:
    trails = Trails(length=5)
    for number in range(200):  # a new id every frame, and one that stays
        trails.add(tracks_at({0: (number, 0), number + 1: (0, 0)}))
        assert len(trails) <= 6
        assert len(trails.points(0)) <= 5
    assert len(trails.points(0)) == 5
    for _ in range(4):
        trails.add(tracks_at({}))
    assert len(trails.points(0)) == 1
    trails.add(tracks_at({}))
    assert len(trails) == 0
    assert trails.points(0) == []
    with pytest.raises(ValueError, match="length 0 is below 1"):
        Trails(length=0)


@pytest.mark.parametrize("size", [(192, 320), (1080, 1920)])
def test_lines_and_letters_grow_with_the_frame(size: tuple[int, int]) -> None:
    side = size[0] / 5
    picture = draw_tracks(black(size), tracks_at({12: (size[1] / 2, size[0] / 2)}, side))
    share = painted(picture) / (size[0] * size[1])
    assert 0.0015 < share < 0.02
    across = [picture.getpixel((size[1] // 2 + x, int(size[0] * 0.6))) for x in range(10)]
    assert sum(colour != (0, 0, 0) for colour in across) == (3 if size[0] == 1080 else 1)


@pytest.mark.parametrize("corner", [(-30.0, -30.0), (310.0, 190.0), (0.0, 0.0)])
def test_the_label_stays_inside_the_picture(corner: tuple[float, float]) -> None:
    with_class = draw_tracks(
        black((200, 320)), tracks_at({1234: corner}), class_names=("pedestrian",)
    )
    without = draw_tracks(black((200, 320)), tracks_at({1234: corner}))
    assert painted(with_class) > painted(without) > 300


def test_a_box_turned_inside_out_does_not_stop_the_film() -> None:
    tracks = tracks_at({1: (50, 50)}, side=-10)
    assert painted(draw_tracks(black((100, 100)), tracks)) > 0


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="a uint8 array"):
        draw_tracks(black((64, 64)).float(), tracks_at({}))
