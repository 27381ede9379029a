"""What is done to the images of a pair: drawn in its ranges, and boxes that move with pixels."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from halftrack.data.sot.augment import (
    Blur,
    View,
    blur,
    cut_view,
    draw_view,
    recolour,
    shift_scale,
    view_of_crop,
)
from halftrack.data.sot.config import BLUR_SIZES, PairDataConfig
from halftrack.data.sot.crops import box_in_crop, crop_like_siamfc
from halftrack.layers import SiameseGeometry

RANGES = PairDataConfig(shift=(16, 64), scale=(0.2, 0.5), blur_probability=(0.5, 0.0))


def noise(size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand((3, size, size), generator=torch.Generator().manual_seed(seed)) * 255


def test_views_are_drawn_in_their_ranges() -> None:
    rng = random.Random(0)
    views = [draw_view(RANGES, 0, rng) for _ in range(2000)]
    scales = np.array([view.scale_xy for view in views])
    shifts = np.array([view.shift_xy for view in views])
    assert 0.8 <= scales.min() < 0.81
    assert 1.19 < scales.max() <= 1.2
    assert -16 <= shifts.min() < -15.9
    assert 15.9 < shifts.max() <= 16
    assert np.std([view.colour for view in views]) == pytest.approx(1, abs=0.05)
    blurs = [view.blur for view in views if view.blur is not None]
    assert len(blurs) == pytest.approx(1000, abs=100)
    assert {each.size for each in blurs} == set(BLUR_SIZES)
    assert not any(view.grey for view in views)
    assert {view.brightness for view in views} == {1}
    assert draw_view(RANGES, 0, rng, grey=True).grey


def test_a_probability_of_0_never_and_of_1_always_happens() -> None:
    rng = random.Random(0)
    never = replace(RANGES, colour_probability=(0.0, 1.0), blur_probability=(0.0, 1.0))
    always = replace(RANGES, blur_probability=(1.0, 0.0))
    for _ in range(50):
        assert (draw_view(never, 0, rng).colour, draw_view(never, 0, rng).blur) == (None, None)
        assert draw_view(always, 0, rng).blur is not None


def test_brightness_is_drawn_in_its_range_and_multiplies_before_colours_are_moved() -> None:
    rng = random.Random(0)
    lit = replace(RANGES, brightness=(0.5, 0.0))
    factors = [draw_view(lit, 0, rng).brightness for _ in range(1000)]
    assert 0.5 <= min(factors) < 0.51
    assert 1.49 < max(factors) <= 1.5
    image, moved = noise(31), View(colour=(0.0, 2.0, -1.0))
    offset = recolour(image.clone(), moved) - image
    darker = recolour(image.clone(), replace(moved, brightness=0.5))
    np.testing.assert_allclose(darker, image * 0.5 + offset, rtol=0, atol=1e-4)


def test_the_box_moves_with_the_pixels() -> None:
    crop = torch.zeros(3, 127, 127)
    crop[:, 50:70, 40:80] = 200
    box = np.array([40, 50, 80, 70], dtype=np.float32)
    view = View(scale_xy=(1.25, 0.8), shift_xy=(5.0, -3.0))
    pixels, moved = shift_scale(crop, box, view=view, size=63)
    where = pixels[0] > 100
    columns, rows = where.any(0).nonzero().flatten(), where.any(1).nonzero().flatten()
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    # Half a pixel of the crop either way: pixels are squares to a box, points to bilinear sampling.
    np.testing.assert_allclose(found, moved, atol=1.2)


def test_a_view_stays_on_its_crop() -> None:
    crop, box = noise(127), np.array([50, 50, 70, 70], dtype=np.float32)
    far, _ = shift_scale(crop, box, view=View(shift_xy=(500.0, -500.0)), size=63)
    assert torch.equal(far[:, :, -1], crop[:, :63, 126])
    assert torch.equal(far[:, 0], crop[:, 0, 64:])
    whole, _ = shift_scale(crop, box, view=View(scale_xy=(9.0, 9.0)), size=63)
    torch.testing.assert_close(whole[:, 0, 0], crop[:, 0, 0])


def test_a_held_crop_gives_what_the_image_gives() -> None:
    image = noise(200).to(torch.uint8)
    box = np.array([90, 60, 120, 100], dtype=np.float32)
    crop = {"geometry": SiameseGeometry(template_size=63), "crop_size": 255}
    view = draw_view(replace(RANGES, blur_probability=(1.0, 0.0)), 0, random.Random(1), grey=True)
    pixels, moved = cut_view(image, box, **crop, view=view, size=63)
    held = crop_like_siamfc(image, box, **crop)
    again, moved_again = view_of_crop(held, box_in_crop(box, **crop), view=view, size=63)
    assert torch.equal(pixels, again)
    np.testing.assert_array_equal(moved, moved_again)


@pytest.mark.parametrize("size", [5, 21, 45])
def test_the_blur_is_opencvs(size: int) -> None:
    cv2 = pytest.importorskip("cv2")
    image, share = noise(63), 0.3
    kernel = np.zeros((size, size))
    kernel[:, size // 2] += share / size
    kernel[size // 2] += (1 - share) / size
    theirs = cv2.filter2D(image.permute(1, 2, 0).numpy(), -1, kernel)
    ours = blur(image, Blur(size=size, vertical=share)).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-3)


def test_grey_is_opencvs_and_comes_before_colour() -> None:
    cv2 = pytest.importorskip("cv2")
    image = noise(31)
    grey = recolour(image.clone(), View(grey=True))
    theirs = cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(grey, np.broadcast_to(theirs, grey.shape), rtol=0, atol=1e-3)
    coloured = recolour(image.clone(), View(grey=True, colour=(1.0, 0.0, 0.0)))
    moved = (coloured - grey).mean(dim=(1, 2))
    np.testing.assert_allclose(moved, [0.55919361, -1.72091413, -4.64467907], atol=1e-3)
