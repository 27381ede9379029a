"""Sizes are set by recipe fields."""

from __future__ import annotations

import pytest

from halftrack.recipes import TrainedRecipe, load_recipe
from halftrack.studies.memory.step_sizes import parse_image, resized

SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
DETECTOR = "faster-rcnn_r50_fpn_4e_mot17-half"
REID = "resnet50_b32x8_MOT17"
SIAMESE = "siamese_rpn_r50_20e_lasot"


def recipe_of(name: str) -> TrainedRecipe:
    return load_recipe(name).for_training()


@pytest.mark.parametrize(
    "text", ["608", "608x", "0x10", "608*1008", "608x1008x3", "6.5x4", "9" * 60 + "x1"]
)
def test_another_image_is_quoted_with_what_is_allowed(text: str) -> None:
    assert parse_image("608x1008") == (608, 1008)
    with pytest.raises(
        ValueError, match=r"image '.*' \(--image\): expected height x width .* 608x1008"
    ):
        parse_image(text)


@pytest.mark.parametrize(
    ("name", "image"),
    [(SELSA, "304x512"), (DETECTOR, "320x512"), (REID, "64x32"), (SIAMESE, "287x287")],
)
def test_an_image_that_was_set_is_the_largest(name: str, image: str) -> None:
    assert resized(recipe_of(name), image=image).image_size == parse_image(image)


@pytest.mark.parametrize("image", ["255x287", "111x111", "600x600"])
def test_a_search_region_that_cannot_be_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match=rf"image {image}: .* square, 127 to 511 pixels"):
        resized(recipe_of(SIAMESE), image=image)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        (SELSA, "data.num_references=2"),
        (DETECTOR, "data.images_per_batch=3"),
        (REID, "data.identities_per_batch=3"),
        (SIAMESE, "data.pairs_per_batch=3"),
    ],
)
def test_clips_share_a_pass_but_selsas(name: str, field: str) -> None:
    recipe = resized(recipe_of(name), samples=3)
    assert str(recipe.sharing()[0]) == field
    assert recipe.training.accumulate == (3 if name == SELSA else 1)
