"""Videos to run a model on, frame by frame: video files, folders of frames, MOT sequences.

Nothing here grows with the length of a video: a frame is decoded when its turn is near.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from halftrack.data.annotated_image import load_annotated_image, require_size
from halftrack.data.files import PICTURE_ENDINGS, file_name, is_clutter
from halftrack.data.image_header import header_of, upright_size
from halftrack.data.prefetch import ahead_of
from halftrack.data.problems import DataError
from halftrack.data.tables.seqinfo import SeqInfo, read_seqinfo
from halftrack.data.video_file import Picture, count_frames, decode_video, read_video_facts

if TYPE_CHECKING:
    from torch import Tensor

    from halftrack.frames import Frame

__all__ = ["SourceFrame", "VideoSource", "open_video"]

_DEFAULT_RATE = 30.0
_ALLOWED = (
    f"allowed are a video file, a folder of {', '.join(PICTURE_ENDINGS)} frames and a MOT sequence "
    "folder (seqinfo.ini and the images beside it)"
)


@dataclass(frozen=True, kw_only=True)
class SourceFrame:
    """One frame of a video, as it is and as the network takes it."""

    image: Tensor
    """uint8 ``(3, height, width)`` RGB at original size, the size tracks and drawings are in."""
    frame: Frame
    """The same image at network size."""
    time: float | None = None
    """Seconds after the first frame; None where the source does not say."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width at network size."""
        return self.frame.size


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """A video that can be gone through any number of times, from its first frame on each time."""

    name: str
    """Name of the file without its suffix, or of the folder; always fit to name a file."""
    origin: str
    """Absolute path of the file or folder, a stream's address without what may be secret, or
    for images a name that no others have."""
    frame_rate: float = _DEFAULT_RATE
    """Frames a second, the average where it varies; 30 where the source does not say."""
    size: tuple[int, int]
    """Height and width of the original frames."""
    num_frames: int | None
    """Exact for folders. Of a file what its container says, or None: good for progress only."""
    image_scale: tuple[int, int] | None = None
    """Greatest long and short side at network size; None leaves frames at their original size."""
    pictures: Callable[[], Generator[Picture]]
    """Starts decoding at the first frame, one frame at a time."""
    pictures_at: Callable[[Sequence[int]], Generator[Picture]] | None = None
    """Decodes the frames at rising positions, passing over others; None for a live video."""
    count: Callable[[], int] | None = None
    """Counts the frames of a file by decoding them all; None for images and live videos."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height, where the source says that pixels are not square."""
    varying_rate: bool = False
    """True where the first seconds of a file show frames at uneven times."""
    notes: tuple[str, ...] = ()
    """Whatever is odd about the source, a line each."""
    live: bool = False
    """True for a camera or stream: its frames come once, and Ctrl-C is its usual end."""
    public: Callable[[int], Tensor] | None = None
    """A public detector's boxes, float32 ``(n, 4)`` in original pixels, by frame index."""
    ahead: int = 2
    """Frames decoded by a thread, that which the caller is busy with among them."""

    def __iter__(self) -> Iterator[SourceFrame]:
        """Every frame in turn; up to ``ahead`` are decoded at once.

        Raises:
            DataError: at a frame that cannot be decoded or is not of the first one's size.
        """
        return ahead_of(self.prepared(enumerate(self.pictures())), self.ahead)

    def at(self, positions: Collection[int]) -> Iterator[SourceFrame]:
        """The frames at some positions, in order and each once; those beyond the end are missing.

        Images between them are not read, and the frames of a film are decoded and no more.

        Raises:
            DataError: as of all frames.
        """
        assert self.pictures_at is not None, f"{self.name} is live"
        rising = sorted(set(positions))
        pictures = zip(rising, self.pictures_at(rising), strict=False)  # some lie beyond the end
        return ahead_of(self.prepared(pictures), self.ahead)

    def at_test_size(self, image_scale: tuple[int, int], *, batch: int) -> VideoSource:
        """The video for a model that takes ``batch`` frames at once, all decoded ahead.

        Frames are resized to ``image_scale``, the greatest long and short side, unless the video
        was opened with a size of its own.
        """
        scale = self.image_scale or image_scale
        return replace(self, image_scale=scale, ahead=max(self.ahead, batch))

    def prepared(self, pictures: Iterable[tuple[int, Picture]]) -> Generator[SourceFrame]:
        """Pictures at their positions as frames of the video, each at network size too.

        Raises:
            DataError: at a picture that is not of the first one's size.
        """
        import torch  # here: what is wrong with a video is told without it

        from halftrack.data.images import prepare_image

        for index, (image, time) in pictures:
            sample_id = f"{self.name}/{index:06d}"
            if image.shape[1:] != self.size:
                raise DataError(
                    sample_id,
                    f"frame {index} is {_by(tuple(image.shape[1:]))}, the first one is "
                    f"{_by(self.size)}; allowed is one size in a video",
                )
            boxes = None if self.public is None else self.public(index)
            frame = prepare_image(
                image,
                sample_id=sample_id,
                frame_index=index,
                image_scale=self.image_scale,
                boxes_xyxy=boxes,
                labels=None if boxes is None else boxes.new_zeros(len(boxes), dtype=torch.int64),
            )
            if boxes is not None:  # no truth, but moved and clipped as truth is
                frame = replace(
                    frame,
                    public_xyxy=frame.boxes_xyxy,
                    boxes_xyxy=frame.boxes_xyxy[:0],
                    labels=frame.labels[:0],
                )
            yield SourceFrame(image=image, frame=frame, time=time)


