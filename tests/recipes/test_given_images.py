"""Images that a caller holds become a video, whatever type they are of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from halftrack.recipes.given_images import given_images, image_tensor

PIXELS = np.random.default_rng(0).integers(256, size=(6, 8, 3), dtype=np.uint8)


def test_pictures_arrays_and_tensors_are_the_same_image() -> None:
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for given in (PIXELS, Image.fromarray(PIXELS), tensor):
        assert torch.equal(image_tensor(given), tensor)
    turned = image_tensor(PIXELS[..., ::-1])  # as OpenCV's BGR is turned
    assert torch.equal(turned, tensor.flip(0))


def test_a_grey_picture_has_three_channels() -> None:
    assert image_tensor(Image.new("L", (8, 6), 7)).shape == (3, 6, 8)


def test_a_buffer_that_is_filled_again_changes_no_image() -> None:
    buffer = PIXELS.copy()
    taken = image_tensor(buffer)
    buffer[:] = 0
    assert torch.equal(taken, image_tensor(PIXELS))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (PIXELS.astype(np.float32), r"a ndarray of float32 \(6, 8, 3\); expected .* uint8"),
        (PIXELS[..., 0], r"a ndarray of uint8 \(6, 8\)"),
        (torch.zeros(6, 8, 3, dtype=torch.uint8), r"a Tensor of uint8 \(6, 8, 3\)"),
        ("a.jpg", "a str; expected"),
    ],
)
def test_what_is_no_image_is_named(given: object, told: str) -> None:
    with pytest.raises(ValueError, match=f"an image is {told}"):
        image_tensor(given)  # type: ignore[arg-type]


def test_a_list_is_gone_through_again_and_a_generator_once() -> None:
    source = given_images([PIXELS, PIXELS])
    assert (source.size, source.num_frames, source.live) == ((6, 8), 2, False)
    assert [len(list(source)) for _ in range(2)] == [2, 2]
    once = given_images(PIXELS for _ in range(3))
    assert (once.size, once.num_frames, once.live) == ((6, 8), None, True)
    assert [each.frame.sample_id for each in once] == [f"images/{i:06d}" for i in range(3)]


def test_a_single_image_and_none_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="a single image goes into a list"):
        given_images(PIXELS)
    with pytest.raises(ValueError, match="a Image is no list of images: put a single one into"):
        given_images(Image.fromarray(PIXELS))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no image to look at"):
        given_images([])
