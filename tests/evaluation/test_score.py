from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import found, random_scene, truth

from halftrack.evaluation import score_detections

BOX = [10, 10, 30, 30]


def perfect(frames: int = 21):
    truths = [truth([BOX], [1], video="v") for _ in range(frames)]
    return truths, [found([BOX], [0.9], [1]) for _ in range(frames)]


def test_a_perfect_detector_scores_1_where_there_is_truth():
    metrics = score_detections(*perfect(), class_names=("cat", "dog"))
    assert metrics.flat() == pytest.approx(
        {
            "coco_ap50": 1.0,
            "voc_ap50": 1.0,
            "voc_ap50_slow": 1.0,
            "voc_ap50_medium": float("nan"),
            "voc_ap50_fast": float("nan"),
        },
        nan_ok=True,
    )
    assert metrics.coco_ap50_per_class == pytest.approx(
        {"cat": float("nan"), "dog": 1}, nan_ok=True
    )


def test_metrics_are_json_with_none_for_not_a_number():
    metrics = score_detections(*perfect(), class_names=("cat", "dog")).metrics()
    assert json.loads(json.dumps(metrics, allow_nan=False)) == {
        "coco_ap50": 1.0,
        "bbox_mAP_50": 1.0,
        "coco_ap50_per_class": {"cat": None, "dog": 1.0},
        "voc_ap50": 1.0,
        "voc_ap50_per_class": {"cat": None, "dog": 1.0},
        "voc_ap50_slow": 1.0,
        "voc_ap50_medium": None,
        "voc_ap50_fast": None,
    }


def test_a_blind_detector_scores_0():
    truths, _ = perfect()
    metrics = score_detections(truths, [found([], [])] * len(truths), class_names=("cat", "dog"))
    assert (metrics.coco_ap50, metrics.voc_ap50, metrics.voc_ap50_slow) == (0.0, 0.0, 0.0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_keep_their_bounds_and_do_not_depend_on_the_size_of_scores(seed):
    truths, detections = random_scene(seed)
    classes = ("a", "b", "c")
    scored = score_detections(truths, detections, class_names=classes)
    for value in scored.flat().values():
        assert np.isnan(value) or 0.0 <= value <= 1.0
    squeezed = [dataclasses.replace(each, scores=each.scores**3 - 5) for each in detections]
    assert score_detections(truths, squeezed, class_names=classes).flat() == pytest.approx(
        scored.flat(), nan_ok=True
    )


ERRORS = {
    "a frame without detections": (lambda t, d: (t, d[:-1]), "21 frames of ground truth but 20"),
    "a NaN box": (
        lambda t, d: (t, [found([[1, 2, np.nan, 4]], [0.5], [1]), *d[1:]]),
        r"frame 0 \(video 'v'\): detection 0 has the box \[1.0, 2.0, nan, 4.0\], allowed",
    ),
    "a NaN score": (
        lambda t, d: (t, [d[0], found([BOX, BOX], [0.5, np.nan], [1, 1]), *d[2:]]),
        r"frame 1 \(video 'v'\): detection 1 has score nan",
    ),
    "an unknown label found": (
        lambda t, d: (t, [found([BOX], [0.5], [2]), *d[1:]]),
        "frame 0 .*detection 0 has label 2, allowed are 0 to 1",
    ),
    "an unknown label annotated": (
        lambda t, d: ([truth([BOX], [-1]), *t[1:]], d),
        "frame 0 .*ground truth 0 has label -1, allowed are 0 to 1",
    ),
    "labels that are not integers": (
        lambda t, d: (t, [dataclasses.replace(d[0], labels=np.ones(1)), *d[1:]]),
        "labels are float64, expected integers",
    ),
    "scores of another length": (
        lambda t, d: (t, [dataclasses.replace(d[0], scores=np.ones(3)), *d[1:]]),
        r"frame 0 .*scores has shape \(3,\), expected \(1,\)",
    ),
    "boxes of another shape": (
        lambda t, d: (t, [dataclasses.replace(d[0], boxes_xyxy=np.ones((1, 5))), *d[1:]]),
        r"frame 0 .*boxes_xyxy has shape \(1, 5\), expected \(n, 4\)",
    ),
    "an ignore mask of another length": (
        lambda t, d: ([truth([BOX], [1], ignored=[True, False]), *t[1:]], d),
        r"frame 0 .*ignored has shape \(2,\), expected \(1,\)",
    ),
    "a video in two pieces": (
        lambda t, d: ([*t[:5], truth([BOX], [1], video="w"), *t[6:]], d),
        "frame 6 .*frames of 'w' lie between those of this video",
    ),
}


@pytest.mark.parametrize(("spoil", "told"), ERRORS.values(), ids=ERRORS.keys())
def test_what_cannot_be_scored_is_told(spoil, told):
    with pytest.raises(ValueError, match=told):
        score_detections(*spoil(*perfect()), class_names=("cat", "dog"))
