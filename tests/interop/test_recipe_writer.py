"""Recipes written as Python and read again are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from halftrack.interop import nearest_listed, open_recipe_file, recipe_text
from halftrack.recipes import RECIPES, TrackingRecipe, load_recipe

BASES = {
    "selsa": "selsa_tiny_sample",
    "faster_rcnn": "faster-rcnn_tiny_sample",
    "reid": "reid_tiny_sample",
    "tracktor": "tracktor_tiny_sample",
    "siamrpn": "siamese_rpn_tiny_sample",
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_file(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    kind = RECIPES[name].function.partition(":")[0]
    for base in (recipe, load_recipe(BASES[kind])):
        text = recipe_text(recipe, base, origin="Mine.")
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        assert open_recipe_file(tmp_path / "mine.py").load() == recipe


def test_fields_that_no_published_recipe_sets_survive_too(tmp_path: Path) -> None:
    tracker = load_recipe("tracktor_tiny_sample")
    data = replace(
        tracker.data, public=True, public_file="it's.pkl", test_json="annotations/a.json"
    )
    selsa = load_recipe("selsa_tiny_sample").for_training()
    compiled = replace(selsa, training=replace(selsa.training, compile="reduce-overhead"))
    for recipe, base in ((replace(tracker, data=data), tracker), (compiled, selsa)):
        text = recipe_text(recipe, base, origin="Mine.")
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        assert open_recipe_file(tmp_path / "mine.py").load() == recipe


def test_only_what_differs_is_written() -> None:
    base = load_recipe("selsa_tiny_sample").for_training()
    training = replace(base.training, lr=0.02)
    changed = replace(base, name="mine", training=training)
    text = recipe_text(changed, base, origin="Mine.", notes=("Mind this.",), init='a "b".pth')
    assert text == (
        '"""Mine."""\n\n'
        "from dataclasses import replace\n\n"
        "from halftrack.recipes import load_recipe\n\n"
        "# Mind this.\n"
        'base = load_recipe("selsa_tiny_sample")\n'
        'recipe = replace(base, name="mine", training=replace(base.training, lr=0.02))\n'
        "init = 'a \"b\".pth'\n"
    )


def test_a_listed_recipe_is_its_name() -> None:
    base = load_recipe("selsa_tiny_sample")
    assert recipe_text(base, base, origin="Mine.") == (
        '"""Mine."""\n\nfrom halftrack.recipes import load_recipe\n\n'
        'recipe = load_recipe("selsa_tiny_sample")\n'
    )


@pytest.mark.parametrize("name", ["tracktor_tiny_sample", "siamese_rpn_r50_20e_lasot"])
def test_the_nearest_listed_recipe_is_the_one_that_was_changed(name: str) -> None:
    base = load_recipe(name)
    assert nearest_listed(base) == base
    assert nearest_listed(replace(base, name="mine", summary="Mine.")) == base


def test_a_kind_of_ones_own_has_no_listed_recipe() -> None:
    class MyRecipe(TrackingRecipe):
        pass

    base = load_recipe("tracktor_tiny_sample")
    assert nearest_listed(MyRecipe(**vars(base))) is None


def test_long_values_are_broken_as_ruff_breaks_them() -> None:
    base, other = (load_recipe(f"siamese_rpn_{name}") for name in ("tiny_sample", "r50_20e_lasot"))
    lines = recipe_text(other, base, origin="Mine.").splitlines()
    assert max(len(line) for line in lines if "summary=" not in line) <= 100
    assert "from halftrack.training import Phase" in lines
    assert "            Ramp(epochs=5, start=0.2, end=1.0, arrives=False)," in lines
