"""Recipes carry published names and settings; every field can be set, mistakes are named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from halftrack.recipes import RECIPES, Recipe, evaluate, load_recipe, override, prepare_model

GOLDEN = Path(__file__).parents[2] / "golden"
R50 = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
R50_FP16 = "selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid"


@pytest.mark.parametrize("name", RECIPES)
def test_each_name_gives_a_recipe_of_that_name(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "PoseRecipe"}, "of kind 'PoseRecipe', which is not loaded: .* there are .*ReIDR"),
        ({"kind": None}, "of kind None, which is not loaded"),
        ({"colour": None}, "no VideoDetectionRecipe of this version: there is no colour now"),
        ({"split": "test"}, "no VideoDetectionRecipe of this version: there is no split now"),
        ({"data": {}}, "no VideoDetectionRecipe of this version: it had no data.classes"),
        (
            {"training": 3},
            "of this version: training=3: expected a group of fields: epochs, ",
        ),
        ({"summary": 3}, "no VideoDetectionRecipe of this version: summary=3: expected text"),
    ],
)
def test_values_of_another_kind_or_version_are_an_error(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=f"'selsa_tiny_sample' is .*{message}"):
        Recipe.from_dict(load_recipe("selsa_tiny_sample").to_dict() | change)


def test_a_recipe_that_does_not_track_says_which_do() -> None:
    with pytest.raises(ValueError, match=r"does not track: .*; take a tracktor_ recipe"):
        load_recipe("reid_tiny_sample").video_tracker(None)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda recipe: recipe.score_results("x", data_root="x"), "result files are of a tracker"),
        (lambda recipe: recipe.with_parts(detector="x", reid=None), "name its weights with --che"),
    ],
)
def test_a_recipe_says_what_it_has_no_answer_to(
    ask: Callable[[Recipe], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as told:
        ask(load_recipe("selsa_tiny_sample"))
    assert "selsa_tiny_sample" in str(told.value)


def test_the_published_settings_are_the_configs() -> None:
    entry = json.loads((GOLDEN / "schedules.json").read_text())["vid"]
    training = load_recipe(R50_FP16).training
    assert training.lr == entry["lr"]
    assert training.warmup_steps == entry["lr_config"]["warmup_iters"]
    assert training.warmup_ratio == pytest.approx(entry["lr_config"]["warmup_ratio"])
    assert list(training.milestones) == entry["lr_config"]["step"]
    assert training.max_grad_norm == 35.0
    assert load_recipe(R50_FP16).precision.loss_scale == 512.0
    assert load_recipe(R50).precision.name == "fp32"


def test_a_precision_by_name_keeps_the_recipes_own_scale_and_islands() -> None:
    published = load_recipe(R50_FP16)
    assert published.with_precision("fp16") is published
    recipe = override(load_recipe(R50), ["precision.keep_fp32=('detector.neck',)"])
    half = recipe.with_precision("fp16").precision
    assert half.loss_scale == "dynamic"
    assert half.keep_fp32 == ("detector.neck",)
    with pytest.raises(ValueError, match="'fp8' is not one of fp32, tf32, bf16, fp16"):
        recipe.with_precision("fp8")


def test_every_field_can_be_set_to_what_it_is() -> None:
    def leaves(value: object, path: str = "") -> list[tuple[str, object]]:
        if not dataclasses.is_dataclass(value):
            return [(path, value)]
        return [
            leaf
            for field in dataclasses.fields(value)
            for leaf in leaves(getattr(value, field.name), f"{path}.{field.name}".lstrip("."))
        ]

    recipe = load_recipe("selsa_tiny_sample")
    for path, value in leaves(recipe):
        assert override(recipe, [f"{path}={value}"]) == recipe, path


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "training.epoch=3",
            r"no recipe field 'training.epoch'; the nearest are training.epochs, ",
        ),
        ("training.epochs=many", r"recipe field training.epochs='many': expected a whole number"),
        ("training.epochs=0", r"training.epochs=0: expected a whole number at least 1"),
        ("model.backbone.depth=34", r"model.backbone.depth=34: expected one of 18, 50, 101"),
        ("data.scale_jitter=(2, 1)", r"expected low <= high"),
        ("training.lr", r"--set 'training.lr': expected FIELD=VALUE"),
        ("data.scale_jitter=2,1", r"recipe field data: scale_jitter=[^{]*$"),
    ],
)
def test_a_wrong_setting_is_named(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(load_recipe(R50), [assignment])


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("neck", ("neck",)),
        ("neck,roi_head.bbox_head", ("neck", "roi_head.bbox_head")),
        ("'neck'", ("neck",)),
        ("('neck',)", ("neck",)),
        ("['neck', 'rpn']", ("neck", "rpn")),
        ("()", ()),
    ],
)
def test_a_tuple_is_set_without_brackets(text: str, items: tuple[str, ...]) -> None:
    recipe = override(load_recipe(R50), [f"precision.keep_fp32={text}"])
    assert recipe.precision.keep_fp32 == items


def test_a_number_alone_is_a_tuple_of_one() -> None:
    settings = ["data.training_sets=lasot", "data.set_weights=1"]
    data = override(load_recipe("siamese_rpn_r50_20e_lasot"), settings).to_dict()["data"]
    assert (data["training_sets"], data["set_weights"]) == (["lasot"], [1.0])


def test_random_weights_are_a_function_of_the_seed_alone() -> None:
    def weights(recipe: Recipe, seed: int) -> torch.Tensor:
        return recipe.build_model(seed=seed).detector.backbone.conv1.weight

    recipe = load_recipe("selsa_tiny_sample")
    first = weights(recipe, 1)
    torch.rand(3)
    assert torch.equal(first, weights(recipe, 1))
    assert not torch.equal(first, weights(recipe, 2))


def test_the_file_of_a_larger_model_is_no_file_of_a_smaller_one(tmp_path: Path) -> None:
    tiny = load_recipe("selsa_tiny_sample")
    weights = tiny.build_model().state_dict()
    weights["detector.backbone.layer3.2.conv1.weight"] = torch.zeros(64, 64, 3, 3)
    torch.save(weights, tmp_path / "larger.pth")
    with pytest.raises(ValueError, match="1 unexpected"):
        evaluate(tiny, data_root=tmp_path, checkpoint=tmp_path / "larger.pth")


def test_backbones_without_published_weights_ask_for_a_file() -> None:
    recipe = override(load_recipe(R50), ["model.backbone.groups=32"])
    with pytest.raises(ValueError, match="give a file with --init"):
        prepare_model(recipe)
