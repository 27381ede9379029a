"""Errors painted into frames, and the ten worst moments."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from halftrack.errors import UserError
from halftrack.frames import Tracks
from halftrack.report.track_errors import ErrorPainter


def tracks(*lefts: float) -> Tracks:
    boxes = torch.tensor([[left, 10.0, left + 20, 50] for left in lefts]).reshape(-1, 4)
    count = len(lefts)
    return Tracks(
        ids=torch.arange(count),
        boxes_xyxy=boxes,
        scores=torch.ones(count),
        labels=torch.zeros(count, dtype=torch.int64),
    )


def test_the_worst_seconds_are_listed_with_their_worst_frames(tmp_path: Path) -> None:
    rows = [f"{number},1,10,10,20,40,1,1,1\n" for number in range(1, 61)]
    (tmp_path / "gt.txt").write_text("".join(rows))
    painter = ErrorPainter(tmp_path / "gt.txt", (64, 160), frame_rate=4)
    for number in range(1, 61):
        picture = Image.new("RGB", (160, 64))
        found = tracks(10) if number not in (6, 7, 8, 30) else tracks(*[90] * (number == 7))
        painter.paint(number, found, picture)
        colours = {
            name: picture.getpixel(place)
            for name, place in {"missed": (10, 30), "false": (90, 30)}.items()
        }
        assert (colours["missed"] == (255, 32, 32)) == (number in (6, 7, 8, 30))
        assert (colours["false"] == (255, 208, 0)) == (number == 7)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "000099.png").touch()  # of an earlier run
    assert painter.worst(folder) == [
        "4 errors in a second, most in frame 7: 1 missed, 1 false, 0 switched: "
        f"{folder}/000007.png",
        "1 errors in a second, most in frame 30: 1 missed, 0 false, 0 switched: "
        f"{folder}/000030.png",
    ]
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(("classes", "missed"), [(("car",), 1), (("bus", "car"), 2)])
def test_other_classes_than_pedestrians_are_looked_for(
    tmp_path: Path, classes: tuple[str, ...], missed: int
) -> None:
    (tmp_path / "gt.txt").write_text("1,1,10,10,20,40,1,2,1\n1,2,90,10,20,40,1,3,1\n")
    (tmp_path / "labels.txt").write_text("person\ncar\nbus\n")
    painter = ErrorPainter(tmp_path / "gt.txt", (64, 160), frame_rate=4, classes=classes)
    painter.paint(1, tracks(), Image.new("RGB", (160, 64)))
    assert f"frame 1: {missed} missed, 0 false" in painter.worst(tmp_path / "out")[0]
    assert painter.notes == ()


def test_a_class_that_the_truth_does_not_have_is_told(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text("1,1,10,10,20,40,1,1,1\n1,2,90,10,20,40,0,3,1\n")
    classes = ("pedestrian", "tram", "car")  # one that has no number, and one with flag 0 alone
    painter = ErrorPainter(tmp_path / "gt.txt", (64, 160), frame_rate=4, classes=classes)
    assert painter.notes == tuple(
        f"{tmp_path}/gt.txt: no row is of the class {name} with flag 1" for name in classes[1:]
    )


def test_truth_without_an_object_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text("1,1,10,10,20,40,0,1,1\n")
    with pytest.raises(UserError, match=r"gt\.txt: no row is of the class pedestrian with flag 1"):
        ErrorPainter(tmp_path / "gt.txt", (64, 160), frame_rate=4)
