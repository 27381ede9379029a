"""What a recipe may say about MOTChallenge: a value that cannot be is quoted."""

from __future__ import annotations

import pytest

from halftrack.data.mot import MotDetectionConfig, ReIDDataConfig


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("benchmark", "MOT18", "'MOT18': expected one of 'MOT15', 'MOT16', 'MOT17', 'MOT20'"),
        ("detectors", "POI", "'POI': expected one of 'all', 'DPM', 'FRCNN', 'SDP'"),
        ("test_split", "val", "'val': expected one of 'train', 'test', 'half-train', 'half-val'"),
        ("on_bad_sample", "drop", "'drop': expected one of 'error', 'skip'"),
        ("ratio_range", (1.2, 0.8), r"\(1.2, 0.8\): expected low <= high"),
        ("image_scale", (0, 4), r"\(0, 4\): expected 2 whole numbers at least 1"),
        ("images_per_batch", 0, "0: expected a whole number at least 1"),
        ("flip_probability", 1.5, "1.5: expected a number at least 0, at most 1"),
        ("hue", 400.0, "400.0: expected a number at least 0, at most 180"),
    ],
)
def test_a_bad_detection_value_is_quoted(field: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=f"{field}={told}"):
        MotDetectionConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("split", "train", "'train': expected one of 'half-train', 'whole-train'"),
        ("detectors", "all", "'all': expected one of 'DPM', 'FRCNN', 'SDP'"),
        ("max_crops", 7, "7: expected at least min_crops=8"),
        ("min_visibility", -0.1, "-0.1: expected a number at least 0"),
        ("cache_mb", -1, "-1: expected a whole number at least 0"),
    ],
)
def test_a_bad_reid_value_is_quoted(field: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=f"{field}={told}"):
        ReIDDataConfig(**{field: value})


def test_there_is_one_class() -> None:
    assert MotDetectionConfig().class_names == ("pedestrian",)
