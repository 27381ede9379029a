"""Data of one's own in the files that recipes read: frames of videos, ``seqinfo.ini``, CocoVID."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from halftrack.data.files import is_clutter
from halftrack.data.image_header import header_of
from halftrack.data.index import VideoIndex
from halftrack.data.mot.records import DEFAULT_FRAME_RATE
from halftrack.data.own.layouts import IMAGE_ENDINGS
from halftrack.data.problems import DataError
from halftrack.data.tables.coco_records import Record
from halftrack.data.video_source import open_video

__all__ = ["add_seqinfo", "tables_of", "unpack_film", "write_json"]

# Artefacts of JPEG at this quality are below what a video's own compression leaves.
_QUALITY = 95


def unpack_film(film: Path, folder: Path) -> None:
    """Write a video's frames and rows as a sequence of MOTChallenge's layout.

    Args:
        film: the video file, with its rows in a text file of its name.
        folder: the sequence's, which is made.

    Raises:
        DataError: if a frame cannot be decoded.
    """
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    video = open_video(film)
    for number, picture in enumerate(video.pictures(), start=1):
        pixels = picture.image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"img1/{number:06d}.jpg", quality=_QUALITY)
    shutil.copyfile(film.with_suffix(".txt"), folder / "gt/gt.txt")
    names = film.parent / "labels.txt"
    if names.is_file():
        shutil.copyfile(names, folder / "gt/labels.txt")
    add_seqinfo(folder, frame_rate=video.frame_rate)


def add_seqinfo(folder: Path, *, frame_rate: float = DEFAULT_FRAME_RATE) -> None:
    """Write the ``seqinfo.ini`` of a sequence from its images.

    Raises:
        DataError: if there are none in ``img1``, or the first cannot be read.
    """
    images = folder / "img1"
    files = sorted(
        each
        for each in images.glob("*")
        if each.suffix.lower() in IMAGE_ENDINGS and not is_clutter(each.name)
    )
    if not files:
        raise DataError(str(images), "no image here, expected img1/000001.jpg and so on")
    header = header_of(files[0])
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate={frame_rate:g}\n"
        f"seqLength={len(files)}\nimWidth={header.width}\nimHeight={header.height}\n"
        f"imExt={files[0].suffix}\n",
        encoding="utf-8",
    )


def tables_of(index: VideoIndex) -> dict[str, list[Record]]:
    """COCO's tables of an index of stills."""
    images: list[Record] = []
    annotations: list[Record] = []
    for frame in range(index.num_frames):
        height, width = index.frame_sizes[frame].tolist()
        name = index.frame_files[frame].decode()
        images.append({"id": frame, "file_name": name, "height": height, "width": width})
        boxes = index.boxes_of(frame)
        for label, (x1, y1, x2, y2) in zip(
            index.labels[boxes].tolist(), index.boxes_xyxy[boxes].tolist(), strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(
                {"id": len(annotations), "image_id": frame, "category_id": label + 1, "bbox": box}
                | {"area": box[2] * box[3], "iscrowd": 0}
            )
    categories: list[Record] = [
        {"id": label, "name": name} for label, (name, _) in enumerate(index.classes, start=1)
    ]
    return {
        "categories": categories,
        "videos": [],
        "images": images,
        "annotations": annotations,
    }


def write_json(
    file: Path, tables: Mapping[str, Sequence[Record]], images: Sequence[Record]
) -> None:
    """Write a file of some of the images of a file, with their videos and annotations."""
    kept = {image.get("id") for image in images}
    filmed = {image.get("video_id") for image in images}
    own: dict[str, Sequence[Record]] = {
        "categories": tables["categories"],
        "videos": [video for video in tables["videos"] if video.get("id") in filmed],
        "images": images,
        "annotations": [each for each in tables["annotations"] if each.get("image_id") in kept],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(own), encoding="utf-8")
