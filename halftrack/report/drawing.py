"""Drawing of detections and tracks into frames."""

from __future__ import annotations

import colorsys
from collections import deque
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from halftrack.data.images import GivenImage, pixels_of
from halftrack.frames import Detections, Tracks

__all__ = ["Trails", "draw_detections", "draw_tracks"]

_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#00a0a0", "#f032e6", "#808000")


def draw_detections(
    image: GivenImage, detections: Detections, *, class_names: Sequence[str], threshold: float = 0.5
) -> Image.Image:
    """Draw a labelled box for every detection that scores at least ``threshold``.

    Args:
        image: a picture of Pillow, a uint8 array ``(height, width, 3)`` or a uint8 tensor ``(3,
            height, width)``, RGB, at original size, in whose pixels the boxes are.
        detections: the detections of the frame.
        class_names: names of the classes, in the order of the labels.
        threshold: smallest score that is drawn.
    """
    picture = Image.fromarray(pixels_of(image))
    draw = ImageDraw.Draw(picture)
    rows = zip(
        detections.boxes_xyxy.tolist(),
        detections.scores.tolist(),
        detections.labels.tolist(),
        strict=True,
    )
    for box, score, label in rows:
        if score < threshold:
            continue
        colour = _COLOURS[label % len(_COLOURS)]
        draw.rectangle(box, outline=colour, width=2)
        text = f"{class_names[label]} {score:.2f}"
        corner = (box[0] + 2, max(box[1] - 12, 0))
        draw.rectangle(draw.textbbox(corner, text), fill="white")
        draw.text(corner, text, fill=colour)
    return picture


class Trails:
    """Positions of each track in the last frames; the memory does not grow with the video.

    Args:
        length: number of frames that a trail reaches back. Ids that were not seen for as many
            frames are forgotten.

    Raises:
        ValueError: if ``length`` is below 1.
    """

    def __init__(self, length: int = 30) -> None:
        if length < 1:
            raise ValueError(f"length {length!r} is below 1")
        self._length = length
        self._frames = 0
        # Frames and foot points of each id, oldest first.
        self._points: dict[int, deque[tuple[int, tuple[float, float]]]] = {}

    def __len__(self) -> int:
        """Number of ids that are remembered."""
        return len(self._points)

    def add(self, tracks: Tracks) -> None:
        """Add the tracks seen in the next frame; call it for every frame."""
        self._frames += 1
        for track, (x1, _, x2, y2) in zip(
            tracks.ids.tolist(), tracks.boxes_xyxy.tolist(), strict=True
        ):
            foot = ((x1 + x2) / 2, y2)
            self._points.setdefault(track, deque()).append((self._frames, foot))
        for track, points in list(self._points.items()):
            while points and points[0][0] <= self._frames - self._length:
                points.popleft()
            if not points:
                del self._points[track]

    def points(self, track: int) -> list[tuple[float, float]]:
        """Bottom centres ``(x, y)`` of an id's boxes in the last frames, oldest first."""
        return [foot for _, foot in self._points.get(track, ())]


def draw_tracks(
    image: GivenImage,
    tracks: Tracks,
    *,
    trails: Trails | None = None,
    class_names: Sequence[str] | None = None,
) -> Image.Image:
    """Draw a box, an id and the trail of every track; a score where the id is -1, as of detections.

    An id has the same colour in every frame and video. Lines and letters grow with the frame.

    Args:
        image: a picture of Pillow, a uint8 array ``(height, width, 3)`` or a uint8 tensor ``(3,
            height, width)``, RGB, at original size, in whose pixels the boxes are.
        tracks: the tracks seen in the frame.
        trails: the last positions; only read here, so call ``trails.add(tracks)`` before.
        class_names: names of the classes, in the order of the labels; None leaves them out.
    """
    picture = Image.fromarray(pixels_of(image))
    draw = ImageDraw.Draw(picture)
    line = max(1, round(min(picture.size) / 360))
    font = ImageFont.load_default(max(10, round(min(picture.size) / 45)))
    ids, labels = tracks.ids.tolist(), tracks.labels.tolist()
    boxes = tracks.boxes_xyxy.tolist()
    colours = [
        _colour_of(track if track >= 0 else label) for track, label in zip(ids, labels, strict=True)
    ]
    if trails is not None:
        for track, colour in zip(ids, colours, strict=True):
            draw.line(trails.points(track), fill=colour, width=line, joint="curve")
    for (x1, y1, x2, y2), colour in zip(boxes, colours, strict=True):
        # Pillow refuses a box turned inside out, as a tracker that extrapolates may make one.
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=line)
    texts = _texts(tracks, class_names)  # drawn last: they stay legible where boxes overlap
    for (x1, y1, _, _), text, colour in zip(boxes, texts, colours, strict=True):
        _draw_label(draw, (x1, y1), text, colour, font)
    return picture


def _texts(tracks: Tracks, class_names: Sequence[str] | None) -> list[str]:
    """A label for each track: its id and class, or the class and score of a detection."""
    rows = zip(tracks.ids.tolist(), tracks.labels.tolist(), tracks.scores.tolist(), strict=True)
    texts = []
    for track, label, score in rows:
        words = [f"{track}"] if track >= 0 else []
        words += [class_names[label]] if class_names is not None else []
        words += [f"{score:.2f}"] if track < 0 else []
        texts.append(" ".join(words))
    return texts


def _draw_label(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Draw text on a coloured ground, above the corner and, if it fits, inside the picture."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = max(0, min(corner[0], draw.im.size[0] - width))
    y = max(0, min(corner[1] - height, draw.im.size[1] - height))
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    red, green, blue = colour
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    ink = "black" if luminance > 140 else "white"
    draw.text((x + 2 - left, y + 2 - top), text, fill=ink, font=font)


def _colour_of(track: int) -> tuple[int, int, int]:
    # Steps of the golden ratio around the circle of hues: ids close in number differ most.
    red, green, blue = colorsys.hsv_to_rgb(track * 0.618034 % 1, 0.8, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
