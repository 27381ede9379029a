"""Films: frames as H.264 in an mp4 file that browsers play."""

from __future__ import annotations

import math
import os
from fractions import Fraction
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
import torch
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from halftrack.errors import UserError, naming_file
from halftrack.report.track_files import PartialFile

__all__ = ["VideoWriter"]

_CODEC: Final = "libx264"
# Visually lossless to most eyes; two to three times the speed of x264's default preset.
_TICKS: Final = 10_000  # a second, at least
_HIGHEST_RATE: Final = 1000.0
_OPTIONS = {"crf": "20", "preset": "veryfast"}


class VideoWriter:
    """Writer of an mp4 file, frame by frame, inside a ``with`` block.

    The format, 4:2:0, has even sizes only: if a side is odd, its last row or column is repeated, so
    that the film is a pixel larger. Colours are BT.709 and marked so. The index comes first
    (faststart), so that browsers start before they have the whole file. After an error or Ctrl-C
    the frames written so far are a film that plays, called ``<name>.partial``.

    Args:
        path: the file, which is replaced if it exists; its folder must exist.
        size: height and width of every frame.
        frame_rate: frames a second.
        pixel_aspect: width of a pixel over its height, for players.

    Raises:
        ValueError: if the folder does not exist, a side is below 1 pixel or the rate not above 0.
        UserError: if this PyAV has no libx264; lists the encoders it has.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: tuple[int, int],
        frame_rate: float,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        if min(size) < 1:
            raise ValueError(f"size {size} is not allowed: height and width must be at least 1")
        if not 0 < frame_rate < math.inf:
            raise ValueError(f"frame_rate {frame_rate!r} is not allowed: it must be above 0")
        _check_codec()
        self._target = PartialFile(path)
        self._size = size
        # 1001 keeps NTSC's 30000/1001 and 24000/1001 exact; x264 takes no rate far beyond 1000.
        rate = Fraction(min(frame_rate, _HIGHEST_RATE)).limit_denominator(1001)
        self._rate = max(rate, Fraction(1, 1001))
        self._ticks = self._rate.numerator * math.ceil(_TICKS / self._rate.numerator)
        self._pixel_aspect = pixel_aspect
        self._last_tick = -1
        self._container: av.container.OutputContainer | None = None
        self._frames = 0

    def __enter__(self) -> Self:
        self._container = av.open(
            os.fspath(self._target.partial), "w", format="mp4", options={"movflags": "faststart"}
        )
        self._stream = self._container.add_stream(_CODEC, rate=self._rate, options=_OPTIONS)
        height, width = self._size
        self._stream.height, self._stream.width = height + height % 2, width + width % 2
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        # A tick is a whole part of a frame's time, and short enough for frames at any time.
        context.time_base = Fraction(1, self._ticks)
        if self._pixel_aspect != 1:
            context.sample_aspect_ratio = self._pixel_aspect
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.color_range = ColorRange.MPEG
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._container is None:
            return
        container, self._container = self._container, None
        if self._frames == 0:
            container.close()
            self._target.partial.unlink(missing_ok=True)
            if error is None:
                raise UserError(f"{self._target.path}: no frame was written, a film needs one")
            return
        with naming_file(self._target.partial):
            container.mux(self._stream.encode(None))
            container.close()
        self._target.finish(error, self._frames)

    def write(self, image: Image.Image | Tensor, time: float | None = None) -> None:
        """Add one frame.

        Args:
            image: a picture, or uint8 ``(3, height, width)`` RGB.
            time: seconds after the first frame; None for the place that the frame rate gives it.

        Raises:
            ValueError: if it has another size or type than the frames of the film.
        """
        if self._container is None:
            raise ValueError(f"{self._target.path} is not open: write inside a with block")
        pixels = _pixels(image)
        if pixels.shape[:2] != self._size:
            raise UserError(
                f"{self._target.path}: frame {self._frames} is {pixels.shape[0]}x{pixels.shape[1]} "
                f"(height x width), allowed is {self._size[0]}x{self._size[1]}"
            )
        height, width = self._size
        if height % 2 or width % 2:
            pixels = np.pad(pixels, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        seconds = self._frames / self._rate if time is None else time
        self._last_tick = max(round(seconds * self._ticks), self._last_tick + 1)
        frame.pts, frame.time_base = self._last_tick, Fraction(1, self._ticks)
        with naming_file(self._target.partial):
            self._container.mux(self._stream.encode(frame))
        self._frames += 1


def _pixels(image: Image.Image | Tensor) -> NDArray[np.uint8]:
    """RGB ``(height, width, 3)``."""
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[0] != 3:
        raise ValueError(
            f"expected a picture or a uint8 (3, height, width) image, got {image.dtype} "
            f"{tuple(image.shape)}"
        )
    pixels: NDArray[np.uint8] = image.permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels


def _check_codec() -> None:
    present = av.codec.codecs_available
    if _CODEC not in present:
        others = sorted(name for name in present if "264" in name and name != "h264")
        raise UserError(
            f"this PyAV {av.__version__} has no {_CODEC}, which writes the film; it has "
            f"{', '.join(others) or 'no encoder'}. The wheels on PyPI have it: pip install av"
        )
