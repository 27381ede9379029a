"""Sizes are set by recipe fields, and a batch has them."""

from __future__ import annotations

import pytest
import torch

from halftrack.frames import Clip, CropBatch, FrameBatch, PairBatch
from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.studies.memory.step_sizes import (
    image_size,
    parse_image,
    resized,
    sharing,
    spread_boxes,
    training_batch,
    with_identities,
)

SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
DETECTOR = "faster-rcnn_r50_fpn_4e_mot17-half"
REID = "resnet50_b32x8_MOT17"
SIAMESE = "siamese_rpn_r50_20e_lasot"


def recipe_of(name: str) -> TrainedRecipe:
    recipe = load_recipe(name)
    assert isinstance(recipe, TrainedRecipe)
    return recipe


@pytest.mark.parametrize("text", ["608", "608x", "0x10", "608*1008", "608x1008x3", "6.5x4"])
def test_another_image_is_quoted_with_what_is_allowed(text: str) -> None:
    assert parse_image("608x1008") == (608, 1008)
    with pytest.raises(ValueError, match=r"image '.*': expected height x width .* 608x1008"):
        parse_image(text)


@pytest.mark.parametrize(
    ("name", "size"),
    [(SELSA, (600, 1000)), (DETECTOR, (1088, 1088)), (REID, (256, 128)), (SIAMESE, (255, 255))],
)
def test_the_largest_image_is_the_recipes(name: str, size: tuple[int, int]) -> None:
    assert image_size(recipe_of(name)) == size


def test_the_largest_image_knows_jitter_and_crop() -> None:
    jittered = override(recipe_of(SELSA), ["data.scale_jitter=(0.5, 1.5)"])
    assert image_size(jittered) == (900, 1500)
    wide = override(recipe_of(DETECTOR), ["data.image_scale=(1088, 500)"])
    assert image_size(wide) == (600, 1088)


@pytest.mark.parametrize(
    ("name", "image"),
    [(SELSA, "304x512"), (DETECTOR, "320x512"), (REID, "64x32"), (SIAMESE, "287x287")],
)
def test_an_image_that_was_set_is_the_largest(name: str, image: str) -> None:
    assert image_size(resized(recipe_of(name), image=image)) == parse_image(image)


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
    recipe = resized(recipe_of(name), clips=3)
    assert str(sharing(recipe)) == field
    assert recipe.training.accumulate == (3 if name == SELSA else 1)


def test_batches_have_the_sizes() -> None:
    clip = training_batch(recipe_of(SELSA), objects=5)
    assert isinstance(clip, Clip)
    assert [frame.size for frame in (clip.key, *clip.references)] == [(600, 1000)] * 3
    assert clip.key.boxes_xyxy.shape == (5, 4)
    frames = training_batch(recipe_of(DETECTOR), objects=5)
    assert isinstance(frames, FrameBatch)
    assert [frame.image.dtype for frame in frames.frames] == [torch.float32] * 2
    crops = training_batch(with_identities(recipe_of(REID)), objects=5)
    assert isinstance(crops, CropBatch)
    assert crops.images.shape == (32, 3, 256, 128)
    assert crops.labels.unique().tolist() == list(range(8))
    pairs = training_batch(recipe_of(SIAMESE), objects=5)
    assert isinstance(pairs, PairBatch)
    assert pairs.templates.shape == (28, 3, 127, 127)
    assert pairs.searches.shape == (28, 3, 255, 255)


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
