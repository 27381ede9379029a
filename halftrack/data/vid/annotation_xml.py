"""The XML annotations of ImageNet VID and DET, one file an image, parsed video by video."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from xml.etree import ElementTree

from halftrack.data.parsed_video import ParsedVideo
from halftrack.data.problems import DataError, Problem, noting
from halftrack.data.progress import Progress
from halftrack.data.tables.box_columns import read_number
from halftrack.data.vid.xml_text import read_tree
from halftrack.errors import UserError

__all__ = ["XmlVideo", "parse_video", "parse_videos"]

# XML tells upper from lower case: such elements would be passed over in silence.
_MISNAMED = ("object", "objects")


@dataclass(frozen=True)
class XmlVideo:
    """One video (or still) whose annotations are to be read; small enough for another process."""

    name: str
    """Path below ``Data/VID`` or ``Data/DET`` of the folder that holds the images."""
    annotations: str
    """Folder that holds the XML files."""
    stems: tuple[str, ...]
    """Names of the frames without their ending, in order."""
    keys: frozenset[str]
    """Those of the stems that are key frames of training."""
    labels: dict[str, int]
    """Label of each wnid; other objects are left out and counted."""
    still: bool = False
    """True for DET, whose objects carry no track."""


def parse_videos(
    videos: Sequence[XmlVideo], processes: int = 0, progress: Progress | None = None
) -> list[ParsedVideo]:
    """Read the annotations of many videos, in order.

    Args:
        videos: what to read.
        processes: how many processes share the work; 0 reads in this one. All 1.3 million files
            of ImageNet VID take some minutes in one process.
        progress: called after each video.
    """
    parsed = []
    if processes == 0:
        for done, video in enumerate(videos, start=1):
            parsed.append(parse_video(video))
            if progress is not None:
                progress(done, len(videos))
        return parsed
    # "spawn": a fork of a process that runs threads (PyTorch's) may deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for done, result in enumerate(pool.map(parse_video, videos, chunksize=16), start=1):
            parsed.append(result)
            if progress is not None:
                progress(done, len(videos))
    return parsed


def parse_video(video: XmlVideo) -> ParsedVideo:
    """Read every annotation of one video; what cannot be read is kept as its problems."""
    name = f"{video.name}/{video.stems[0]}" if video.still else video.name
    parsed = ParsedVideo(name=name, still=video.still)
    for stem in video.stems:
        source = f"{video.annotations}/{stem}.xml"
        try:
            root = read_tree(source)
            height, width = _numbers(root, "size", ("height", "width"), source)
            parsed.add_frame(
                f"{video.name}/{stem}.JPEG",
                height=height,
                width=width,
                is_key=stem in video.keys,
                source=source,
            )
        except DataError as error:
            parsed.problems.append(Problem(error.file, error.reason))
            continue
        for element in root:
            with noting(parsed.problems):
                if element.tag == "object":
                    _add_object(parsed, element, video.labels, source)
                elif element.tag.lower() in _MISNAMED:
                    raise DataError(source, f"<{element.tag}> in the place of <object>")
    return parsed


def _add_object(
    parsed: ParsedVideo, element: ElementTree.Element, labels: dict[str, int], source: str
) -> None:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise DataError(source, "an <object> has no <name>")
    label = labels.get(name)
    if label is None:
        parsed.left_out["unknown_objects"] += 1
        return
    x1, y1, x2, y2 = _numbers(element, "bndbox", ("xmin", "ymin", "xmax", "ymax"), source)
    parsed.add_box(
        (x1, y1, x2, y2),
        label=label,
        track=(element.findtext("trackid") or "").strip() or None,
        source=source,
        occluded=_is_set(element, "occluded"),
        generated=_is_set(element, "generated"),
    )


def _is_set(element: ElementTree.Element, path: str) -> bool:
    return (element.findtext(path) or "").strip() == "1"


def _numbers(
    element: ElementTree.Element, name: str, parts: tuple[str, ...], source: str
) -> list[float]:
    """The numbers in the parts of a named child, of which there is one."""
    children = element.findall(name)
    if len(children) > 1:
        raise DataError(source, f"<{element.tag[:60]}> has <{name}> {len(children)} times")
    inside = children[0] if children else ()
    texts = {each.tag: each.text or "" for each in inside}
    if len(texts) < len(inside):
        raise DataError(source, f"<{name}> has a part twice; expected {', '.join(parts)}")
    values = []
    for part in parts:
        text = texts.get(part)
        if text is None:
            raise DataError(source, f"<{element.tag[:60]}> has no <{name}/{part}>")
        try:
            values.append(read_number(text))
        except UserError as error:
            raise DataError(source, f"<{name}/{part}>: {error}") from None
    return values