def open_video(
    source: str | os.PathLike[str] | Sequence[Path],
    *,
    image_scale: tuple[int, int] | None = None,
) -> VideoSource:
    """A video file, a folder of frames or a MOT sequence folder, ready to be gone through.

    The frames of a folder come in natural order: ``img2.jpg`` before ``img10.jpg``. Files of other
    kinds and hidden ones are passed over, with a note. Frames are turned and mirrored as a viewer
    shows them: a video file by its display matrix, images by their EXIF orientation. The images of
    a MOT sequence are taken as stored, as its ground truth counts them. Decodes the first frame of
    a file, or reads the header of the first image, so that a wrong path shows at once.

    Args:
        source: path of the file or folder. Any file FFmpeg decodes; of its video streams the first.
            Or the images of a video, which is named by the folder of the first.
        image_scale: greatest long and short side at network size, in either order, the ratio being
            kept; None to keep the original size.

    Raises:
        DataError: if there is no such path, or nothing in it that can be decoded as a video.
    """
    if not isinstance(source, str | os.PathLike):
        found = _read_images(list(source))
    elif (path := Path(source)).is_dir():
        found = _read_folder(path)
    elif path.exists():
        found = _read_file(path)
    else:
        raise DataError(str(path), f"no such file or folder; {_ALLOWED}")
    return replace(found, image_scale=image_scale)


def _read_folder(folder: Path) -> VideoSource:
    if (folder / "seqinfo.ini").exists():
        return _read_sequence(folder)
    files, notes = _frame_files(folder)
    return replace(_of_images(files, folder, _folder_name(folder)), notes=notes)


def _read_images(files: list[Path]) -> VideoSource:
    files = sorted(files, key=_natural)
    folder = files[0].parent
    return _of_images(files, folder, _folder_name(folder))


def _of_images(files: list[Path], origin: Path, name: str) -> VideoSource:
    return VideoSource(
        name=name,
        origin=os.path.realpath(origin),
        size=upright_size(files[0]),
        num_frames=len(files),
        pictures=lambda: _load(files),
        pictures_at=lambda wanted: _load([files[each] for each in wanted if each < len(files)]),
    )


