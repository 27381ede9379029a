"""Video files, decoded by FFmpeg frame by frame: upright, each with its time, whole or an error."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Collection, Generator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
from av.stream import Disposition

from halftrack.data.files import is_playlist
from halftrack.data.image_header import MAX_PIXELS
from halftrack.data.problems import DataError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Picture",
    "VideoFacts",
    "count_frames",
    "decode_video",
    "limit_pixels",
    "read_video_facts",
    "shown_picture",
]

# FFmpeg reads any text as a film of a terminal, and any .bin file as a picture of letters.
_TEXT_ART = ("tty", "bin", "xbin", "adf", "idf")
# No video may make anybody fetch an address.
_OPEN = {"protocol_whitelist": "file"}
# A film may end so much earlier than its header says: frames, and a part of its length.
_SPARE_FRAMES = 3
_SPARE_PART = 0.02
_LOOKED_AT = 120  # packets
_REORDERED = 16  # frames at most in another order than shown


class Picture(NamedTuple):
    """One frame as it is shown, before the network's size."""

    image: Tensor
    """uint8 ``(3, height, width)`` RGB."""
    time: float | None = None
    """Seconds after the first frame; None where the source does not say."""


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """The size of a video's frames, and what its file states of itself, which may be wrong."""

    size: tuple[int, int]
    """Height and width of the first frame, as it is shown."""
    frame_rate: float | None
    """Frames a second, on average where it varies."""
    num_frames: int | None
    """Number of frames."""
    pixel_aspect: Fraction
    """Width of a pixel over its height, as it is shown."""
    varying_rate: bool
    """True where the first packets show frames at uneven times."""
    notes: tuple[str, ...]
    """Whatever is odd, a line each."""


def read_video_facts(path: Path, allowed: str) -> VideoFacts:
    """The facts of a video file, of its first video stream that is no picture of a cover.

    Its first frame is decoded, so that a wrong file shows at once.

    Args:
        path: the file.
        allowed: what is allowed instead, for errors.

    Raises:
        DataError: if FFmpeg knows no video in it, the first frame cannot be decoded, or frames are
            above ``MAX_PIXELS``.
    """
    with _opened(path, allowed) as container:
        stream = _stream(container, path, allowed)
        limit_pixels(stream, str(path))
        rate = stream.average_rate or stream.guessed_rate
        notes = []
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if aspect != 1:
            notes.append(
                f"{path}: pixels are {aspect.numerator}:{aspect.denominator}, not square; boxes "
                "count pixels as stored, and the film says so to players"
            )
        if len(container.streams.video) > 1:
            notes.append(f"{path}: holds {len(container.streams.video)} video streams, one is used")
        size, turned = _first_shown(path, allowed)
        varying = _varies(container, stream)
        if varying:
            notes.append(
                f"{path}: frames are not evenly spaced; text, JSON and film keep their times"
            )
        return VideoFacts(
            size=size,
            varying_rate=varying,
            frame_rate=None if rate is None else float(rate),
            num_frames=stream.frames or None,
            pixel_aspect=1 / aspect if turned else aspect,
            notes=tuple(notes),
        )


def decode_video(
    path: Path, allowed: str, wanted: Collection[int] | None = None
) -> Generator[Picture]:
    """The frames of a video file, or those at some positions, as players show them.

    Frames before a wanted one are decoded, but not turned into pictures, which takes longer.

    Raises:
        DataError: at the first frame that is damaged, and behind the last one if the file ends
            before the end that it states.
    """
    chosen = None if wanted is None else frozenset(wanted)
    stop = None if chosen is None else max(chosen, default=-1) + 1
    with closing(_decoded(path, allowed)) as frames:
        for index, (frame, time) in enumerate(itertools.islice(frames, stop)):
            if chosen is None or index in chosen:
                yield shown_picture(frame, time)


def count_frames(path: Path, allowed: str) -> int:
    """The number of frames of a video file, all of which are decoded and become no pictures.

    Raises:
        DataError: as ``decode_video`` does.
    """
    with closing(_decoded(path, allowed)) as frames:
        return sum(1 for _ in frames)


def _first_shown(path: Path, allowed: str) -> tuple[tuple[int, int], bool]:
    """Height and width of the first frame as shown, and whether it was stored on its side."""
    with closing(_decoded(path, allowed)) as frames:
        for frame, _ in frames:
            turned = _on_its_side(_matrix(frame))
            return (frame.width, frame.height) if turned else (frame.height, frame.width), turned
    raise DataError(str(path), f"holds a video stream without a single frame; {allowed}")


