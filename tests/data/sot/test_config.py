"""The published recipe, and settings that are refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from halftrack.data.sot import PairDataConfig
from halftrack.layers import SiameseGeometry


def test_the_defaults_are_the_published_recipe() -> None:
    config = PairDataConfig()
    weights = dict(zip(config.training_sets, config.set_weights, strict=True))
    assert weights == {"vid": 0.25, "det": 0.55, "coco": 0.2}
    assert (config.pairs_per_epoch, config.pairs_per_batch) == (600_000, 28)
    assert (config.frame_range, config.positive_share, config.crop_size) == (100, 0.8, 511)
    assert (config.shift, config.scale) == ((4, 64), (0.05, 0.18))
    assert (config.colour_probability, config.blur_probability) == ((1, 1), (0, 0.2))
    assert (config.grey_probability, config.brightness, config.cache_mb) == (0, (0, 0), 0)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("training_sets", ("got10k",), "training_sets=.*'got10k'.*expected 'vid', 'det', 'coco'"),
        ("training_sets", (), r"training_sets=\(\)"),
        ("lasot_split", "val", "lasot_split='val': expected 'train', 'test', 'all'"),
        ("on_bad_sample", "stop", "on_bad_sample='stop'"),
        ("set_weights", (1.0,), "set_weights=.*one number for each of training_sets"),
        ("set_weights", (0, 0, 0), "not all 0"),
        ("positive_share", 1.5, "positive_share=1.5: expected a number at least 0, at most 1"),
        ("blur_probability", (0, -0.1), "blur_probability="),
        ("scale", (0.1, 1.0), "scale="),
        ("brightness", (0.0, 1.5), "brightness=.*expected 2 numbers at least 0, at most 1"),
        ("shift", (-1, 4), "shift=.*expected 2 numbers at least 0"),
        ("frame_range", 0, "frame_range=0: expected a whole number at least 1"),
        ("pairs_per_epoch", 0, "pairs_per_epoch=0"),
        ("cache_mb", -1, "cache_mb=-1"),
        ("crop_size", 0, "crop_size=0: expected a whole number at least 1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(field: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(PairDataConfig(), **{field: value})


def test_a_search_region_larger_than_its_crop_is_refused() -> None:
    PairDataConfig().check_geometry(SiameseGeometry())
    with pytest.raises(ValueError, match="search_size=255, crop_size=200: a search region is cut"):
        PairDataConfig(crop_size=200).check_geometry(SiameseGeometry())


def test_an_image_smaller_than_half_a_blur_is_refused() -> None:
    small = SiameseGeometry(template_size=15, template_cells=1)
    with pytest.raises(ValueError, match="an image of 15 px is too small for a blur"):
        PairDataConfig(blur_probability=(0.1, 0.0)).check_geometry(small)
