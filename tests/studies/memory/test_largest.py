"""The largest size that fits is found exactly, and few predictions are asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.studies.memory.largest import largest_image, largest_that_fits, most_samples


def counted(peak: Callable[[int], int]) -> tuple[Callable[[int], int], list[int]]:
    asked: list[int] = []

    def count(size: int) -> int:
        asked.append(size)
        return peak(size)

    return count, asked


@given(
    steps=st.lists(st.integers(0, 50), min_size=1, max_size=60),
    budget=st.integers(-5, 1500),
    power=st.sampled_from([1, 2]),
    data=st.data(),
)
def test_it_is_what_trying_all_sizes_finds(
    steps: list[int], budget: int, power: int, data: st.DataObject
) -> None:
    peaks = [sum(steps[: size + 1]) for size in range(len(steps))]
    start = data.draw(st.integers(1, len(steps)))
    peak, asked = counted(lambda size: peaks[size - 1])
    found = largest_that_fits(peak, budget, start=start, most=len(steps), power=power)
    assert found == sum(each <= budget for each in peaks)
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("budget", [10**4, 10**5, 10**6])
def test_a_curve_of_the_power_takes_few_predictions(power: int, budget: int) -> None:
    peak, asked = counted(lambda size: 5000 + 700 * size**power)
    found = largest_that_fits(peak, budget, start=20, most=10**4, power=power)
    assert found == int(((budget - 5000) / 700) ** (1 / power))
    assert len(asked) <= 5


def recipe_of(name: str) -> TrainedRecipe:
    recipe = load_recipe(name)
    assert isinstance(recipe, TrainedRecipe)
    return recipe


def test_references_come_in_pairs() -> None:
    recipe = recipe_of("selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid")
    found = most_samples(recipe, recipe.sharing()[0], lambda sized: sized.data.num_references, 13)
    assert found.settings == ("data.num_references=12",)
    assert (found.precision, found.peak, found.bounded) == ("fp16", 12, False)


@pytest.mark.parametrize(
    ("accumulate", "budget", "settings"),
    [
        (1, 5, ("training.clips_per_pass=5", "training.accumulate=5")),
        (8, 5, ("training.clips_per_pass=5", "training.accumulate=10")),
        (8, 8, ("training.clips_per_pass=8",)),
    ],
)
def test_clips_share_a_pass_and_fill_the_step(
    accumulate: int, budget: int, settings: tuple[str, ...]
) -> None:
    name = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
    recipe = override(recipe_of(name), [f"training.accumulate={accumulate}"])
    shared = recipe.sharing()[1]
    found = most_samples(recipe, shared, lambda sized: sized.training.clips_per_pass, budget)
    assert found.settings == settings


def test_nothing_fits_and_more_was_not_looked_for_are_said() -> None:
    recipe = recipe_of("siamese_rpn_r50_20e_lasot")
    nothing = most_samples(recipe, recipe.sharing()[0], lambda sized: 10, 9)
    assert (nothing.settings, nothing.peak, nothing.bounded) == ((), 0, False)
    anything = most_samples(recipe, recipe.sharing()[0], lambda sized: 10, 11)
    assert anything.settings == (f"data.pairs_per_batch={28 * 16}",)
    assert anything.bounded


def test_references_stay_within_the_recipes_frames() -> None:
    recipe = recipe_of("selsa_faster_rcnn_r50_dc5_1x_imagenetvid")
    found = most_samples(recipe, recipe.sharing()[0], lambda sized: sized.data.num_references, 1000)
    assert found.settings == ("data.num_references=18",)
    assert found.bounded


def test_images_keep_their_proportion_and_fill_whole_cells() -> None:
    recipe = recipe_of("selsa_faster_rcnn_r50_dc5_1x_imagenetvid")
    areas = []

    def area(sized: TrainedRecipe) -> int:
        long, short = sized.data.image_scale
        areas.append((long, short))
        return long * short

    found = largest_image(recipe, area, 2 * 600 * 1000)
    assert found.settings == ("data.image_scale=(1408, 848)",)
    assert all(side % 16 == 0 for scale in areas for side in scale)
