"""CocoVID JSON, MMTracking's converted annotations, read into the records of the raw layouts.

COCO's instances JSON plus videos; images have ``video_id`` and ``frame_id``, annotations
``instance_id``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from halftrack.data.index import Classes, ParsedVideo, VideoIndex, assemble_index
from halftrack.data.index_cache import cached_index, fingerprint
from halftrack.data.problems import DataError

__all__ = ["read_coco_vid"]

Record = Mapping[str, Any]


def read_coco_vid(json_file: str | Path, *, image_root: str | Path, classes: Classes) -> VideoIndex:
    """The records of a CocoVID file; without ``videos`` every image is a still.

    Args:
        json_file: the annotations. ``is_vid_train_frame`` marks training's key frames; images
            without that field are all key frames.
        image_root: folder that ``file_name`` is relative to.
        classes: matched with the categories' ``name`` or, failing that, ``encode_name`` (wnid);
            objects of other categories are left out and counted.

    Raises:
        DataError: if the file is missing, not JSON, or lacks a field.
    """
    file, root = Path(json_file).expanduser().resolve(), Path(image_root).expanduser().resolve()
    return cached_index(
        key={"json": str(file), "root": str(root), "classes": classes},
        fingerprint=fingerprint(files=[file]),
        build=lambda: _build(file, root, classes),
    )


def _build(file: Path, image_root: Path, classes: Classes) -> VideoIndex:
    try:
        content: dict[str, list[Record]] = json.loads(file.read_text())
        videos = _videos(content, classes, str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(file), f"cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(str(file), f"not JSON: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(str(file), f"not CocoVID: {error!r}") from None
    return assemble_index(videos, image_root=image_root, classes=classes)


def _videos(
    content: Mapping[str, list[Record]], classes: Classes, source: str
) -> list[ParsedVideo]:
    labels = _labels_of_categories(content["categories"], classes)
    annotations: dict[int, list[Record]] = defaultdict(list)
    for annotation in content.get("annotations", []):
        annotations[annotation["image_id"]].append(annotation)
    images: dict[object, list[Record]] = defaultdict(list)
    has_videos = bool(content.get("videos"))
    for image in content["images"]:
        images[image["video_id"] if has_videos else image["file_name"]].append(image)
    names = (
        {video["id"]: str(video["name"]) for video in content["videos"]}
        if has_videos
        else {name: str(Path(str(name)).with_suffix("")) for name in images}
    )
    parsed = []
    for key, name in names.items():
        video = ParsedVideo(name=name, still=not has_videos)
        for image in sorted(images[key], key=lambda image: int(image.get("frame_id", 0))):
            _add_image(video, image, annotations[image["id"]], labels, source)
        parsed.append(video)
    return parsed


def _add_image(
    video: ParsedVideo,
    image: Record,
    annotations: list[Record],
    labels: Mapping[int, int],
    source: str,
) -> None:
    video.add_frame(
        image["file_name"],
        height=int(image["height"]),
        width=int(image["width"]),
        is_key=bool(image.get("is_vid_train_frame", True)),
    )
    for annotation in annotations:
        label = labels.get(annotation["category_id"])
        if label is None:
            video.unknown_objects += 1
            continue
        if annotation.get("ignore", False):
            continue
        x, y, width, height = (float(value) for value in annotation["bbox"])
        video.add_box(
            (x, y, x + width, y + height),
            label=label,
            track=annotation.get("instance_id"),
            source=f"{source} (annotation {annotation.get('id')}, {image['file_name']})",
            occluded=bool(annotation.get("occluded", False)),
            generated=bool(annotation.get("generated", False)),
            ignored=bool(annotation.get("iscrowd", False)),
        )


def _labels_of_categories(categories: list[Record], classes: Classes) -> dict[int, int]:
    by_name = {name: label for label, (name, _) in enumerate(classes)}
    by_wnid = {wnid: label for label, (_, wnid) in enumerate(classes)}
    labels = {}
    for category in categories:
        label = by_name.get(category["name"], by_wnid.get(str(category.get("encode_name"))))
        if label is not None:
            labels[category["id"]] = label
    return labels
