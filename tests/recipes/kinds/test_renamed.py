from __future__ import annotations

import pytest

from halftrack.recipes import RECIPES, load_recipe, override
from halftrack.recipes.kinds.renamed import OLD_NAMES, field_paths, new_name, refuse_old_names

PRESENT = {path for name in RECIPES for path in field_paths(load_recipe(name).to_dict())}


@pytest.mark.parametrize("old", OLD_NAMES)
def test_an_old_name_is_no_present_field_and_its_new_one_is(old: str) -> None:
    ends = {path for path in PRESENT if f".{path}".endswith(f".{old}")}
    assert not ends, f"{old} is the present name of {sorted(ends)}"
    new = OLD_NAMES[old]
    assert any(f".{path}".endswith(f".{new}") for path in PRESENT), f"no recipe has {new}"


def test_a_field_that_the_recipe_has_is_not_taken_for_an_old_one() -> None:
    values = {"model": {"channels": 8}}
    with pytest.raises(ValueError, match=r"'model\.channels' is now 'model\.neck_channels'"):
        refuse_old_names(values, "log.jsonl")
    refuse_old_names(values, "log.jsonl", present={"model", "model.channels"})


def test_only_whole_parts_of_a_path_are_an_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OLD_NAMES, "head.tau", "head.temperature")
    assert new_name("model.head.tau") == "model.head.temperature"
    assert new_name("head.tau") == "head.temperature"
    assert new_name("model.overhead.tau") is None
    assert new_name("head.tau.scale") is None


def test_setting_an_old_name_is_an_error_that_gives_the_new_one() -> None:
    with pytest.raises(
        ValueError, match=r"'training.published_clips_per_step' is now called .*batches_per_step'"
    ):
        override(load_recipe("selsa_tiny_sample"), ["training.published_clips_per_step=4"])


@pytest.mark.parametrize(
    ("recipe", "setting", "told"),
    [
        ("selsa_tiny_sample", "model.rpn.train_ranked=9", "'model.rpn.train_pre_nms_topk'"),
        ("selsa_tiny_sample", "model.rpn.matching.samples=9", "'model.rpn.matching.num_samples'"),
        ("selsa_tiny_sample", "model.roi_head.std=1,1,1,1", "'model.roi_head.delta_std'"),
        ("tracktor_tiny_sample", "detector.roi_head.detections=9", "roi_head.max_detections'"),
        ("tracktor_tiny_sample", "tracker.frames_kept=9", "'tracker.num_frames_retain'"),
        (
            "faster-rcnn_tiny_sample",
            "model.rpn.inside=True",
            "'model.rpn.allow_border', of the opposite value",
        ),
    ],
)
def test_the_fields_words_are_given_for_the_home_grown(
    recipe: str, setting: str, told: str
) -> None:
    with pytest.raises(ValueError, match=rf"is now called .*{told}"):
        override(load_recipe(recipe), [setting])


def test_a_file_with_an_old_name_is_an_error_that_gives_the_new_one() -> None:
    values = load_recipe("selsa_tiny_sample").to_dict()
    refuse_old_names(values, "log.jsonl")
    training = values["training"]
    training["published_clips_per_step"] = training.pop("published_batches_per_step")
    with pytest.raises(
        ValueError, match=r"^log.jsonl .*'training.published_clips_per_step' is now .*batches"
    ):
        refuse_old_names(values, "log.jsonl")
