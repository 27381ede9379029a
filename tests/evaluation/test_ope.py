from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from halftrack.evaluation import TargetTruth, score_ope

GOLDEN = Path(__file__).parent.parent / "golden" / "evaluation"
EXPECTED = json.loads((GOLDEN / "ope.json").read_text())
BOX = [100.0, 100.0, 140.0, 120.0]
NAN = [float("nan")] * 4


def truth(*boxes, name="S", absent=(), attributes=()) -> TargetTruth:
    """One frame a box; the positions of those that are absent."""
    return TargetTruth(
        name=name,
        boxes_xyxy=np.asarray(boxes, np.float64).reshape(-1, 4),
        absent=np.isin(np.arange(len(boxes)), absent),
        attributes=frozenset(attributes),
    )


def moved(x: float, y: float = 0.0) -> list[float]:
    return [BOX[0] + x, BOX[1] + y, BOX[2] + x, BOX[3] + y]


def scored(scene: TargetTruth, *boxes, rule="mmtracking"):
    return score_ope([scene], {"S": np.asarray(boxes, np.float64)}, rule=rule).flat()


@pytest.mark.parametrize("case", [name for name in EXPECTED if name.startswith("ope_")])
def test_mmtrackings_rule_gives_its_very_numbers(case):
    arrays = dict(np.load(GOLDEN / "ope.npz"))
    key = case.removeprefix("ope_")
    videos = [name.rsplit("_", 1)[1] for name in arrays if name.startswith(f"{key}_pred_")]
    truths = []
    for video in videos:
        boxes = arrays[f"{key}_gt_{video}"]
        visible = arrays.get(f"{key}_visible_{video}", np.ones(len(boxes), np.bool_))
        truths.append(TargetTruth(name=video, boxes_xyxy=boxes, absent=~visible))
    results = {video: arrays[f"{key}_pred_{video}"] for video in videos}
    metrics = score_ope(truths, results)
    assert len(videos) == 3
    assert metrics.flat() == pytest.approx(EXPECTED[case], rel=1e-12)


@pytest.mark.parametrize(("counted", "key"), [("visible", "visible_only"), ("all", "all")])
def test_mmtrackings_lasot_evaluation(counted, key):
    truths, results, start = [], {}, 0
    tracks = np.asarray(EXPECTED["lasot_track_bboxes"], np.float32)
    for name in ("lasot_video0", "lasot_video1"):
        recorded = EXPECTED[name]
        boxes, visible = np.asarray(recorded["bboxes"]), np.asarray(recorded["visible"])
        absent = ~visible if counted == "visible" else np.zeros(len(boxes), np.bool_)
        truths.append(TargetTruth(name=name, boxes_xyxy=boxes, absent=absent))
        results[name] = tracks[start : start + len(boxes), :4]
        start += len(boxes)
    assert start == len(tracks) == EXPECTED["lasot_len"]
    expected = EXPECTED[f"lasot_eval_{key}"]
    assert score_ope(truths, results).flat() == pytest.approx(expected, abs=5e-4)


STORIES = {
    "followed throughout, yet no IoU is above 1": (
        truth(BOX, BOX),
        [BOX, BOX],
        {"success": 100 * 20 / 21, "precision": 100, "norm_precision": 100},
    ),
    "lost from the second of four frames on": (
        truth(BOX, BOX, BOX, BOX),
        [BOX, moved(300), moved(300), moved(300)],
        {"success": 25 * 20 / 21, "precision": 25, "norm_precision": 25},
    ),
    "20 px off to the side: IoU a third, half a width": (
        truth(BOX),
        [moved(20)],
        {"success": 100 * 7 / 21, "precision": 100, "norm_precision": 0},
    ),
    "half a pixel too far": (
        truth(BOX),
        [moved(20.5)],
        {"precision": 0, "norm_precision": 0},
    ),
    "a fifth of each side is a fifth times the square root of two": (
        truth(BOX),
        [moved(0.14 * 40, 0.14 * 20)],
        {"norm_precision": 100},
    ),
    "an absent frame is no hit and still divides": (
        truth(BOX, BOX, absent=[1]),
        [BOX, BOX],
        {"success": 50 * 20 / 21, "precision": 50, "norm_precision": 50},
    ),
    "absent throughout": (
        truth(BOX, BOX, absent=[0, 1]),
        [BOX, BOX],
        {"success": 0, "precision": 0, "norm_precision": 0},
    ),
    "a box without area, as some trackers say that they are lost": (
        truth(BOX, BOX),
        [BOX, [0, 0, 0, 0]],
        {"success": 50 * 20 / 21, "precision": 50, "norm_precision": 50},
    ),
    "a box turned inside out": (
        truth(BOX),
        [[140, 120, 100, 100]],
        {"success": 0, "precision": 100, "norm_precision": 100},
    ),
}