def _read_sequence(folder: Path) -> VideoSource:
    """A sequence of MOTChallenge, named by its folder as its results are when they are scored."""
    info = read_seqinfo(folder / "seqinfo.ini")
    images = folder / info.image_folder
    if not images.is_dir():
        raise DataError(str(images), "the folder of images that seqinfo.ini names is missing")
    files, notes = _frame_files(images)
    length = info.num_frames
    if length is not None and length != len(files):
        raise DataError(str(images), f"holds {len(files)} frames, but seqLength is {length}")
    first = header_of(files[0])
    size = first.height, first.width
    require_size(files[0], size, info.size or size, source="seqinfo.ini")
    return VideoSource(
        name=_folder_name(folder),
        origin=os.path.realpath(folder),
        frame_rate=info.frame_rate or _DEFAULT_RATE,
        size=size,
        num_frames=len(files),
        notes=notes,
        pictures=lambda: _load_sequence(files, info, range(len(files))),
        pictures_at=lambda wanted: _load_sequence(files, info, wanted),
    )


def _folder_name(folder: Path) -> str:
    whole = folder.resolve()
    # LaSOT, OTB and MOTChallenge name the sequence one folder above.
    return file_name(whole.parent.name if whole.name in ("img", "img1") else whole.name)


def _frame_files(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The images of a folder in natural order, and a note of what else is there."""
    try:
        present = sorted(folder.iterdir(), key=_natural)
    except OSError as error:
        raise DataError(str(folder), f"folder cannot be read: {error.strerror}") from None
    files: list[Path] = []
    others: list[Path] = []
    for path in present:
        is_frame = path.suffix.lower() in PICTURE_ENDINGS and not is_clutter(path.name)
        (files if is_frame else others).append(path)
    if not files:
        names = ", ".join(path.name for path in present[:5])
        more = f" and {len(present) - 5} more" if len(present) > 5 else ""
        found = f"holds no frames, only {names}{more}" if present else "is an empty folder"
        raise DataError(str(folder), f"{found}; {_ALLOWED}")
    if not others:
        return files, ()
    some = ", ".join(path.name for path in others[:3]) + (", ..." if len(others) > 3 else "")
    return files, (f"{folder}: {len(others)} entries that are no frames passed over: {some}",)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers inside names by value, not digit by digit."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _load(files: list[Path]) -> Generator[Picture]:
    """Upright, as a viewer shows them."""
    from halftrack.data.images import load_image

    for path in files:
        yield Picture(load_image(path, upright=True), None)


def _load_sequence(files: list[Path], info: SeqInfo, wanted: Iterable[int]) -> Generator[Picture]:
    """As stored, since ground truth counts these pixels."""
    from halftrack.data.images import load_image

    for index in wanted:
        if index >= len(files):
            return
        if info.size is None:
            image = load_image(files[index])
        else:
            image = load_annotated_image(files[index], info.size, source="seqinfo.ini")
        yield Picture(image, None if info.frame_rate is None else index / info.frame_rate)


def _read_file(path: Path) -> VideoSource:
    if path.suffix.lower() in PICTURE_ENDINGS:  # FFmpeg takes a picture for a film too
        return _of_images([path], path, file_name(path.stem))
    facts = read_video_facts(path, _ALLOWED)
    return VideoSource(
        name=file_name(path.stem),
        origin=os.path.realpath(path),
        frame_rate=facts.frame_rate or _DEFAULT_RATE,
        size=facts.size,
        num_frames=facts.num_frames,
        pixel_aspect=facts.pixel_aspect,
        varying_rate=facts.varying_rate,
        notes=facts.notes,
        pictures=lambda: decode_video(path, _ALLOWED),
        pictures_at=lambda wanted: decode_video(path, _ALLOWED, wanted),
        count=lambda: count_frames(path, _ALLOWED),
    )


def _by(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]} (height x width)"
