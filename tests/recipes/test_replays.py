"""Recipes come back from their plain values, and a replay says whether anything has changed."""

from __future__ import annotations

import json

import pytest

from halftrack.precision import Culprit, Precision
from halftrack.recipes import RECIPES, Replay, TrainedRecipe, load_recipe
from halftrack.recipes.replays import _recipe
from halftrack.training.bundle import ReplayBundle

BUNDLE = ReplayBundle(
    recipe={"name": "tiny"},
    precision=Precision("fp16", 512.0),
    loss_scale=512.0,
    step=12,
    epoch=1,
    batches=(),
    seeds=(),
    weights={},
    device="cpu",
    culprit=None,
    versions={},
)
CULPRIT = Culprit(
    where="head.fc",
    operation="addmm",
    direction="backward",
    kind="overflow",
    loss_term="loss_cls",
    sample_ids=("a",),
    bad_samples=(),
    dtype="float16",
    loss_scale=512.0,
    magnitude=70000.0,
    fits_at=256.0,
)


@pytest.mark.parametrize("name", RECIPES)
def test_every_trained_recipe_comes_back_from_json(name: str) -> None:
    recipe = load_recipe(name)
    if isinstance(recipe, TrainedRecipe):
        assert _recipe(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_recipe_of_another_version_is_an_error() -> None:
    values = load_recipe("selsa_tiny_sample").to_dict() | {"colour": "red"}
    with pytest.raises(ValueError, match="'selsa_tiny_sample' is no recipe of this version"):
        _recipe(values)


def test_a_replay_says_what_it_found_and_what_was_recorded() -> None:
    assert Replay(bundle=BUNDLE, found=None).lines() == [
        "tiny: step 12, epoch 2, fp16 at loss scale 512",
        "found: nothing, its gradients are finite",
        "the same as recorded",
    ]
    other = Replay(bundle=BUNDLE, found=CULPRIT)
    assert not other.same
    assert other.lines()[1:] == [
        "found: backward addmm in head.fc for loss_cls reached 7e+04, float16 ends at 65504; "
        "it fits at loss scale 256 or less (was 512)",
        "recorded: nothing, its gradients were finite",
    ]