def _decoded(path: Path, allowed: str) -> Generator[tuple[av.VideoFrame, float | None]]:
    """The frames as stored, each with its seconds after the first one."""
    clock = _Clock()
    with _opened(path, allowed) as container:
        stream = _stream(container, path, allowed)
        stream.thread_type = "AUTO"  # several frames at once; without it a core at most is used
        limit_pixels(stream, str(path))
        if container.format.name == "avi":  # its packets have no time of showing
            clock.rate = stream.average_rate
        try:
            for packet in container.demux(stream):
                frames = packet.decode()
                # A decoder with several threads may swallow the last packet of a file cut short.
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    raise DataError(str(path), _damaged(clock.frames, "it is incomplete"))
                for frame in frames:
                    yield frame, clock.time(frame)
        except (av.error.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            raise DataError(str(path), _damaged(clock.frames, reason)) from None
        _require_end(container, stream, path, clock.end)


class _Clock:
    """Times of frames, from the first one on."""

    def __init__(self) -> None:
        self.rate: Fraction | None = None
        """Frames a second, where frames are even and their own times mean nothing."""
        self.frames = 0
        self.end = Fraction(0)
        """The end of the last frame, on the file's clock."""
        self._first: Fraction | None = None

    def time(self, frame: av.VideoFrame) -> float | None:
        """Seconds after the first frame, for each frame in turn."""
        index, self.frames = self.frames, self.frames + 1
        if self.rate is not None:
            return float(index / self.rate)
        if frame.pts is None or frame.time_base is None:
            return None
        shown = frame.pts * frame.time_base
        if self._first is None:
            self._first = shown
        self.end = shown + (frame.duration or 0) * frame.time_base
        return float(shown - self._first)


def _varies(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> bool:
    """Whether the first packets are unevenly spaced, by more than the rounding of their times."""
    packets = itertools.islice(container.demux(stream), _LOOKED_AT)
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    # Packets come in decoding order: before the last of those looked at, some may be missing.
    shown = times[:-_REORDERED] if len(times) > 2 * _REORDERED else times
    steps = [after - before for before, after in itertools.pairwise(shown)]
    return bool(steps) and max(steps) - min(steps) > max(2, 0.1 * min(steps))


def _opened(path: Path, allowed: str) -> av.container.InputContainer:
    if is_playlist(path):
        raise DataError(str(path), f"is a list of videos, expected one of them; {allowed}")
    try:
        container = av.open(os.fspath(path), options=_OPEN)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        reason = f"cannot be opened as a video: {told}"
        raise DataError(str(path), f"{reason}; {allowed}") from None
    if container.format.name in _TEXT_ART:
        container.close()
        raise DataError(str(path), f"cannot be opened as a video: no format of one; {allowed}")
    return container


def _stream(
    container: av.container.InputContainer, path: Path, allowed: str
) -> av.video.stream.VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    kinds = ["a cover" if stream.type == "video" else stream.type for stream in container.streams]
    container.close()
    others = ", ".join(kinds) or "no stream at all"
    raise DataError(str(path), f"has no video stream but {others}; {allowed}")


def limit_pixels(stream: av.video.stream.VideoStream, name: str) -> None:
    """Refuse frames above ``MAX_PIXELS``, now and where a later one is larger.

    Raises:
        DataError: if they are, with the name of the file or stream.
    """
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        pixels = f"{width * height / 1e6:.0f} million pixels"
        most = f"allowed are {MAX_PIXELS / 1e6:.0f} million"
        raise DataError(name, f"frames are {width}x{height}, {pixels}; {most}")
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}


def _damaged(index: int, reason: str) -> str:
    return (
        f"frame {index} cannot be decoded: {reason}. The file is damaged or cut short; "
        "allowed are whole videos, as FFmpeg makes of it by decoding and encoding it again"
    )


def _require_end(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    path: Path,
    end: Fraction,
) -> None:
    """Matroska's reader takes a file that was cut short for one that ends there."""
    stated = _stated_end(container, stream)
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    if stated is None or rate <= 0 or end <= 0:
        return
    missing = stated - float(end)
    if missing > max(_SPARE_FRAMES / rate, _SPARE_PART * stated):
        raise DataError(
            str(path),
            f"ends after {float(end):.2f} s, but states {stated:.2f} s: it is cut short. Allowed "
            "are whole videos, as FFmpeg makes of it by decoding and encoding it again",
        )


def _stated_end(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> float | None:
    """Seconds until the stream's end as the file states it; None where sound may last longer."""
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except (KeyError, ValueError):
        pass
    if "matroska" in container.format.name and len(container.streams) == 1 and container.duration:
        return container.duration / av.time_base
    return None


def shown_picture(frame: av.VideoFrame, time: float | None) -> Picture:
    """A decoded frame, turned and mirrored as players show it."""
    import torch  # here: a file that is no video is told without it

    image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
    a, b, c, d = matrix = _matrix(frame)
    right, down = a, d
    if _on_its_side(matrix):
        image, right, down = image.transpose(-1, -2), c, b
    flipped = [axis for axis, sign in ((-1, right), (-2, down)) if sign < 0]
    return Picture((image.flip(flipped) if flipped else image).contiguous(), time)


def _matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """The display matrix (a, b, c, d) of a frame: it shows (x, y) at (ax + cy, bx + dy)."""
    try:
        matrix = frame.side_data["DISPLAYMATRIX"]  # type: ignore[typeddict-item]
    except KeyError:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack_from("=9i", bytes(matrix))
    return a, b, c, d


def _on_its_side(matrix: tuple[int, int, int, int]) -> bool:
    """Whether rows are shown as columns; between quarter turns the nearest one is taken."""
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)
