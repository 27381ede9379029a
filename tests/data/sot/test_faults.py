"""Pairs show what is annotated, or say why not: sizes, boxes without area, boxes elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_pairs import SMALL, film, opened

from halftrack.data import DataError
from halftrack.data.check import check, check_sot
from halftrack.data.sot import TestTargets, read_sot
from halftrack.data.sot.augment import View, cut_view
from halftrack.data.sot.pair_objects import read_lasot_objects
from halftrack.layers import SiameseGeometry


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = film(tmp_path / "data")
    images = root / "coco/train2017"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in range(3):
        pixels = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{name}.jpg")
    content = {
        "categories": [{"id": 1, "name": "person"}],
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 60, "width": 80} for i in range(3)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [9, 9, 30, 20]} for i in range(3)
        ],
    }
    (root / "coco/annotations").mkdir()
    (root / "coco/annotations/instances_train2017.json").write_text(json.dumps(content))
    return root


def halve(file: Path) -> None:
    picture = Image.open(file)
    picture.resize((picture.width // 2, picture.height // 2)).save(file)


def lay_on_its_side(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(file).transpose(Image.Transpose.ROTATE_270).save(file, exif=exif.tobytes())


SETS = {
    "vid": ("ILSVRC/Data/VID/train", "its annotation"),
    "coco": ("coco/train2017", "its annotation"),
    "lasot": ("LaSOTBenchmark", "its sequence's first image"),
}


@pytest.mark.parametrize("change", [halve, lay_on_its_side])
@pytest.mark.parametrize("name", SETS)
def test_images_of_another_size_are_in_no_pair(
    name: str, change: Callable[[Path], None], data: Path
) -> None:
    folder, source = SETS[name]
    config = replace(
        SMALL, training_sets=(name,), set_weights=(1,), lasot_split="all", pairs_per_epoch=60
    )
    files = sorted(
        each for each in (data / folder).rglob("*.*") if each.suffix in (".jpg", ".JPEG")
    )
    bad = [file for file in files if file.stem not in ("00000001", "0")][::4]
    for file in bad:
        change(file)
    reason = f"in {source}: it" + ("s orientation tag .8." if change is lay_on_its_side else " was")
    with pytest.raises(DataError, match=reason):
        for _ in opened(config, data).batches(seed=0, epoch=0):
            pass
    for decode in (False, True):
        told = check(data, config, decode=decode).problems
        assert {problem.file for problem in told} <= {str(file) for file in bad}
        assert told
        assert all(source in problem.reason for problem in told)
    pairs = opened(replace(config, on_bad_sample="skip"), data)
    assert len(list(pairs.batches(seed=0, epoch=0))) == len(pairs)
    assert pairs.skipped.times


@pytest.mark.parametrize("change", [halve, lay_on_its_side])
def test_the_images_of_a_test_sequence_have_one_size(
    change: Callable[[Path], None], data: Path
) -> None:
    (sequence,) = read_sot(data, "LaSOT")
    bad = Path(sequence.path(3))
    change(bad)
    reason = r"but 120x72 in its sequence's first image"
    frames = TestTargets(sequences=(sequence,))[0].frames()
    assert len([next(frames) for _ in range(3)]) == 3
    with pytest.raises(DataError, match=reason) as caught:
        next(frames)
    assert caught.value.file == str(bad)
    for decode in (False, True):
        (problem,) = check_sot(data, "LaSOT", decode=decode).problems
        assert problem.file == str(bad)
        assert reason in problem.reason


# A line in the place of a good one, and what it is counted as; the images are 120x72.
ODD = {
    "good": ("10,10,20,20", {}),
    "to the border, counted from 1": ("1,1,120,72", {}),
    "out on the left": ("-5,10,20,20", {"boxes that leave their image": 1}),
    "out below": ("10,60,20,20", {"boxes that leave their image": 1}),
    "larger": (
        "-5,10,200,20",
        {"boxes that leave their image": 1, "boxes larger than their image": 1},
    ),
    "nothing, which LaSOT calls absent": ("0,0,0,0", {}),
}


@pytest.mark.parametrize("story", ODD)
@pytest.mark.parametrize("part", ["train", "test"])
def test_what_looks_odd_is_counted_in_the_report(story: str, part: str, data: Path) -> None:
    line, expected = ODD[story]
    sequence = read_sot(data, "LaSOT", part)[0]
    shown = next(row for row in range(1, len(sequence)) if not sequence.absent[row])
    truth = sequence.folder / "groundtruth.txt"
    lines = truth.read_text().split()
    lines[shown] = "10,10,20,20"
    good = "\n".join(lines) + "\n"
    lines[shown] = line
    counts = []
    for text in (good, "\n".join(lines) + "\n"):
        truth.write_text(text)
        report = check_sot(data, "LaSOT") if part == "test" else check(data, SMALL).sets[0]
        assert not report.problems
        counts.append(dict(report.odd))
    gained = {kind: n - counts[0].get(kind, 0) for kind, n in counts[1].items()}
    assert {kind: n for kind, n in gained.items() if n} == expected


# x, y, width and height in a line, and what it is counted as; the images are 120x72.
LASOT = {
    "good": ("10,10,20,20", None),
    "reaching out": ("-15,10,20,20", None),
    "thin": ("10,10,0.5,20", "boxes under one pixel"),
    "nothing": ("0,0,0,0", "frames without the object"),
    "right of the image": ("500,10,20,20", "boxes outside their image"),
    "left of the image": ("-50,10,20,20", "boxes outside their image"),
}


@pytest.mark.parametrize("story", LASOT)
def test_boxes_that_no_pair_can_show_are_left_out_and_counted(story: str, data: Path) -> None:
    line, count = LASOT[story]
    before = read_lasot_objects(data)
    name = before.video_names[0]
    (truth,) = data.glob(f"LaSOTBenchmark/*/{name}/groundtruth.txt")
    lines = truth.read_text().split()
    shown = next(row for row, text in enumerate(lines) if row and text != "0,0,0,0")
    lines[shown] = line
    truth.write_text("\n".join(lines) + "\n")
    after = read_lasot_objects(data)
    assert len(after.frames) == len(before.frames) - (count is not None)
    gained = {
        what: n - before.left_out[what]
        for what, n in after.left_out.items()
        if n != before.left_out[what]
    }
    assert gained == ({} if count is None else {count: 1})
    assert np.isfinite(after.boxes_xyxy).all()


BOXES = {
    "one pixel": (5, 5, 6, 6),
    "a thread": (0, 5, 1e6, 6),
    "another thread": (5, -1e6, 6, 10),
    "far larger than the image": (-1e6, -1e6, 1e6, 1e6),
    "a pixel at the far end": (1e6 - 1, 1e6 - 1, 1e6, 1e6),
}


@pytest.mark.parametrize("story", BOXES)
@pytest.mark.parametrize("scale", [0.82, 1.18])
def test_every_box_that_is_read_has_area_in_its_search_region(story: str, scale: float) -> None:
    box = np.array(BOXES[story], dtype=np.float32)
    view = View(scale_xy=(scale, scale), shift_xy=(64.0, -64.0))
    image = torch.full((3, 40, 50), 255, dtype=torch.uint8)
    pixels, target = cut_view(
        image, box, geometry=SiameseGeometry(), crop_size=511, view=view, size=255
    )
    assert bool(pixels.isfinite().all())
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 255.01
    assert np.isfinite(target).all()
    assert (target[2:] > target[:2]).all()


def test_a_coco_file_is_read_once_with_the_classes_it_names(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = data / "coco/annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    content["categories"].append({"id": 7, "name": "kite"})
    content["annotations"][0]["category_id"] = 7
    file.write_text(json.dumps(content))
    read = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda *given, **how: read.append(1) or loads(*given, **how))
    (objects,) = opened(replace(SMALL, training_sets=("coco",), set_weights=(1,)), data).sets
    assert len(objects) == 3
    assert read == [1]
