"""Islands cost what a step with them is predicted to hold more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from halftrack.precision import Precision
from halftrack.recipes import ReIDRecipe, load_recipe
from halftrack.studies.memory.step import predicted_step
from halftrack.studies.rehearsal.island_cost import island_cost


@pytest.fixture
def recipe() -> ReIDRecipe:
    recipe = load_recipe("reid_tiny_sample")
    assert isinstance(recipe, ReIDRecipe)
    return replace(recipe, model=replace(recipe.model, num_identities=30))


def test_a_convolution_in_fp32_costs_its_halves_again(recipe: ReIDRecipe) -> None:
    channels, crops = recipe.model.backbone.base_channels, 8
    height, width = (side // 4 for side in recipe.model.crop_size)
    result = channels * crops * height * width
    assert island_cost(recipe, ("backbone.layer1.0.conv1",)) >= 2 * result


def test_the_whole_model_in_fp32_costs_what_fp32_does(recipe: ReIDRecipe) -> None:
    fp32, fp16 = (
        predicted_step(replace(recipe, precision=precision)).peak
        for precision in (Precision(), Precision("fp16", 1.0))
    )
    assert island_cost(recipe, ("backbone", "head")) == fp32 - fp16


def test_the_islands_that_the_recipe_has_already_are_not_counted(recipe: ReIDRecipe) -> None:
    keeps = replace(recipe, precision=Precision("bf16", None, ("backbone",)))
    islands = ("backbone.layer1.0.conv1",)
    assert island_cost(keeps, islands) == island_cost(recipe, islands)


def test_an_island_that_is_no_module_is_refused(recipe: ReIDRecipe) -> None:
    with pytest.raises(ValueError, match=r"'backbone\.layer9' matches no module"):
        island_cost(recipe, ("backbone.layer9",))
