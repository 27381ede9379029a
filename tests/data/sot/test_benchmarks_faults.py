"""Benchmarks of one target as people have them: refused with file and line, never merged.

Each row is a story; ``data check`` lists whatever the reader stops at.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from halftrack.data import DataError
from halftrack.data.check import check_sot
from halftrack.data.sot import read_sot

FRAMES = 10
BOXES = [f"{60 + n},50,30,20" for n in range(FRAMES)]
CORNERS = [f"{60 + n},50,{90 + n},70" for n in range(FRAMES)]


def images(folder: Path, name: str = "{:08d}.jpg", start: int = 1, count: int = FRAMES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        Image.new("RGB", (160, 120)).save(folder / name.format(number))


def write(file: Path, lines: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def lasot(root: Path, *names: str) -> Path:
    base = root / "LaSOTBenchmark"
    for name in names or ("car-1",):
        folder = base / name.partition("-")[0] / name
        images(folder / "img")
        write(folder / "groundtruth.txt", BOXES)
        for file in ("full_occlusion.txt", "out_of_view.txt"):
            write(folder / file, [",".join("0" * FRAMES)])
    write(base / "testing_set.txt", list(names) or ["car-1"])
    return base


def got10k(root: Path) -> Path:
    base = root / "GOT-10k" / "val"
    for name in ("a", "b"):
        images(base / name)
        write(base / name / "groundtruth.txt", BOXES)
    write(base / "list.txt", ["a", "b"])
    return base


def _list_twice(root: Path) -> None:
    write(lasot(root, "car-1", "dog-1") / "testing_set.txt", ["car-1", "dog-1", "car-1"])


def _name_twice(root: Path) -> None:
    base = lasot(root, "car-1")
    shutil.copytree(base / "car" / "car-1", base / "cars" / "car-1")


def _boxes(lines: list[str]) -> Callable[[Path], None]:
    return lambda root: write(lasot(root) / "car/car-1/groundtruth.txt", lines)


def _list(lines: list[str]) -> Callable[[Path], None]:
    return lambda root: write(got10k(root) / "list.txt", lines)


def _replaced(line: str) -> list[str]:
    return [*BOXES[:4], line, *BOXES[5:]]


LASOT: dict[str, tuple[Callable[[Path], None], str]] = {
    "a sequence twice in the list": (_list_twice, "testing_set.txt: line 3, 'car-1': is in line 1"),
    "two folders of one name": (_name_twice, "cars/car-1: .*car/car-1 has the same name"),
    "corners": (_boxes(CORNERS), "car-1: its boxes, as .* look like x1, y1, x2, y2"),
    "a negative width": (_boxes(_replaced("1,2,-3,4")), "line 5, '1,2,-3,4': width -3 and height"),
    "a box of NaN": (_boxes(_replaced("1,nan,3,4")), "line 5, .*: a value is not finite"),
    "a box beyond float32": (_boxes(_replaced("1,1e30,3,4")), "line 5, .*: a coordinate is beyond"),
    "an underscore": (_boxes(_replaced("1,1_0,3,4")), "line 5, .*: '1_0' is not a number"),
    "a line too few": (_boxes(BOXES[:-1]), "9 flags|10 flags, expected 9|9 boxes"),
    "a web page": (_boxes(["<!DOCTYPE html>"]), "groundtruth.txt: file is a web page"),
    "an LFS pointer": (
        _boxes(["version https://git-lfs.github.com/spec/v1"]),
        "groundtruth.txt: file is a Git LFS pointer",
    ),
}


@pytest.mark.parametrize("story", LASOT)
def test_lasot_is_refused_and_listed(story: str, tmp_path: Path) -> None:
    build, reason = LASOT[story]
    build(tmp_path)
    with pytest.raises(DataError, match=reason):
        read_sot(tmp_path, "LaSOT")
    problems = check_sot(tmp_path, "LaSOT").problems
    assert any(re.search(reason, str(problem)) for problem in problems)


LISTS = {
    "twice": (["a", "b", "a"], "list.txt: line 3, 'a': is in line 1 already"),
    "a path": (["a", "../b"], "list.txt: line 2, '../b': expected the name of a sequence"),
    "an absolute path": (["/etc"], "list.txt: line 1, '/etc': expected the name of a sequence"),
    "up": ([".."], "list.txt: line 1, '..': expected the name of a sequence"),
    "one that is not there": (["a", "c"], "c/groundtruth.txt: file is missing"),
}


@pytest.mark.parametrize("story", LISTS)
def test_lists_name_each_sequence_once(story: str, tmp_path: Path) -> None:
    lines, reason = LISTS[story]
    _list(lines)(tmp_path)
    with pytest.raises(DataError, match=reason):
        read_sot(tmp_path, "GOT-10k", "val")
    assert check_sot(tmp_path, "GOT-10k", "val").problems


def test_a_video_in_two_parts_of_trackingnet_is_not_read_twice(tmp_path: Path) -> None:
    for part in ("TRAIN_0", "TRAIN_1"):
        images(tmp_path / f"TrackingNet/{part}/frames/abc", "{}.jpg", start=0)
        write(tmp_path / f"TrackingNet/{part}/anno/abc.txt", BOXES)
    with pytest.raises(DataError, match=r"TRAIN_1/frames/abc: abc is the name of .*TRAIN_0"):
        read_sot(tmp_path, "TrackingNet", "train")
    assert len(check_sot(tmp_path, "TrackingNet", "train").problems) == 1


@pytest.mark.parametrize("gap", [0, 4])
def test_where_only_the_first_box_is_published_images_are_counted(gap: int, tmp_path: Path) -> None:
    images(tmp_path / "TrackingNet/TEST/frames/abc", "{}.jpg", start=0)
    write(tmp_path / "TrackingNet/TEST/anno/abc.txt", BOXES[:1])
    assert len(read_sot(tmp_path, "TrackingNet")[0]) == FRAMES
    (tmp_path / f"TrackingNet/TEST/frames/abc/{gap}.jpg").unlink()
    with pytest.raises(DataError, match=r"abc: 9 images, . to 9; expected one for each number"):
        read_sot(tmp_path, "TrackingNet")


def test_an_image_of_a_huge_number_asks_for_no_memory(tmp_path: Path) -> None:
    images(tmp_path / "TrackingNet/TEST/frames/abc", "{}.jpg", start=0)
    (tmp_path / f"TrackingNet/TEST/frames/abc/{10**15}.jpg").touch()
    write(tmp_path / "TrackingNet/TEST/anno/abc.txt", BOXES[:1])
    with pytest.raises(DataError, match="11 images, 0 to 1000000000000000; expected one"):
        read_sot(tmp_path, "TrackingNet")


def test_folders_of_archives_and_servers_are_passed_over(tmp_path: Path) -> None:
    base = lasot(tmp_path)
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
        shutil.copytree(base / "car" / "car-1", base / name / "car-1")
    assert [each.folder.parent.name for each in read_sot(tmp_path, "LaSOT")] == ["car"]
