"""Distortions equal OpenCV's float HSV, and are drawn from the given source of chance alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from halftrack.data.mot import MotDetectionConfig
from halftrack.data.mot.photometric import Distortion, distort, draw_distortion


def odd_image() -> Tensor:
    """Values below 0 and above 255, grey pixels, ties between channels, black."""
    rng = np.random.default_rng(0)
    image = (rng.random((3, 60, 700)) * 330 - 50).astype(np.float32)
    image[:, :8] = np.floor(image[:, :8] / 40)
    image[1:, 8:12] = image[:1, 8:12]
    image[1, 12:16] = image[0, 12:16]
    image[:, 16:20] = 0
    return torch.from_numpy(image)


def opencv(image: Tensor, saturation: float | None, hue: float | None) -> np.ndarray:
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    hsv = cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV)
    hsv[..., 1] *= 1 if saturation is None else saturation
    hsv[..., 0] += 0 if hue is None else hue
    hsv[..., 0][hsv[..., 0] > 360] -= 360
    hsv[..., 0][hsv[..., 0] < 0] += 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).transpose(2, 0, 1)


@pytest.mark.parametrize("saturation", [None, 0.5, 1.5])
@pytest.mark.parametrize("hue", [None, -18.0, 18.0])
def test_hsv_equals_opencv_on_any_floats(saturation: float | None, hue: float | None) -> None:
    image = odd_image()
    expected = opencv(image, saturation, hue)
    ours = distort(image, Distortion(saturation=saturation, hue=hue))
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_a_pixel_without_a_positive_value_is_mirrored_even_if_nothing_is_distorted() -> None:
    pixel = torch.tensor([-1.0, -5.0, -3.0], device="cpu").view(3, 1, 1)
    assert distort(pixel, Distortion()).flatten().tolist() == pytest.approx([-1, 3, 1])
    other = torch.tensor([1.0, -5.0, -3.0], device="cpu").view(3, 1, 1)
    assert distort(other, Distortion()).flatten().tolist() == [1, -5, -3]


def test_brightness_contrast_and_channels_act_in_either_order_of_contrast() -> None:
    image = torch.rand((3, 4, 5), device="cpu") * 255
    steps = {"brightness": 10.0, "contrast": 0.5, "channels": (2, 0, 1)}
    expected = ((image + 10) * 0.5)[[2, 0, 1]]
    for first in (True, False):
        ours = distort(image.clone(), Distortion(contrast_first=first, **steps))
        torch.testing.assert_close(ours, expected)


def test_each_property_is_distorted_half_of_the_time_within_its_range() -> None:
    rng, config = random.Random(0), MotDetectionConfig(brightness=3, contrast=(0.9, 1.2), hue=2)
    drawn = [draw_distortion(config, rng) for _ in range(2000)]
    for name, low, high in [
        ("brightness", -3, 3),
        ("contrast", 0.9, 1.2),
        ("saturation", 0.5, 1.5),
        ("hue", -2, 2),
    ]:
        values = [getattr(each, name) for each in drawn if getattr(each, name) is not None]
        assert 900 < len(values) < 1100
        assert low <= min(values) < max(values) <= high
    assert len({each.channels for each in drawn}) == 7
    assert 900 < sum(each.contrast_first for each in drawn) < 1100


def test_other_images_are_named() -> None:
    with pytest.raises(ValueError, match=r"image of torch.uint8 \(3, 2, 2\): expected float32"):
        distort(torch.zeros((3, 2, 2), dtype=torch.uint8, device="cpu"), Distortion())
