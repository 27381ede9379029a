"""Reading images and resizing them, as uint8: normalisation and padding wait for the device.

Equal to MMTracking's pipeline (cv2, mmcv's rescale rule) up to one rounding of the resize.
"""

from __future__ import annotations

import logging
import os
from io import BytesIO
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from halftrack.data.image_header import (
    ImageHeader,
    orientation,
    read_bytes,
    read_header,
)
from halftrack.data.problems import DataError
from halftrack.errors import UserError
from halftrack.frames import Frame, resized

__all__ = [
    "GivenImage",
    "decode_image",
    "load_image",
    "network_size",
    "pixels_of",
    "prepare_frame",
    "prepare_image",
]

GivenImage: TypeAlias = "Image.Image | NDArray[np.uint8] | Tensor"
"""A picture of Pillow, a uint8 array ``(height, width, 3)`` or a uint8 tensor ``(3, height,
width)``; RGB, 0 to 255."""

_log = logging.getLogger(__name__)
_told: set[str] = set()


def load_image(
    path: str | os.PathLike[str],
    *,
    upright: bool = False,
) -> Tensor:
    """Decode a JPEG, PNG, WebP or still GIF file to uint8 RGB ``(3, height, width)``, on the CPU.

    Grey, palette, 1-bit and CMYK files are converted, transparency is dropped, and of 16 bits a
    channel the upper 8 are taken, as OpenCV takes them.

    Args:
        path: the file, whatever its name ends in.
        upright: turn and mirror the image as its EXIF orientation says and viewers do. Annotated
            images are left as stored: boxes belong to those pixels.

    Raises:
        DataError: if the file is missing, empty, truncated, no such image, an animation, or above
            ``MAX_PIXELS``.
    """
    name = os.fspath(path)
    content = read_bytes(name)
    header = read_header(content, name)
    image = decode_image(content, header, name)
    return _upright(image, orientation(content)) if upright else image


def decode_image(content: bytearray, header: ImageHeader, name: str) -> Tensor:
    """Decode the content of an image file: uint8 RGB ``(3, height, width)``, on the CPU.

    Args:
        content: the whole file.
        header: the file's own, see ``read_header``.
        name: the file, for errors.

    Raises:
        DataError: if it is damaged so that a decoder notices. Damage within a JPEG file mostly
            gives wrong pixels instead: ``data.check.damage`` finds it, at nearly twice the time.
    """
    return (
        _decode_jpeg(content, name)
        if header.kind == "JPEG"
        else _decode_other(content, header, name)
    )


def _decode_jpeg(content: bytearray, name: str) -> Tensor:
    import torchvision  # here, for it takes as long as torch: annotations are read without it

    try:
        encoded = torch.frombuffer(content, dtype=torch.uint8)
        # torchvision 0.29 warns in the Python wrapper that its decoders will move; this is the
        # kernel below it, the fastest that needs no further dependency.
        rgb = torchvision.io.ImageReadMode.RGB.value
        image: Tensor = torch.ops.image.decode_jpeg(encoded, rgb, False)
    except RuntimeError as error:
        # torchvision's message starts with its own source file; the reason is the last part.
        reason = str(error).splitlines()[0].rsplit(".cpp:", 1)[-1].partition(", ")[2] or str(error)
        raise DataError(name, f"image cannot be decoded: {reason}") from None
    return image


def _decode_other(content: bytearray, header: ImageHeader, name: str) -> Tensor:
    """PNG, WebP and GIF, by Pillow: a damaged PNG file kills the process in torchvision 0.29."""
    try:
        with Image.open(BytesIO(content), formats=("PNG", "WEBP", "GIF")) as image:
            if header.bits == 16:
                _tell_of_16_bits(name)
            if image.mode.startswith("I;16"):
                pixels = (np.array(image) >> 8).astype(np.uint8)[..., None].repeat(3, axis=2)
            else:
                pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except UnidentifiedImageError:
        raise DataError(name, "image cannot be decoded: its header is damaged") from None
    except Exception as error:  # Pillow raises errors of many kinds at damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(name, f"image cannot be decoded: {reason}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _tell_of_16_bits(name: str) -> None:
    """Once a process: training, too, should not be silent about it."""
    if not _told:
        _told.add(name)
        _log.warning("%s has 16 bits a channel: of such images the upper 8 bits are used", name)


def _upright(image: Tensor, turned: int) -> Tensor:
    """The image as a viewer shows it, by its EXIF orientation."""
    if turned in (2, 3, 7, 8):
        image = image.flip(-1)
    if turned in (3, 4, 6, 7):
        image = image.flip(-2)
    if turned >= 5:
        image = image.transpose(-1, -2)
    return image.contiguous() if turned > 1 else image


