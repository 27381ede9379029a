"""Reading images and resizing them, as uint8: normalisation and padding wait for the device.

Equal to MMTracking's pipeline (cv2, mmcv's rescale rule) up to one rounding of the resize.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor
from torchvision.io import ImageReadMode
from torchvision.transforms.v2 import functional as transforms

from halftrack.data.problems import DataError
from halftrack.frames import Frame

__all__ = ["load_image", "network_size", "prepare_frame", "prepare_image"]


def load_image(path: str | os.PathLike[str]) -> Tensor:
    """Decode a JPEG or PNG file to uint8 RGB ``(3, height, width)``, on the CPU.

    Grey-scale and CMYK files are converted. An EXIF orientation is not applied: boxes are annotated
    on the pixels as stored.

    Raises:
        DataError: if the file is missing, empty, truncated or no image.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as stream:
            content = bytearray(stream.read())
    except FileNotFoundError:
        raise DataError(name, "image is missing") from None
    except OSError as error:
        raise DataError(name, f"image cannot be read: {error.strerror}") from None
    if not content:
        raise DataError(name, "image is an empty file")
    try:
        encoded = torch.frombuffer(content, dtype=torch.uint8)
        # torchvision 0.29 warns in the Python wrapper that its decoders will move; this is the
        # kernel below it, the fastest that needs no further dependency.
        image: Tensor = torch.ops.image.decode_image(encoded, ImageReadMode.RGB.value, False)
    except RuntimeError as error:
        # torchvision's message starts with its own source file; the reason is the last part.
        reason = str(error).splitlines()[0].rsplit(".cpp:", 1)[-1].partition(", ")[2] or str(error)
        raise DataError(name, f"image cannot be decoded: {reason}") from None
    return image


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
    """
    old_height, old_width = image.shape[-2:]
    height, width = old_height, old_width
    if image_scale is not None:
        height, width = network_size(old_height, old_width, image_scale)
    if (height, width) != (old_height, old_width):
        # antialias off is OpenCV's INTER_LINEAR; the uint8 kernel rounds once.
        image = transforms.resize_image(image, [height, width], antialias=False)
    scale_xy = (width / old_width, height / old_height)
    if boxes_xyxy is None or labels is None:
        boxes_xyxy = torch.zeros((0, 4), dtype=torch.float32, device="cpu")
        labels = torch.zeros((0,), dtype=torch.int64, device="cpu")
    limit = torch.tensor([width, height, width, height], dtype=torch.float32, device="cpu")
    boxes_xyxy = boxes_xyxy * torch.tensor(scale_xy * 2, dtype=torch.float32, device="cpu")
    boxes_xyxy = boxes_xyxy.clamp(min=0).minimum(limit)
    if flipped:
        image = image.flip(-1)
        x1, y1, x2, y2 = boxes_xyxy.unbind(-1)
        boxes_xyxy = torch.stack([width - x2, y1, width - x1, y2], dim=-1)
    return Frame(
        image=image,
        sample_id=sample_id,
        frame_index=frame_index,
        scale_xy=scale_xy,
        flipped=flipped,
        boxes_xyxy=boxes_xyxy,
        labels=labels,
    )
