"""Videos to run a model on, frame by frame: video files, folders of frames, MOT sequences.

Nothing here grows with the length of a video: a frame is decoded when its turn is near.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import av
import torch
from torch import Tensor

from halftrack.data.images import load_image, prepare_image
from halftrack.data.problems import DataError
from halftrack.data.tables.seqinfo import read_seqinfo
from halftrack.frames import Frame

__all__ = ["SourceFrame", "VideoSource", "open_video"]

_AHEAD = 2  # frames made in a thread while the caller is busy with the one before
_DEFAULT_RATE = 30.0
# FFmpeg reads any text as a film of a terminal, and any .bin file as a picture of letters.
_TEXT_ART = ("tty", "bin", "xbin", "adf", "idf")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_ALLOWED = (
    f"allowed are a video file, a folder of {', '.join(_SUFFIXES)} frames and a MOT sequence "
    "folder (seqinfo.ini and the images beside it)"
)

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, kw_only=True)
class SourceFrame:
    """One frame of a video, as it is and as the network takes it."""

    image: Tensor
    """uint8 ``(3, height, width)`` RGB at original size, the size tracks and drawings are in."""
    frame: Frame
    """The same image at network size."""


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """A video that can be gone through any number of times, from its first frame on each time."""

    name: str
    """Name of the video: the file's without its suffix, or the folder's."""
    frame_rate: float
    """Frames a second, the average where it varies; 30 where the source does not say."""
    size: tuple[int, int]
    """Height and width of the original frames."""
    num_frames: int | None
    """Exact for folders. Of a file what its container says, or None: good for progress only."""
    image_scale: tuple[int, int] | None
    """Greatest long and short side at network size; None leaves frames at their original size."""
    images: Callable[[], Generator[Tensor]]
    """Starts decoding at the first frame: uint8 ``(3, height, width)`` RGB, one at a time."""

    def __iter__(self) -> Iterator[SourceFrame]:
        """Every frame in turn; two more at most are decoded ahead.

        Raises:
            DataError: at a frame that cannot be decoded or is not of the first one's size.
        """
        return _ahead(self._frames(), _AHEAD)

    def _frames(self) -> Generator[SourceFrame]:
        for index, image in enumerate(self.images()):
            sample_id = f"{self.name}/{index:06d}"
            if image.shape[1:] != self.size:
                raise DataError(
                    sample_id,
                    f"frame {index} is {_by(tuple(image.shape[1:]))}, the first one is "
                    f"{_by(self.size)}; allowed is one size in a video",
                )
            frame = prepare_image(
                image, sample_id=sample_id, frame_index=index, image_scale=self.image_scale
            )
            yield SourceFrame(image=image, frame=frame)


def open_video(
    source: str | os.PathLike[str], *, image_scale: tuple[int, int] | None = None
) -> VideoSource:
    """A video file, a folder of frames or a MOT sequence folder, ready to be gone through.

    The frames of a folder come in natural order: ``img2.jpg`` before ``img10.jpg``. Files of other
    kinds and hidden ones are not frames. Quarter turns that a phone notes in a video file are
    applied. Decodes the first frame, so that a wrong path shows at once.

    Args:
        source: path of the file or folder. Any file FFmpeg decodes; of its video streams the first.
        image_scale: greatest long and short side at network size, in either order, the ratio being
            kept; None to keep the original size.

    Raises:
        DataError: if there is no such path, or nothing in it that can be decoded as a video.
    """
    path = Path(source)
    if path.is_dir():
        found = _read_folder(path)
    elif path.exists():
        found = _read_file(path)
    else:
        raise DataError(str(path), f"no such file or folder; {_ALLOWED}")
    start = found.images()
    first = next(start, None)
    start.close()
    if first is None:
        raise DataError(str(path), f"holds a video stream without a single frame; {_ALLOWED}")
    return VideoSource(
        name=found.name,
        frame_rate=found.frame_rate,
        size=(int(first.shape[1]), int(first.shape[2])),
        num_frames=found.num_frames,
        image_scale=image_scale,
        images=found.images,
    )


class _Found(NamedTuple):
    """What a path turned out to be."""

    name: str
    frame_rate: float
    num_frames: int | None
    images: Callable[[], Generator[Tensor]]


def _read_folder(folder: Path) -> _Found:
    if (folder / "seqinfo.ini").exists():
        return _read_sequence(folder)
    files = _frame_files(folder)
    whole = folder.resolve()
    # LaSOT, OTB and MOTChallenge name the sequence one folder above.
    name = whole.parent.name if whole.name in ("img", "img1") else whole.name
    return _Found(name, _DEFAULT_RATE, len(files), lambda: _load(files))


def _read_sequence(folder: Path) -> _Found:
    """A sequence of MOTChallenge."""
    info = read_seqinfo(folder / "seqinfo.ini")
    images = folder / info.image_folder
    if not images.is_dir():
        raise DataError(str(images), "the folder of images that seqinfo.ini names is missing")
    files = _frame_files(images)
    length = info.num_frames
    if length is not None and length != len(files):
        raise DataError(str(images), f"holds {len(files)} frames, but seqLength is {length}")
    rate = info.frame_rate or _DEFAULT_RATE
    return _Found(folder.resolve().name, rate, len(files), lambda: _load(files))


def _frame_files(folder: Path) -> list[Path]:
    """The images of a folder in natural order."""
    try:
        present = sorted(folder.iterdir(), key=_natural)
    except OSError as error:
        raise DataError(str(folder), f"folder cannot be read: {error.strerror}") from None
    files = [
        path
        for path in present
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    ]
    if not files:
        names = ", ".join(path.name for path in present[:5])
        more = f" and {len(present) - 5} more" if len(present) > 5 else ""
        found = f"holds no frames, only {names}{more}" if present else "is an empty folder"
        raise DataError(str(folder), f"{found}; {_ALLOWED}")
    return files


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers inside names by value, not digit by digit."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _load(files: list[Path]) -> Generator[Tensor]:
    for path in files:
        yield load_image(path)


def _read_file(path: Path) -> _Found:
    with _opened(path) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
        num_frames = stream.frames or None
    return _Found(path.stem, float(rate or _DEFAULT_RATE), num_frames, lambda: _decode(path))


def _opened(path: Path) -> av.container.InputContainer:
    try:
        container = av.open(os.fspath(path))
    except (av.error.FFmpegError, OSError) as error:
        reason = f"cannot be opened as a video: {error.strerror}"
        raise DataError(str(path), f"{reason}; {_ALLOWED}") from None
    if container.format.name in _TEXT_ART:
        container.close()
        raise DataError(str(path), f"cannot be opened as a video: no format of one; {_ALLOWED}")
    if not container.streams.video:
        others = ", ".join(stream.type for stream in container.streams) or "no stream at all"
        container.close()
        raise DataError(str(path), f"has no video stream but {others}; {_ALLOWED}")
    return container


def _decode(path: Path) -> Generator[Tensor]:
    decoded = 0
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"  # several frames at once; without it a core at most is used
        try:
            for packet in container.demux(stream):
                frames = packet.decode()
                # A decoder with several threads may swallow the last packet of a file cut short.
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    raise DataError(str(path), _damaged(decoded, "it is incomplete"))
                for frame in frames:
                    yield _to_tensor(frame)
                    decoded += 1
        except (av.error.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            raise DataError(str(path), _damaged(decoded, reason)) from None


def _damaged(index: int, reason: str) -> str:
    return (
        f"frame {index} cannot be decoded: {reason}. The file is damaged or cut short; "
        "allowed are whole videos, as FFmpeg makes of it by decoding and encoding it again"
    )


def _to_tensor(frame: av.VideoFrame) -> Tensor:
    image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
    return image.rot90(round(frame.rotation / 90), (1, 2)).contiguous()


def _ahead(items: Generator[ItemT], count: int) -> Iterator[ItemT]:
    """The same items; the next ``count`` are made in a thread meanwhile."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode") as pool:
        waiting = deque(pool.submit(next, items, None) for _ in range(count))
        try:
            while (item := waiting.popleft().result()) is not None:
                yield item
                del item  # else it would outlive the wait for the next one
                waiting.append(pool.submit(next, items, None))
        finally:
            for future in waiting:
                future.cancel()
            pool.submit(items.close).result()  # in the thread: it may be inside an item just now


def _by(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]} (height x width)"
