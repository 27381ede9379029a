"""Numbers of the rooms: few files a folder, readable files, a test where its module is."""

from __future__ import annotations

from pathlib import Path

import pytest

import halftrack

PACKAGE = Path(halftrack.__file__).parent
TESTS = Path(__file__).parent
MOST_LINES = 320
MOST_FILES = {
    "data": 15,
    "data/*": 12,
    "interop": 12,
    "interop/*": 12,
    "recipes": 12,
    "recipes/*": 12,
    "studies": 12,
    "studies/*": 12,
    "training": 20,
    "training/*": 12,
}
ABOUT_MANY = {
    *(
        "golden",
        "faults",
        "fuzz",
        "mistakes",
        "start",
        "one_backward",
        "launches",
        "alone",
        "threads",
    ),
}
"""Tests of a room as a whole: recorded values, planted faults, damaged input, mistakes, counts."""


def test_no_file_is_too_long_to_read_at_once() -> None:
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    long = {name: lines for name, lines in lengths.items() if lines > MOST_LINES}
    assert not long, long


@pytest.mark.parametrize("pattern", MOST_FILES)
def test_no_room_holds_more_files_than_one_can_keep_in_mind(pattern: str) -> None:
    rooms = [folder for folder in PACKAGE.glob(pattern) if folder.is_dir()]
    counts = {str(room.relative_to(PACKAGE)): len(list(room.glob("*.py"))) for room in rooms}
    assert counts
    assert max(counts.values()) <= MOST_FILES[pattern], counts


def test_a_test_stands_where_its_module_stands() -> None:
    astray = []
    for test in TESTS.rglob("test_*.py"):
        room, name = test.relative_to(TESTS).parent, test.stem.removeprefix("test_")
        mirrored = (PACKAGE / room / f"{name}.py").is_file() or (PACKAGE / room / name).is_dir()
        about_many = any(name == each or name.endswith(f"_{each}") for each in ABOUT_MANY)
        if room != Path() and not mirrored and not (about_many and (PACKAGE / room).is_dir()):
            astray.append(str(test.relative_to(TESTS)))
    assert not astray, astray
