"""Planned batches have the sizes that recipes say they train on; data are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from halftrack.data import DataError
from halftrack.frames import Clip, ClipBatch, CropBatch, FrameBatch, PairBatch
from halftrack.recipes import RECIPES, TrainedRecipe, load_recipe, override, spread_boxes
from halftrack.training.files.bundle import flatten, unflatten

SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
DETECTOR = "faster-rcnn_r50_fpn_4e_mot17-half"
REID = "resnet50_b32x8_MOT17"
SIAMESE = "siamese_rpn_r50_20e_lasot"
TINY = ("selsa_tiny_sample", "faster-rcnn_tiny_sample", "reid_tiny_sample")


def recipe_of(name: str) -> TrainedRecipe:
    return load_recipe(name).for_training()


@pytest.mark.parametrize(
    ("name", "size"),
    [(SELSA, (600, 1000)), (DETECTOR, (1088, 1088)), (REID, (256, 128)), (SIAMESE, (255, 255))],
)
def test_the_largest_image_is_the_recipes(name: str, size: tuple[int, int]) -> None:
    assert recipe_of(name).image_size == size


def test_the_largest_image_knows_jitter_and_crop() -> None:
    jittered = override(recipe_of(SELSA), ["data.scale_jitter=(0.5, 1.5)"])
    assert jittered.image_size == (900, 1500)
    wide = override(recipe_of(DETECTOR), ["data.image_scale=(1088, 500)"])
    assert wide.image_size == (600, 1088)


def test_batches_have_the_sizes() -> None:
    clip = recipe_of(SELSA).planned_batch(objects=5)
    assert isinstance(clip, Clip)
    assert [frame.size for frame in (clip.key, *clip.references)] == [(600, 1000)] * 3
    assert clip.key.boxes_xyxy.shape == (5, 4)
    frames = recipe_of(DETECTOR).planned_batch(objects=5)
    assert isinstance(frames, FrameBatch)
    assert [frame.image.dtype for frame in frames.frames] == [torch.float32] * 2
    crops = recipe_of(REID).planned_batch(objects=5)
    assert isinstance(crops, CropBatch)
    assert crops.images.shape == (32, 3, 256, 128)
    assert crops.labels.unique().tolist() == list(range(8))
    pairs = recipe_of(SIAMESE).planned_batch(objects=5)
    assert isinstance(pairs, PairBatch)
    assert pairs.templates.shape == (28, 3, 127, 127)
    assert pairs.searches.shape == (28, 3, 255, 255)


@pytest.mark.parametrize("name", [*TINY, "siamese_rpn_tiny_sample"])
def test_batch_types_are_all_that_a_bundle_needs(name: str) -> None:
    recipe = recipe_of(name)
    tree, tensors = flatten(recipe.planned_batch(objects=2), "batch")
    assert type(unflatten(tree, tensors, recipe.batch_types)) is recipe.batch_types[0]


def test_clips_that_share_a_pass_are_a_batch_of_their_own() -> None:
    fields = ["training.accumulate=4", "training.clips_per_pass=2"]
    recipe = override(recipe_of(SELSA), fields)
    batch = recipe.planned_batch(objects=2)
    assert isinstance(batch, ClipBatch)
    assert len(batch.clips) == 2
    tree, tensors = flatten(batch, "batch")
    assert unflatten(tree, tensors, recipe.batch_types).sample_ids == batch.sample_ids
    with pytest.raises(ValueError, match=r"clips_per_pass=2: Faster R-CNN FPN has no clips"):
        override(recipe_of(DETECTOR), fields)


def test_the_plan_searches_images_only_where_any_size_can_be() -> None:
    sizes = {recipe_of(name).any_image_size for name in RECIPES if name.startswith("siamese")}
    assert sizes == {False}
    assert all(recipe_of(name).any_image_size for name in TINY)


@pytest.mark.parametrize("count", [1, 2, 512])
def test_spread_boxes_lie_inside_and_are_of_all_sizes(count: int) -> None:
    boxes = spread_boxes(count, (600, 1000))
    assert boxes.shape == (count, 4)
    assert bool((boxes[:, 2:] > boxes[:, :2]).all())
    assert bool((boxes >= 0).all())
    assert bool((boxes <= torch.tensor([1000, 600, 1000, 600])).all())
    sides = boxes[:, 2] - boxes[:, 0]
    assert sides.max() == 500
    assert count == 1 or sides.min() < 32


@pytest.mark.parametrize("name", [SELSA, DETECTOR, REID, SIAMESE, "siamese_rpn_tiny_sample"])
def test_data_that_are_not_there_are_told_in_their_readers_words(name: str, tmp_path: Path) -> None:
    recipe, cpu = recipe_of(name), torch.device("cpu")
    for find, read in (
        (recipe.find_training_data, lambda root: recipe.settled(root).training_source(root)),
        (recipe.find_test_data, lambda root: recipe.scorer(root, cpu)),
    ):
        with pytest.raises(DataError, match="here: looked for") as read_error:
            read(tmp_path)
        with pytest.raises(DataError) as found_error:
            find(tmp_path)
        assert str(found_error.value) == str(read_error.value)


def test_a_set_of_json_is_looked_for_without_a_folder_of_xml(tmp_path: Path) -> None:
    files = ["data.training_sets=('vid',)", "data.training_json=('train.json',)"]
    recipe = override(recipe_of(SELSA), files)
    (tmp_path / "ILSVRC/Data").mkdir(parents=True)
    recipe.find_training_data(tmp_path)
    with pytest.raises(DataError, match=r"looked for .*/ILSVRC/\{Data,Annotations\}"):
        recipe.find_test_data(tmp_path)
