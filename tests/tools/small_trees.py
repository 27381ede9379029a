"""Small valid data sets of every layout, held in memory: a tree is each file's path and content.

A few videos of six frames stand for a data set; what a recipe needs beside it (a set to train on, a
benchmark to test on) is there too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Tree = dict[str, bytes | None]
"""Content by path below the data root; None for an empty folder."""

SIZE = (48, 64)
"""Height and width of every image."""
FRAMES = 6
CLASSES = (("car", "n02958343"), ("dog", "n02084071"))


@cache
def image(number: int) -> bytes:
    """A JPEG file of noise: images that are all alike would hide one that stands for another."""
    pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    with io.BytesIO() as stream:
        Image.fromarray(pixels).resize((16, 12)).resize(SIZE[::-1]).save(stream, "JPEG")
        return stream.getvalue()


def change_tree(root: Path, there: Tree, tree: Tree) -> None:
    """Make a tree on the disk another one: write and remove what differs."""
    for path, content in there.items():
        if content is not None and tree.get(path) != content:
            (root / path).unlink()
    for folder in sorted(_folders(there) - _folders(tree), reverse=True):
        (root / folder).rmdir()
    for path, content in tree.items():
        if content is None:
            (root / path).mkdir(parents=True, exist_ok=True)
        elif there.get(path) != content:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)


def _folders(tree: Tree) -> set[str]:
    empty = {path for path, content in tree.items() if content is None}
    parts = [path.split("/") for path in tree]
    return empty | {"/".join(p[:depth]) for p in parts for depth in range(1, len(p))}


def images(folder: str, name: str, numbers: range) -> Tree:
    """The images of a video."""
    return {f"{folder}/{name.format(n)}": image(n) for n in numbers}


def lines(*rows: object, separator: str = ",") -> bytes:
    """A text file, a row a line."""
    cells = (row if isinstance(row, str) else separator.join(map(str, row)) for row in rows)  # type: ignore[call-overload]
    return "".join(f"{line}\n" for line in cells).encode()


def _xml(folder: str, *objects: tuple[int, str, int]) -> bytes:
    height, width = SIZE
    told = "".join(
        f"<object><trackid>{track}</trackid><name>{name}</name><bndbox><xmax>{x + 20}</xmax>"
        f"<xmin>{x}</xmin><ymax>30</ymax><ymin>6</ymin></bndbox><occluded>0</occluded>"
        f"<generated>0</generated></object>"
        for track, name, x in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation><folder>{folder}</folder>{size}{told}</annotation>".encode()


def vid() -> Tree:
    """ImageNet VID: two snippets to train on, two to test on."""
    tree: Tree = {}
    for name in ("train/shard/a", "train/shard/b", "val/v", "val/w"):
        tree |= images(f"ILSVRC/Data/VID/{name}", "{:06d}.JPEG", range(FRAMES))
        for frame in range(FRAMES):
            objects = ((0, CLASSES[0][1], 5 + frame), (1, CLASSES[1][1], 30 - frame))
            tree[f"ILSVRC/Annotations/VID/{name}/{frame:06d}.xml"] = _xml(name, *objects)
    keys = [f"train/shard/{name} 1 {key} {FRAMES}" for name in "ab" for key in (1, 3, 6)]
    tree["ILSVRC/Lists/VID_train_15frames.txt"] = lines(*keys)
    frames = [f"{name}/{frame:06d} {frame + 1}" for name in "vw" for frame in range(FRAMES)]
    tree["ILSVRC/ImageSets/VID/val.txt"] = lines(*frames)
    return tree


def det() -> Tree:
    """ImageNet DET: stills to train on, beside VID's videos to test on."""
    tree = {path: content for path, content in vid().items() if "/train" not in path}
    names = [f"train/ILSVRC2013_train/n0{n % 2}/n0{n % 2}_{n}" for n in range(8)]
    for number, name in enumerate(names):
        tree[f"ILSVRC/Data/DET/{name}.JPEG"] = image(number)
        told = _xml("n0", (0, CLASSES[number % 2][1], 5), (1, "n00007846", 20))
        tree[f"ILSVRC/Annotations/DET/{name}.xml"] = told
    tree["ILSVRC/Lists/DET_train_30classes.txt"] = lines(*(f"{name} 1" for name in names))
    return tree