@pytest.mark.parametrize("rule", ["mmtracking", "official"])
@pytest.mark.parametrize(("scene", "found", "expected"), STORIES.values(), ids=STORIES.keys())
def test_stories_that_both_rules_tell_alike(scene, found, expected, rule):
    flat = scored(scene, *found, rule=rule)
    assert {name: flat[name] for name in expected} == pytest.approx(expected)


DIFFERENCES = {
    "a true centre left of the image is a hit wherever the track is": (
        truth([-30, 50, 10, 70]),
        moved(500),
        {"success": (0, 0), "precision": (100, 0), "norm_precision": (100, 0)},
    ),
    "a truth without area is a hit where it says so": (
        truth([200, 200, 200, 220]),
        moved(0),
        {"success": (0, 0), "precision": (0, 100), "norm_precision": (0, 100)},
    ),
    "a truth of zeros is a hit in both": (
        truth([0, 0, 0, 0]),
        moved(0),
        {"success": (0, 0), "precision": (100, 100), "norm_precision": (100, 100)},
    ),
    "a truth that is NaN, as in UAV123, is one too": (
        truth(NAN),
        moved(0),
        {"success": (0, 0), "precision": (100, 100), "norm_precision": (100, 100)},
    ),
    "an IoU of 0.15 is rounded above the threshold in float32 only": (
        truth([0, 0, 20, 1]),
        [0, 0, 3, 1],
        {"success": (100 * 4 / 21, 100 * 3 / 21)},
    ),
}


@pytest.mark.parametrize(
    ("scene", "found", "expected"), DIFFERENCES.values(), ids=DIFFERENCES.keys()
)
def test_where_the_rules_differ(scene, found, expected):
    both = [scored(scene, found, rule=rule) for rule in ("mmtracking", "official")]
    for name, values in expected.items():
        assert [flat[name] for flat in both] == pytest.approx(list(values)), name


def test_nan_in_a_result_is_a_miss_or_an_error():
    scene = truth(BOX, BOX)
    assert scored(scene, BOX, NAN)["precision"] == 50
    with pytest.raises(ValueError, match=r"'S' frame 1 has the box \[nan, .*official.*finite"):
        scored(scene, BOX, NAN, rule="official")


def test_curves_say_at_which_threshold_what_is_right():
    metrics = score_ope([truth(BOX)], {"S": np.asarray([moved(7.9)])})
    mean = metrics.mean
    assert [len(mean.success_curve), len(mean.precision_curve)] == [21, 51]
    assert mean.norm_precision_curve.shape == (51,)
    # IoU 32.1 / 47.9, almost 8 px and almost a fifth of the width.
    assert np.flatnonzero(mean.success_curve == 0)[0] == 14
    assert np.flatnonzero(mean.precision_curve)[0] == 8
    assert np.flatnonzero(mean.norm_precision_curve)[0] == 20
    assert (np.diff(mean.success_curve) <= 0).all()
    assert mean.success == pytest.approx(mean.success_curve.mean())


