"""Sampling a region of an image: what OpenCV's warpAffine gives, inside and outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from halftrack.data.sot.crops import (
    box_in_crop,
    crop_like_siamfc,
    crop_region,
    mean_colour,
    region_taps,
    resample,
)
from halftrack.layers import SiameseGeometry

CROP = SiameseGeometry(template_size=31, template_cells=3), 95


def picture(height: int = 60, width: int = 90, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


@settings(deadline=None, max_examples=60)
@given(
    x=st.floats(-60, 80),
    y=st.floats(-60, 80),
    width=st.floats(4, 200),
    height=st.floats(4, 200),
    size=st.integers(1, 70),
)
def test_a_region_is_sampled_as_opencv_does(
    x: float, y: float, width: float, height: float, size: int
) -> None:
    cv2 = pytest.importorskip("cv2")
    image = picture()
    region = np.array([x, y, x + width, y + height])
    fill = (10.0, 20.0, 200.0)
    scale_x, scale_y = size / (region[2] - region[0]), size / (region[3] - region[1])
    mapping = np.array([[scale_x, 0, -scale_x * region[0]], [0, scale_y, -scale_y * region[1]]])
    theirs = cv2.warpAffine(
        image.permute(1, 2, 0).numpy().astype(np.float32),
        mapping.astype(np.float32),
        (size, size),
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=fill,
    )
    ours = resample(image, *region_taps(region, size), torch.tensor(fill))
    difference = np.abs(ours.permute(1, 2, 0).numpy() - theirs)
    # From version 5 on positions are not rounded to 1/32 px: up to 1/64 px off on either axis, and
    # neighbours differ by 255 at most. Version 4 is met to the last digits, see test_golden.py.
    assert difference.max() <= (1e-3 if cv2.__version__ < "5" else 255 / 30)


def test_samples_between_pixels_are_weighted_and_outside_is_filled() -> None:
    image = torch.tensor([[[0, 100]]] * 3, dtype=torch.uint8)
    rows, columns = region_taps(np.array([-1.0, 0.0, 3.0, 1.0]), 8)
    sampled = resample(image, rows.part(range(1)), columns, torch.tensor([8.0, 8.0, 16.0]))
    assert sampled[0, 0].tolist() == [8, 4, 0, 50, 100, 54, 8, 8]
    assert sampled[2, 0].tolist() == [16, 8, 0, 50, 100, 58, 16, 16]


def test_a_crop_has_the_object_in_its_middle_and_the_mean_where_the_image_ends() -> None:
    image = picture()
    box = np.array([0, 0, 12, 20], dtype=np.float32)
    crop = crop_like_siamfc(image, box, *CROP)
    assert crop.shape == (3, 95, 95)
    mean = image.double().mean(dim=(1, 2)).float()
    assert torch.equal(mean_colour(image), mean)
    assert torch.equal(crop[:, 0, 0], mean)
    x1, y1, x2, y2 = box_in_crop(box, *CROP)
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == (47, 47)
    left, top, right, bottom = crop_region(box, *CROP)
    assert right - left == pytest.approx(bottom - top)
    # Object and crop keep their ratio.
    assert (x2 - x1) / 95 == pytest.approx(12 / (right - left), rel=1e-5)
    # Context: the object and a quarter of its half perimeter on each side fill the template.
    assert 31 / 95 * (right - left) == pytest.approx(np.sqrt((12 + 16) * (20 + 16)), rel=1e-5)


def test_a_part_of_a_crop_is_that_part() -> None:
    image, box = picture(), np.array([30, 20, 52, 40], dtype=np.float32)
    whole = crop_like_siamfc(image, box, *CROP)
    part = crop_like_siamfc(image, box, *CROP, samples=(range(3, 40), range(60, 95)))
    assert torch.equal(part, whole[:, 3:40, 60:95])


def test_memory_order_does_not_matter() -> None:
    image, box = picture(), np.array([30, 20, 52, 40], dtype=np.float32)
    as_decoded = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(
        crop_like_siamfc(as_decoded, box, *CROP), crop_like_siamfc(image, box, *CROP)
    )


def test_a_crop_far_outside_is_the_mean_alone() -> None:
    image, box = picture(), np.array([900, 900, 920, 920], dtype=np.float32)
    crop = crop_like_siamfc(image, box, *CROP)
    assert torch.equal(crop, mean_colour(image)[:, None, None].expand_as(crop))
