"""Square crops around an object, with context and the image's mean colour where it ends.

SiamFC, https://arxiv.org/abs/1606.09549; must agree with MMTracking 0.14's SeqCropLikeSiamFC, which
samples with OpenCV's warpAffine: bilinear, at multiples of 1/32 px. Enlarging and moving without
turning is separable, so rows and columns are sampled one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from halftrack.data.index import Floats, Integers
from halftrack.layers import SiameseGeometry

__all__ = [
    "Taps",
    "box_in_crop",
    "crop_like_siamfc",
    "crop_region",
    "mean_colour",
    "region_taps",
    "resample",
]

# OpenCV's warpAffine counts positions in 1/1024 px and rounds them to 1/32 px.
_FINE, _STEPS = 1024, 32


@dataclass(frozen=True, eq=False)
class Taps:
    """Places of samples along one axis of an image: between which pixels, and how far along."""

    first: Integers
    """``(n,)`` the pixel before each sample; may be outside the image."""
    share: Floats
    """``(n,)`` weight of the pixel after it, a multiple of 1/32 below 1."""

    def __len__(self) -> int:
        return len(self.first)

    def part(self, samples: range) -> Taps:
        """Some of the samples."""
        here = slice(samples.start, samples.stop)
        return Taps(self.first[here], self.share[here])

    def reach(self, length: int) -> range:
        """The pixels of an axis of ``length`` that the samples read; never none."""
        start = min(max(int(self.first.min()), 0), length - 1)
        return range(start, max(start + 1, min(int(self.first.max()) + 2, length)))

    def within(self, pixels: range) -> Taps:
        """The same samples, counted on an image of which only ``pixels`` are there."""
        return replace(self, first=self.first - pixels.start)

    def weights(self, length: int) -> tuple[Integers, Integers, Floats, Floats]:
        """Both pixels of each sample, kept inside an axis of ``length``, and their weights.

        A pixel outside weighs nothing.
        """
        before, after = self.first, self.first + 1
        last = length - 1
        share_before = np.where((before >= 0) & (before <= last), 1 - self.share, 0)
        share_after = np.where((after >= 0) & (after <= last), self.share, 0)
        return (
            before.clip(0, last),
            after.clip(0, last),
            share_before.astype(np.float32),
            share_after.astype(np.float32),
        )


def region_taps(
    region_xyxy: npt.NDArray[np.floating], size: int, samples: tuple[range, range] | None = None
) -> tuple[Taps, Taps]:
    """Returns the places of the rows and the columns of a resampled region.

    Args:
        region_xyxy: ``(4,)`` what of the image is shown; may leave it. The reference computes in
            the precision that it comes in, then rounds to float32.
        size: rows and columns that it is resampled to.
        samples: the rows and the columns wanted; all if None.

    Returns:
        Taps of the rows, taps of the columns.
    """
    x1, y1, x2, y2 = region_xyxy
    scale_x, scale_y = size / (x2 - x1), size / (y2 - y1)
    rows = _axis_taps(scale_y, -scale_y * y1, size)
    columns = _axis_taps(scale_x, -scale_x * x1, size)
    if samples is None:
        return rows, columns
    return rows.part(samples[0]), columns.part(samples[1])


def resample(image: Tensor, rows: Taps, columns: Taps, fill: Tensor | None = None) -> Tensor:
    """Sample an image bilinearly at the crossings of rows and columns.

    Args:
        image: uint8 or float32 ``(3, height, width)``.
        rows: where the result's rows lie.
        columns: where its columns lie.
        fill: ``(3,)`` value of every pixel outside the image; 0 if None.

    Returns:
        float32 ``(3, len(rows), len(columns))``.
    """
    # Height, width, channel: so decoders leave images in memory, and a row is one piece of it.
    picture = image.permute(1, 2, 0)
    across = columns.reach(picture.shape[1])
    picture = picture[:, across.start : across.stop]
    picture, row_share = _blend(picture, rows, dim=0)
    picture, column_share = _blend(picture, columns.within(across), dim=1)
    if fill is not None:
        # As each pixel outside had this value: what the weights inside lack of 1.
        lacking = 1 - row_share[:, None] * column_share
        picture.addcmul_(lacking[:, :, None], fill)
    return picture.permute(2, 0, 1)


def mean_colour(image: Tensor) -> Tensor:
    """float32 ``(3,)`` mean of each channel of a uint8 ``(3, height, width)`` image."""
    # Integers: exact, and the same on any number of threads. Rows first: numpy is 20 times slower
    # with both axes at once.
    columns = image.numpy().sum(axis=1, dtype=np.uint32)
    total = columns.sum(axis=1, dtype=np.uint64) / (image.shape[1] * image.shape[2])
    return torch.from_numpy(total.astype(np.float32))


def crop_region(box_xyxy: Floats, geometry: SiameseGeometry, crop_size: int) -> Floats:
    """The square of an image that an object's crop shows; it may leave the image.

    Args:
        box_xyxy: float32 ``(4,)`` the object, wider and higher than 0.
        geometry: its template says how much of the image a pixel of the crop shows.
        crop_size: width and height of the crop, in pixels.

    Returns:
        float32 ``(4,)`` x1, y1, x2, y2.
    """
    x1, y1, x2, y2 = box_xyxy
    half = np.float32(0.5)
    centre_x, centre_y = half * (x2 + x1), half * (y2 + y1)
    template = _template_side(box_xyxy, geometry)
    scale = np.float32(geometry.template_size) / template
    margin = np.float32((crop_size - geometry.template_size) / 2) / scale
    reach = half * (template + 2 * margin)
    corners = (centre_x - reach, centre_y - reach, centre_x + reach, centre_y + reach)
    return np.array(corners, dtype=np.float32)


def box_in_crop(box_xyxy: Floats, geometry: SiameseGeometry, crop_size: int) -> Floats:
    """Box of the object in its own crop: float32 ``(4,)``, around the crop's centre."""
    x1, y1, x2, y2 = box_xyxy
    scale = np.float32(geometry.template_size) / _template_side(box_xyxy, geometry)
    half = np.float32(0.5)
    # The reference takes the whole number below the centre.
    centre = np.float32(crop_size // 2)
    width, height = half * ((x2 - x1) * scale), half * ((y2 - y1) * scale)
    corners = (centre - width, centre - height, centre + width, centre + height)
    return np.array(corners, dtype=np.float32)


def crop_like_siamfc(
    image: Tensor,
    box_xyxy: Floats,
    geometry: SiameseGeometry,
    crop_size: int,
    *,
    samples: tuple[range, range] | None = None,
) -> Tensor:
    """Cut the crop of an object, or a part of that crop, from an image.

    Args:
        image: uint8 ``(3, height, width)``.
        box_xyxy: float32 ``(4,)`` the object.
        geometry: its template says how much of the image a pixel of the crop shows.
        crop_size: width and height of the crop, in pixels.
        samples: rows and columns of the crop that are wanted; all of them if None.

    Returns:
        float32 ``(3, rows, columns)``, 0 to 255, filled with the image's mean colour outside of it.
    """
    rows, columns = region_taps(crop_region(box_xyxy, geometry, crop_size), crop_size, samples)
    height, width = image.shape[-2:]
    inside = _inside(rows, height) and _inside(columns, width)
    return resample(image, rows, columns, fill=None if inside else mean_colour(image))


def _template_side(box_xyxy: Floats, geometry: SiameseGeometry) -> np.float32:
    """Side of the square that the object and its margin fill, in pixels of the image."""
    width, height = box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]
    margin = np.float32(geometry.context_amount) * (width + height)
    return np.float32(np.sqrt((width + margin) * (height + margin)))