def test_curves_come_with_their_thresholds_to_be_redrawn():
    mean = score_ope([truth(BOX, BOX)], {"S": np.asarray([BOX, moved(20)])}).mean
    curves = json.loads(json.dumps(mean.curves()))
    assert curves["success_curve"]["thresholds"] == [round(0.05 * n, 2) for n in range(21)]
    assert curves["success_curve"]["percent"] == [100.0] * 7 + [50.0] * 13 + [0.0]
    assert curves["precision_curve"]["thresholds"] == list(range(51))
    assert curves["precision_curve"]["percent"] == [50.0] * 20 + [100.0] * 31
    assert curves["norm_precision_curve"]["thresholds"] == [n / 100 for n in range(51)]
    assert curves["norm_precision_curve"]["percent"] == [50.0] * 50 + [100.0]


def test_sequences_weigh_the_same_whatever_their_length():
    truths = [truth(*[BOX] * 9, name="long"), truth(BOX, name="short")]
    results = {"long": np.asarray([BOX] * 9), "short": np.asarray([moved(500)])}
    metrics = score_ope(truths, results)
    assert metrics.flat()["precision"] == 50
    assert list(metrics.by_sequence) == ["long", "short"]
    assert metrics.rows() == [
        {"Sequence": "long", "Success": 95.2, "Precision": 100.0, "Norm. precision": 100.0},
        {"Sequence": "short", "Success": 0.0, "Precision": 0.0, "Norm. precision": 0.0},
        {"Sequence": "MEAN", "Success": 47.6, "Precision": 50.0, "Norm. precision": 50.0},
    ]
    assert (metrics.by_attribute, metrics.attribute_rows()) == ({}, [])


def test_attributes_are_means_over_the_sequences_that_have_them():
    truths = [
        truth(BOX, name="A", attributes=["SV", "OV"]),
        truth(BOX, name="B", attributes=["SV"]),
        truth(BOX, name="C"),
    ]
    results = {"A": np.asarray([BOX]), "B": np.asarray([moved(500)]), "C": np.asarray([BOX])}
    metrics = score_ope(truths, results)
    table = [(row["Attribute"], row["Sequences"]) for row in metrics.attribute_rows()]
    assert table == [("OV", 1), ("SV", 2)]
    assert metrics.by_attribute["SV"].precision == 50
    assert metrics.by_attribute["OV"].precision == 100


ONE = truth(BOX, BOX)
GOOD = {"S": np.asarray([BOX, BOX])}
REFUSED = {
    "no truth": ([], {}, "no ground truth, expected that of at least one"),
    "no result": ([ONE], {}, "no result of S; there are results of no sequence"),
    "a result too many": ([ONE], {**GOOD, "T": GOOD["S"]}, "result of T without.*allowed are S"),
    "a truth twice": ([ONE, ONE], GOOD, "ground truth of S given more than once"),
    "a result without the first frame": (
        [ONE],
        {"S": GOOD["S"][1:]},
        "result of 'S' has 1 boxes, its ground truth has 2; expected one a frame, the first",
    ),
    "only the first box is public": (
        [truth(BOX)],
        GOOD,
        "its ground truth has 1;.*only the first is published, and a server scores",
    ),
    "boxes with scores": ([ONE], {"S": np.ones((2, 5))}, r"'S': boxes_xyxy has shape \(2, 5\)"),
    "no frames": ([truth()], {"S": np.ones((0, 4))}, "'S' has no frame"),
    "absent as numbers": (
        [replace(ONE, absent=np.zeros(2))],
        GOOD,
        r"'S': absent is float64 \(2,\), expected bool \(2,\)",
    ),
    "absent of another length": (
        [replace(ONE, absent=np.zeros(3, np.bool_))],
        GOOD,
        r"absent is bool \(3,\), expected bool \(2,\)",
    ),
}


@pytest.mark.parametrize(("truths", "results", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_scored_is_named(truths, results, reason):
    with pytest.raises(ValueError, match=reason):
        score_ope(truths, results)


def test_an_unknown_rule_is_quoted():
    with pytest.raises(ValueError, match="rule 'lasot', allowed are mmtracking, official"):
        score_ope([ONE], GOOD, rule="lasot")
