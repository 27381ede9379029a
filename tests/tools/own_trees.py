"""Small trees of the layouts that data of one's own come in, beside the official ones."""

from __future__ import annotations

import json
from pathlib import Path

import small_trees as trees
from small_trees import FRAMES, Tree, image, images, lines

from halftrack.report.video import VideoWriter


def own_vid() -> Tree:
    """ImageNet VID's folders with names for wnids, without any list."""
    named = {b"n02958343": b"<name>van</name>", b"n02084071": b"<name>tram</name>"}
    tree: Tree = {}
    for path, content in trees.vid().items():
        if "/Lists/" in path or "/ImageSets/" in path:
            continue
        for wnid, name in named.items():
            content = (content or b"").replace(b"<name>" + wnid + b"</name>", name)
        tree[path] = content
    return tree


def sequences() -> Tree:
    """Two sequences in MOTChallenge's layout, side by side."""
    tree = trees.mot("MOT17")
    below = "MOT17/train/"
    return {path.removeprefix(below): told for path, told in tree.items() if path.startswith(below)}


def yolo() -> Tree:
    """Three images, of which the last shows nothing, and a polygon."""
    tree = images("images/train", "{:03d}.jpg", range(3))
    tree["labels/train/000.txt"] = lines("0 0.5 0.5 0.25 0.5", "1 0.25 0.5 0.25 0.5")
    tree["labels/train/001.txt"] = lines("1 0.25 0.25 0.75 0.25 0.75 0.75")
    tree["data.yaml"] = b"path: .\nnames:\n  0: van  # small\n  1: 'tram'\nnc: 2\n"
    return tree


def coco() -> Tree:
    """A COCO file beside its images, and another of CocoVID, in folders of other names."""
    tree = {path: told for path, told in trees.cocovid().items() if path.startswith("ILSVRC/Data")}
    tree = {path.removeprefix("ILSVRC/Data/VID/"): told for path, told in tree.items()}
    moved: Tree = {f"pictures/{path}": told for path, told in tree.items()}
    moved["annotations/own.json"] = trees.cocovid()["ILSVRC/train.json"]
    stills = json.loads(moved["annotations/own.json"] or b"")
    del stills["videos"]
    stills["images"] = [
        {key: value for key, value in each.items() if key not in ("video_id", "frame_id")}
        for each in stills["images"]
    ]
    moved["annotations/stills.json"] = json.dumps(stills).encode()
    return moved


def write_films(folder: Path) -> None:
    """Two videos of ``FRAMES`` frames, each with rows of MOTChallenge beside it."""
    import torch

    for name in ("a", "b"):
        with VideoWriter(folder / f"{name}.mp4", size=trees.SIZE, frame_rate=10) as film:
            for number in range(FRAMES):
                film.write(torch.full((3, *trees.SIZE), 20 * number, dtype=torch.uint8))
        rows = [(n, 1, 5 + n, 6, 20, 24, 1, 3, 1) for n in range(1, FRAMES + 1)]
        (folder / f"{name}.txt").write_bytes(lines(*rows))


__all__ = ["coco", "image", "own_vid", "sequences", "write_films", "yolo"]