def pixels_of(image: GivenImage) -> NDArray[np.uint8]:
    """An image that a caller holds as RGB ``(height, width, 3)``; arrays are not copied.

    Raises:
        ValueError: for another type, dtype or shape; names it and says what is allowed.
    """
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    shape, dtype = tuple(getattr(image, "shape", ())), getattr(image, "dtype", None)
    if isinstance(image, Tensor) and dtype == torch.uint8 and len(shape) == 3 and shape[0] == 3:
        shared: NDArray[np.uint8] = image.detach().cpu().permute(1, 2, 0).numpy()
        return shared
    if isinstance(image, np.ndarray) and dtype == np.uint8 and len(shape) == 3 and shape[2] == 3:
        return image
    told = f"a {type(image).__name__}"
    if dtype is not None:
        told += f" of {str(dtype).removeprefix('torch.')} {shape}"
    raise UserError(
        f"an image is {told}; expected a picture of Pillow, a uint8 array (height, width, 3) or a "
        "uint8 tensor (3, height, width), RGB, 0 to 255 (a single image goes into a list)"
    )


def network_size(height: int, width: int, image_scale: tuple[int, int]) -> tuple[int, int]:
    """The size, keeping the ratio, at which neither side exceeds ``image_scale`` (mmcv's rule).

    Args:
        height: original height.
        width: original width.
        image_scale: greatest long and short side, in either order.
    """
    long_side, short_side = max(image_scale), min(image_scale)
    scale = min(long_side / max(height, width), short_side / min(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def prepare_frame(
    path: str,
    *,
    sample_id: str,
    frame_index: int,
    image_scale: tuple[int, int],
    flipped: bool = False,
    boxes_xyxy: Tensor | None = None,
    labels: Tensor | None = None,
) -> Frame:
    """Read, resize and perhaps mirror one image, and its boxes with it.

    Args:
        path: the image file.
        sample_id: the frame's name.
        frame_index: position in the video.
        image_scale: greatest long and short side at network size.
        flipped: mirror left to right.
        boxes_xyxy: float32 ``(n, 4)`` in original pixels; clipped to the image here.
        labels: int64 ``(n,)``.

    Raises:
        DataError: if the image cannot be read.
    """
    return prepare_image(
        load_image(path),
        sample_id=sample_id,
        frame_index=frame_index,
        image_scale=image_scale,
        flipped=flipped,
        boxes_xyxy=boxes_xyxy,
        labels=labels,
    )


def prepare_image(
    image: Tensor,
    *,
    sample_id: str,
    frame_index: int,
    image_scale: tuple[int, int] | None,
    flipped: bool = False,
    boxes_xyxy: Tensor | None = None,
    labels: Tensor | None = None,
    on_device: bool = False,
) -> Frame:
    """Resize and perhaps mirror one decoded image, and its boxes with it.

    Args:
        image: uint8 ``(3, height, width)`` RGB at original size.
        sample_id: the frame's name.
        frame_index: position in the video.
        image_scale: greatest long and short side at network size; None keeps the original size.
        flipped: mirror left to right.
        boxes_xyxy: float32 ``(n, 4)`` in original pixels; clipped to the image here.
        labels: int64 ``(n,)``.
        on_device: leave the image as it is until the frame is moved to its device.
    """
    old_height, old_width = image.shape[-2:]
    height, width = old_height, old_width
    if image_scale is not None:
        height, width = network_size(old_height, old_width, image_scale)
    scale_xy = (width / old_width, height / old_height)
    if boxes_xyxy is None or labels is None:
        boxes_xyxy = torch.zeros((0, 4), dtype=torch.float32, device="cpu")
        labels = torch.zeros((0,), dtype=torch.int64, device="cpu")
    limit = torch.tensor([width, height, width, height], dtype=torch.float32, device="cpu")
    boxes_xyxy = boxes_xyxy * torch.tensor(scale_xy * 2, dtype=torch.float32, device="cpu")
    boxes_xyxy = boxes_xyxy.clamp(min=0).minimum(limit)
    if flipped:
        x1, y1, x2, y2 = boxes_xyxy.unbind(-1)
        boxes_xyxy = torch.stack([width - x2, y1, width - x1, y2], dim=-1)
    return Frame(
        image=image if on_device else resized(image, (height, width), flipped=flipped),
        resize_to=(height, width) if on_device else None,
        sample_id=sample_id,
        frame_index=frame_index,
        scale_xy=scale_xy,
        flipped=flipped,
        boxes_xyxy=boxes_xyxy,
        labels=labels,
    )
