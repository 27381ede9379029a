"""CocoVID JSON, MMTracking's converted annotations, read into the records of the raw layouts.

COCO's instances JSON plus videos; images have ``video_id`` and ``frame_id``, annotations
``instance_id``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from halftrack.data.files import shortened, user_path
from halftrack.data.index import Classes, VideoIndex
from halftrack.data.index_cache import cached_index, fingerprint
from halftrack.data.parsed_video import ParsedVideo, assemble_index
from halftrack.data.problems import DataError
from halftrack.data.tables.coco_records import (
    Id,
    Notes,
    Record,
    bbox_numbers,
    by_id,
    identifier,
    is_set,
    load_tables,
    path_text,
    track_of,
    whole_number,
)
from halftrack.data.tables.coco_videos import coco_videos

__all__ = ["build_index", "index_tables", "read_coco_vid"]

# So many boxes of a file leave their image, and all would not as corners, if they are corners.
_FEWEST_CORNERS, _SHARE_OF_CORNERS = 3, 0.3


def read_coco_vid(
    json_file: str | Path, *, image_root: str | Path, classes: Classes | None
) -> VideoIndex:
    """The records of a CocoVID file; without ``videos`` every image is a still.

    Args:
        json_file: the annotations. ``is_vid_train_frame`` marks training's key frames; images
            without that field are all key frames.
        image_root: folder that ``file_name`` is relative to.
        classes: matched with the categories' ``name`` or, failing that, ``encode_name`` (wnid);
            objects of other categories are left out and counted. None takes the file's own.

    Raises:
        DataError: if the file is missing, not JSON, or lacks a table. Problems of single records,
            identifiers that come twice or lead nowhere among them, are kept in the index.
    """
    file, root = user_path(json_file), user_path(image_root)
    return cached_index(
        key={"json": str(file), "root": str(root), "classes": classes},
        fingerprint=fingerprint(files=[file]),
        build=lambda: build_index(file, root, classes),
    )


def build_index(file: Path, image_root: Path, classes: Classes | None) -> VideoIndex:
    """The same without a cache; arguments as for ``read_coco_vid``."""
    notes = Notes(str(file))
    return index_tables(load_tables(file, notes), notes, image_root=image_root, classes=classes)


def index_tables(
    tables: Mapping[str, list[Record]],
    notes: Notes,
    *,
    image_root: Path,
    classes: Classes | None,
) -> VideoIndex:
    """The records of tables that are loaded already.

    Args:
        tables: of the file.
        notes: what loading found wrong, which is kept in the index.
        image_root: as of ``read_coco_vid``.
        classes: likewise.
    """
    categories, bad_categories = by_id(tables["categories"], "categories", notes)
    if classes is None:
        named = (c["name"] for c in categories.values() if _has_name(c))
        classes = tuple(dict.fromkeys((name, "") for name in named))
    reader = _Reader(notes, tables, _labels(categories, classes, notes), bad_categories)
    return assemble_index(
        reader.videos(),
        image_root=image_root,
        classes=classes,
        problems=notes.problems,
        odd=notes.odd,
    )


class _Reader:
    """Turns the tables of one file into videos."""

    def __init__(
        self,
        notes: Notes,
        tables: Mapping[str, list[Record]],
        labels: Mapping[Id, int | None],
        bad_categories: set[Id],
    ) -> None:
        self._notes, self._tables = notes, tables
        self._labels, self._bad_categories = labels, bad_categories
        self._lost_categories: Counter[str] = Counter()
        self._files: dict[str, Record] = {}
        self._corners: Counter[str] = Counter()

    def videos(self) -> list[ParsedVideo]:
        """The videos, or stills, in the order of the file."""
        notes, parsed = self._notes, []
        for video in coco_videos(self._tables, notes):
            parsed.append(ParsedVideo(name=video.name, still=video.still))
            for image, own in video.images:
                self._add_image(parsed[-1], image, own)
        for told, count in self._lost_categories.items():
            notes.problem(f"annotations: category_id {told} ({count} times) is not in categories")
        corners = self._corners
        suspect = corners["fit as corners"] == corners["all"] >= _FEWEST_CORNERS
        if suspect and corners["leave"] >= _SHARE_OF_CORNERS * corners["all"]:
            notes.problem(
                f"{corners['leave']} of {corners['all']} boxes leave their image, and read as "
                "x1, y1, x2, y2 none would: a bbox is x, y, width, height"
            )
        return parsed

    def _add_image(self, video: ParsedVideo, image: Record, annotations: Sequence[Record]) -> None:
        notes, source = self._notes, self._notes.source
        try:
            file = path_text(image, "file_name")
            height, width = (whole_number(image, side) for side in ("height", "width"))
            self._note_file(video, file, image)
            video.add_frame(
                file,
                height=height,
                width=width,
                is_key=bool(image.get("is_vid_train_frame", True)),
                source=source,
            )
        except DataError as error:
            return notes.problem(f"images: id {shortened(image['id'])}: {error.reason}")
        except (ValueError, OverflowError) as error:
            return notes.problem(f"images: id {shortened(image['id'])}: {error}")
        for annotation in annotations:
            self._add_annotation(video, annotation, file)
        return None

    def _note_file(self, video: ParsedVideo, file: str, image: Record) -> None:
        """Refuse a file that comes twice, but of stills: published sets have some twice."""
        other = self._files.setdefault(file, image)
        if other is image:
            return
        sizes = [(each.get("height"), each.get("width")) for each in (image, other)]
        if not video.still or sizes[0] != sizes[1]:
            raise ValueError(f"{file} is the file of image {shortened(other['id'])} too")
        self._notes.odd["stills listed again"] += 1

    def _add_annotation(self, video: ParsedVideo, annotation: Record, file: str) -> None:
        def about() -> str:
            return f"annotation {shortened(annotation.get('id'))} of {file}: "

        category = identifier(annotation.get("category_id"))
        if category is None or category not in self._labels:
            if category is None or category not in self._bad_categories:
                self._lost_categories[shortened(annotation.get("category_id"))] += 1
            return
        label = self._labels[category]
        if label is None:
            video.left_out["unknown_objects"] += 1
            return
        try:
            if is_set(annotation, "ignore"):
                video.left_out["flagged_objects"] += 1
                return
            crowd = is_set(annotation, "iscrowd")
            x, y, width, height = bbox_numbers(annotation)
            track = track_of(annotation)
        except ValueError as error:
            self._notes.problem(f"{about()}{error}")
            return
        self._count_corners((x, y, width, height), video.sizes[-1])
        video.add_box(
            (x, y, x + width, y + height),
            label=label,
            track=track,
            source=self._notes.source,
            about=about,
            occluded=bool(annotation.get("occluded", False)),
            generated=bool(annotation.get("generated", False)),
            ignored=crowd,
        )

    def _count_corners(self, bbox: tuple[float, ...], size: tuple[int, int]) -> None:
        """Count whether the last two of a bbox could be the far corner instead."""
        x, y, width, height = bbox
        limit_height, limit_width = size
        self._corners["all"] += 1
        self._corners["leave"] += x + width > limit_width + 1 or y + height > limit_height + 1
        inside = x < width <= limit_width + 1 and y < height <= limit_height + 1
        self._corners["fit as corners"] += inside


def _labels(
    categories: Mapping[Id, Record], classes: Classes, notes: Notes
) -> dict[Id, int | None]:
    """The label of each category id; None for categories that were not asked for."""
    by_name = {name: label for label, (name, _) in enumerate(classes)}
    by_wnid = {wnid: label for label, (_, wnid) in enumerate(classes) if wnid}
    labels: dict[Id, int | None] = {}
    owners: dict[str, Id] = {}
    for number, category in categories.items():
        if not _has_name(category):
            told = (
                f"has the name {shortened(category['name'])}" if "name" in category else "no name"
            )
            notes.problem(f"categories: id {shortened(number)}: {told}, expected text")
            continue
        name = category["name"]
        if owners.setdefault(name, number) != number:
            told = f"{shortened(name)} has ids {shortened(owners[name])} and {shortened(number)}"
            notes.problem(f"categories: {told}: a name has one id")
        labels[number] = by_name.get(name, by_wnid.get(str(category.get("encode_name"))))
    return labels


def _has_name(category: Record) -> bool:
    name = category.get("name")
    return isinstance(name, str) and bool(name.strip())