def _axis_taps(scale: float, offset: float, size: int) -> Taps:
    # To float32 and back through the inverse, with OpenCV's own roundings (half to even).
    step = 1 / float(np.float32(scale))
    start = -step * float(np.float32(offset))
    fine = np.rint(np.arange(size) * (step * _FINE)).astype(np.int64)
    fine += int(np.rint(start * _FINE)) + _FINE // _STEPS // 2
    position = fine // (_FINE // _STEPS)
    share = (position % _STEPS).astype(np.float32) / np.float32(_STEPS)
    return Taps(position // _STEPS, share)


def _blend(picture: Tensor, taps: Taps, *, dim: int) -> tuple[Tensor, Tensor]:
    """Sampled along one axis, and how much of each sample's weight lies inside."""
    before, after, share_before, share_after = taps.weights(picture.shape[dim])
    weight_before, weight_after = torch.from_numpy(share_before), torch.from_numpy(share_after)
    shape = (-1, 1, 1) if dim == 0 else (-1, 1)
    blended = picture.index_select(dim, torch.from_numpy(before)) * weight_before.view(shape)
    following = picture.index_select(dim, torch.from_numpy(after)).to(blended.dtype)
    blended.addcmul_(following, weight_after.view(shape))
    return blended, weight_before + weight_after


def _inside(taps: Taps, length: int) -> bool:
    return bool(taps.first.min() >= 0 and taps.first.max() + 1 < length)
