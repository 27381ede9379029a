"""The list of recipes says of each what the recipe itself is."""

from __future__ import annotations

import pytest

from halftrack.recipes import RECIPES, load_recipe, override
from halftrack.recipes.names import find_entry


@pytest.mark.parametrize("name", RECIPES)
def test_an_entry_is_imported_as_the_recipe_that_it_lists(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.precision.name == RECIPES[name].precision
    assert recipe.summary == RECIPES[name].summary != ""


def test_a_former_name_is_found() -> None:
    former = find_entry("siamese_rpn_r50_fp16_1x_lasot")
    assert former is RECIPES["siamese_rpn_r50_fp16_20e_lasot"]


def test_a_recipe_is_taken_as_it_is() -> None:
    changed = override(load_recipe("reid_tiny_sample"), {"training.lr": 0.5})
    assert load_recipe(changed) is changed


def test_an_unknown_name_is_an_error_with_the_three_nearest() -> None:
    with pytest.raises(ValueError, match="no recipe 'selsa'") as caught:
        load_recipe("selsa")
    assert "selsa_tiny_sample" in str(caught.value)
    assert "see `halftrack recipes`" in str(caught.value)
    assert sum(name in str(caught.value) for name in RECIPES) == 3


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("selsa_r50", "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"),
        ("selsa_tiny", "selsa_tiny_sample"),
        ("siamese_rpn_r50_20e_lasto", "siamese_rpn_r50_20e_lasot"),
        ("resnet50_b32x8_mot17", "resnet50_b32x8_MOT17"),
    ],
)
def test_the_nearest_name_shares_words_with_the_one_asked_for(asked: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"the nearest are {nearest}"):
        find_entry(asked)