def _coco_tables(names: Sequence[str], *, videos: int) -> dict[str, Any]:
    """Images of some names, all of them stills or ``FRAMES`` a video, with two boxes each."""
    height, width = SIZE
    facts = [
        {"id": n, "file_name": name, "height": height, "width": width}
        | ({"video_id": n // FRAMES, "frame_id": n % FRAMES} if videos else {})
        for n, name in enumerate(names)
    ]
    boxes = [
        {"id": 2 * n + k, "image_id": n, "category_id": k + 1, "bbox": [5 + 20 * k, 6, 20, 24]}
        | {"area": 480, "iscrowd": 0}
        | ({"instance_id": k} if videos else {})
        for n in range(len(names))
        for k in range(2)
    ]
    categories = [{"id": n + 1, "name": name} for n, (name, _) in enumerate(CLASSES)]
    told: dict[str, Any] = {"images": facts, "annotations": boxes, "categories": categories}
    if videos:
        told["videos"] = [{"id": n, "name": f"video{n}"} for n in range(videos)]
    return told


def cocovid() -> Tree:
    """CocoVID: a file to train on and one to test on, two videos each."""
    tree: Tree = {}
    for part in ("train", "val"):
        names = [f"{part}/video{n}/{frame:06d}.JPEG" for n in range(2) for frame in range(FRAMES)]
        tree |= {f"ILSVRC/Data/VID/{name}": image(n) for n, name in enumerate(names)}
        tree[f"ILSVRC/{part}.json"] = json.dumps(_coco_tables(names, videos=2)).encode()
    return tree


def cocovid_mot() -> Tree:
    """MOT17 as MMTracking converts it: half-train and half-val, two sequences each."""
    tree: Tree = {}
    names = [f"MOT17-0{n}-FRCNN" for n in (2, 4)]
    for name in names:
        tree |= images(f"MOT17/train/{name}/img1", "{:06d}.jpg", range(1, 2 * FRAMES + 1))
    for part, first in (("train", 1), ("val", FRAMES + 1)):
        numbers = range(first, first + FRAMES)
        told = _coco_tables(
            [f"{name}/img1/{n:06d}.jpg" for name in names for n in numbers], videos=2
        )
        told["categories"] = [{"id": 1, "name": "pedestrian"}]
        for each in told["annotations"]:
            each |= {"category_id": 1, "visibility": 0.8, "mot_instance_id": each["instance_id"]}
            each |= {"mot_conf": 1.0, "mot_class_id": 1}
        for each in told["images"]:
            each["mot_frame_id"] = each["frame_id"] + first
        told["videos"] = [{"id": n, "name": name, "fps": 30} for n, name in enumerate(names)]
        tree[f"MOT17/annotations/half-{part}_cocoformat.json"] = json.dumps(told).encode()
    return tree


def crop_lists() -> Tree:
    """Crops of MOT17 as MMTracking's mot2reid cuts and lists them."""
    tree: Tree = {}
    for part, people in (("train_80", (1, 2, 3)), ("val_20", (4, 5))):
        names = [f"MOT17-02-FRCNN_{n:06d}/{k:06d}.jpg" for n in people for k in range(3)]
        tree |= {f"MOT17/reid/imgs/{name}": image(n) for n, name in enumerate(names)}
        rows = [f"{name} {n // 3}" for n, name in enumerate(names)]
        tree[f"MOT17/reid/meta/{part}.txt"] = lines(*rows)
    return tree


def coco() -> Tree:
    """COCO's training images and their annotations."""
    names = [f"{n:012d}.jpg" for n in range(8)]
    told = json.dumps(_coco_tables(names, videos=0)).encode()
    tree: Tree = {f"coco/train2017/{name}": image(n) for n, name in enumerate(names)}
    return tree | {"coco/annotations/instances_train2017.json": told}


def mot(benchmark: str) -> Tree:
    """MOTChallenge: two sequences to train on, one of its test set, without ground truth."""
    tree: Tree = {}
    for name in ("train/{}-02-FRCNN", "train/{}-04-FRCNN", "test/{}-01-FRCNN"):
        folder = f"{benchmark}/{name.format(benchmark)}"
        tree |= images(f"{folder}/img1", "{:06d}.jpg", range(1, FRAMES + 1))
        frames = range(1, FRAMES + 1)
        rows = [(frame, k, 3 + 16 * k + frame, 5, 12, 24) for k in (1, 2, 3) for frame in frames]
        # MOT15 has world coordinates in the place of class and visibility.
        end = (1, -1, -1, -1) if benchmark == "MOT15" else (1, 1, 0.8)
        if name.startswith("train"):
            tree[f"{folder}/gt/gt.txt"] = lines(*((*row, *end) for row in rows))
        found = ((frame, -1, *box, 0.9) for frame, _, *box in rows)
        tree[f"{folder}/det/det.txt"] = lines(*found)
        facts = {"name": folder.rpartition("/")[2], "imDir": "img1", "frameRate": 30}
        facts |= {"seqLength": FRAMES, "imWidth": SIZE[1], "imHeight": SIZE[0], "imExt": ".jpg"}
        told = lines("[Sequence]", *(f"{key}={value}" for key, value in facts.items()))
        tree[f"{folder}/seqinfo.ini"] = told
    return tree


def lasot() -> Tree:
    """LaSOT: two sequences to train on, two to test on, and the flags of its evaluation kit."""
    tree: Tree = {"LaSOTBenchmark/testing_set.txt": lines("car-1", "dog-1")}
    for name in ("car-1", "dog-1", "car-2", "dog-2"):
        folder = f"LaSOTBenchmark/{name[:3]}/{name}"
        tree |= images(f"{folder}/img", "{:08d}.jpg", range(1, FRAMES + 1))
        tree[f"{folder}/groundtruth.txt"] = target_boxes(FRAMES)
        for file in ("full_occlusion.txt", "out_of_view.txt"):
            tree[f"{folder}/{file}"] = lines(["0", "0", "0", "1", "0", "0"])
        tree[f"annos/att/{name}.txt"] = lines(["0", "1"] * 7)
    return tree


def lasot_infos() -> Tree:
    """LaSOT with MMTracking's lists in the place of the benchmark's."""
    tree = lasot()
    del tree["LaSOTBenchmark/testing_set.txt"]
    heading = "The format of each line in this txt is (video_path,annotation_path,start,end)"
    for part, number in (("test", 1), ("train", 2)):
        names = [f"{kind}/{kind}-{number}" for kind in ("car", "dog")]
        rows = [f"{name}/img,{name}/groundtruth.txt,1,{FRAMES}" for name in names]
        tree[f"annotations/lasot_{part}_infos.txt"] = lines(heading, *rows)
    return tree


def target_boxes(count: int, separator: str = ",") -> bytes:
    """The boxes of one target that moves to the right."""
    return lines(*((8 + 2 * n, 10, 20, 18) for n in range(count)), separator=separator)


def otb() -> Tree:
    """OTB100: one sequence as any, one with two targets, one with numbers of its own."""
    tree = coco()
    for name, first, kind in (("Basketball", 1, ""), ("Jogging", 1, ".1"), ("BlurCar3", 3, "")):
        folder = f"OTB100/{name}"
        tree |= images(f"{folder}/img", "{:04d}.jpg", range(first, first + FRAMES))
        tree[f"{folder}/groundtruth_rect{kind}.txt"] = target_boxes(FRAMES, "\t")
    return tree | {"OTB100/Jogging/groundtruth_rect.2.txt": target_boxes(FRAMES)}


def uav() -> Tree:
    """UAV123: two sequences of one video, and one with a video of its own."""
    tree, video = coco(), "UAV123/data_seq/UAV123"
    tree |= images(f"{video}/bird1", "{:06d}.jpg", range(1, FRAMES + 1))
    tree |= images(f"{video}/bird1", "{:06d}.jpg", range(775, 775 + FRAMES))
    tree |= images(f"{video}/car1_s", "{:06d}.jpg", range(1, FRAMES + 1))
    for name in ("bird1_1", "bird1_2", "car1_s"):
        tree[f"UAV123/anno/UAV123/{name}.txt"] = target_boxes(FRAMES)
        tree[f"UAV123/anno/UAV123/att/{name}.txt"] = lines(["0", "1"] * 6)
    gone = lines("NaN,NaN,NaN,NaN")
    tree["UAV123/anno/UAV123/bird1_2.txt"] = target_boxes(FRAMES - 1) + gone
    return tree


def trackingnet() -> Tree:
    """TrackingNet: test sequences of which the first box is known, and two parts with all boxes."""
    tree = coco()
    for part, name, count in (
        ("TEST", "t", 1), ("TEST", "u", 1), ("TRAIN_0", "a", FRAMES), ("TRAIN_1", "b", FRAMES)
    ):  # fmt: skip
        tree |= images(f"TrackingNet/{part}/frames/{name}", "{}.jpg", range(FRAMES))
        tree[f"TrackingNet/{part}/anno/{name}.txt"] = target_boxes(count)
    return tree


def got10k() -> Tree:
    """GOT-10k: validation sequences with all boxes, test sequences with their first alone."""
    tree = coco()
    for part, count in (("val", FRAMES), ("test", 1)):
        names = [f"GOT-10k_{part.title()}_{n:06d}" for n in (1, 2)]
        tree[f"GOT-10k/{part}/list.txt"] = lines(*names)
        for name in names:
            folder = f"GOT-10k/{part}/{name}"
            tree |= images(folder, "{:08d}.jpg", range(1, FRAMES + 1))
            tree[f"{folder}/groundtruth.txt"] = target_boxes(count)
            if part == "val":
                tree[f"{folder}/absence.label"] = lines(*"000100")
    return tree


def vot() -> Tree:
    """VOT2018: a sequence of polygons and one of boxes."""
    tree = coco() | {"VOT2018/list.txt": lines("ants1", "bag")}
    for name in ("ants1", "bag"):
        tree |= images(f"VOT2018/{name}/color", "{:08d}.jpg", range(1, FRAMES + 1))
    corners = ((8 + n, 20, 40 + n, 20, 40 + n, 40, 8 + n, 40) for n in range(FRAMES))
    tree["VOT2018/ants1/groundtruth.txt"] = lines(*corners)
    tree["VOT2018/bag/groundtruth.txt"] = target_boxes(FRAMES)
    return tree


def mot_results() -> Tree:
    """Result files of MOT17's two training sequences, beside the data set."""
    rows = [(f, k, 3 + 16 * k + f, 5, 12, 24, 0.9) for k in (1, 2, 3) for f in (5, 6)]
    names = ("MOT17-02-FRCNN", "MOT17-04-FRCNN")
    return mot("MOT17") | {f"results/{name}.txt": lines(*rows) for name in names}


def lasot_results() -> Tree:
    """Result files of LaSOT's two test sequences, beside the data set."""
    return lasot() | {f"results/{name}.txt": target_boxes(FRAMES) for name in ("car-1", "dog-1")}
