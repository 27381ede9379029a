"""A report says what it knows, and nothing of what it does not."""

from __future__ import annotations

from halftrack.data import Problem
from halftrack.data.check import DataReport
from halftrack.data.check.report import SetReport

PROBLEMS = tuple(Problem(f"{number}.jpg", "image is missing") for number in range(3))


def test_what_is_not_known_is_not_shown() -> None:
    known = SetReport(
        name="train vid",
        counts={"videos": 2, "frames": 16},
        boxes_per_class={"car": 5, "dog": 0},
        left_out={"crowds": 0, "boxes under one pixel": 3},
        clipped_boxes=0,
    )
    assert known.lines(9) == [
        "train vid: 2 videos, 16 frames",
        "  boxes: car 5",
        "  left out: 3 boxes under one pixel; clipped: 0 boxes that reach outside their image",
        "  problems: 0",
    ]
    silent = SetReport(name="OTB100 test", counts={"sequences": 1, "frames": 3})
    assert silent.lines(9) == ["OTB100 test: 1 sequences, 3 frames", "  problems: 0"]
    assert SetReport(name="train coco").lines(9)[0] == "train coco: could not be read"


def test_known_to_be_none_is_shown() -> None:
    none = SetReport(
        name="train vid", counts={"frames": 1}, boxes_per_class={"car": 0}, left_out={"crowds": 0}
    )
    assert none.lines(9)[1:3] == ["  boxes: none", "  left out: nothing"]


def test_problems_beyond_the_limit_are_counted() -> None:
    sets = tuple(SetReport(name=name, problems=PROBLEMS) for name in ("a", "b"))
    report = DataReport(sets=sets, decoded=False)
    assert (len(report.problems), report.ok) == (6, False)
    lines = report.lines(limit=2)
    assert lines.count("    ... and 1 more") == 2
    assert lines[-1] == "images were looked for, not decoded; see problems"


def test_odd_images_are_listed_and_all_is_not_well() -> None:
    deep = tuple(Problem(f"{number}.png", "image has 16 bits a channel") for number in range(3))
    report = DataReport(sets=(SetReport(name="a", odd_images=deep),), decoded=True)
    assert report.ok
    assert report.lines(limit=2) == [
        "a: could not be read",
        "  odd images, but used: 3",
        "    0.png: image has 16 bits a channel",
        "    1.png: image has 16 bits a channel",
        "    ... and 1 more",
        "  problems: 0",
        "images were decoded; no problems, but see 3 odd images",
    ]
