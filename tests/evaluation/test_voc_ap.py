from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scenes import found, plain_voc_ap, random_scene, truth

from halftrack.evaluation import voc_ap50

GOLDEN = Path(__file__).parent.parent / "golden" / "evaluation"
BOX = [10, 10, 29, 29]
FAR = [60, 60, 79, 79]


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_equals_mmdets_eval_map(threshold):
    data = np.load(GOLDEN / "eval_map.npz")
    expected = json.loads((GOLDEN / "expected.json").read_text())[f"eval_map_{threshold}"]
    truths, detections = [], []
    for frame in range(20):
        part = f"v0_f{frame}_"
        kept, left_out = data[part + "gt_bboxes"], data[part + "gt_bboxes_ignore"]
        labels = np.concatenate([data[part + "gt_labels"], data[part + "gt_labels_ignore"]])
        rows = []
        for label in range(2):
            of_class = data[f"{part}res_class{label}"][:, 1:]
            rows.append(np.concatenate([of_class, of_class[:1] + 3]))
        stacked = np.concatenate(rows)
        truths.append(
            truth(
                np.concatenate([kept, left_out]),
                labels,
                ignored=np.arange(len(labels)) >= len(kept),
            )
        )
        detections.append(
            found(stacked[:, :4], stacked[:, 4], np.repeat([0, 1], [len(row) for row in rows]))
        )
    got = voc_ap50(
        truths, detections, num_classes=2, inclusive=False, matching="first", iou=threshold
    )
    assert got == pytest.approx(expected["ap"], abs=1e-6)
    assert np.mean(got) == pytest.approx(expected["mAP"], abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_equals_plain_loops(seed):
    truths, detections = random_scene(seed)
    got = voc_ap50(truths, detections, num_classes=3)
    plain = [plain_voc_ap(truths, detections, label) for label in range(3)]
    assert got == pytest.approx(plain, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(20))
def test_groups_equal_plain_loops_of_fgfas_rule(seed):
    truths, detections = random_scene(seed)
    rng = np.random.default_rng(seed + 1000)
    counted = [rng.uniform(size=len(each.labels)) < 0.5 for each in truths]
    got = voc_ap50(truths, detections, num_classes=3, counted=counted)
    plain = [plain_voc_ap(truths, detections, label, counted) for label in range(3)]
    assert got == pytest.approx(plain, abs=1e-12, nan_ok=True)


SCENES = {
    "a perfect detector scores 1": ([BOX], [BOX], [0.9], 1.0),
    "nothing found scores 0": ([BOX], [], [], 0.0),
    "a second box on the same object is a miss after the hit": ([BOX], [BOX, BOX], [0.9, 0.8], 1.0),
    "a false box ranked first halves precision": ([BOX], [FAR, BOX], [0.9, 0.8], 0.5),
    "one of two objects found": ([BOX, FAR], [BOX], [0.9], 0.5),
    "a frame without objects or boxes": ([], [], [], float("nan")),
    "boxes without objects": ([], [BOX], [0.9], float("nan")),
}


@pytest.mark.parametrize(
    ("objects", "detected", "scores", "expected"), SCENES.values(), ids=SCENES.keys()
)
def test_small_scenes(objects, detected, scores, expected):
    got = voc_ap50([truth(objects)], [found(detected, scores)], num_classes=1)
    assert got == pytest.approx([expected], nan_ok=True)


def test_boxes_have_both_ends():
    # 20 x 20 and 20 x 10 pixels with both ends: IoU exactly 0.5; without them 19 x 9 / 361 < 0.5.
    half = [10, 10, 29, 19]
    assert voc_ap50([truth([BOX])], [found([half], [0.9])], num_classes=1) == [1.0]
    assert voc_ap50([truth([BOX])], [found([half], [0.9])], num_classes=1, inclusive=False) == [0.0]


def test_a_detection_takes_the_next_free_object_only_when_asked_to():
    near = [12, 10, 31, 29]
    objects, hits = [truth([BOX, near])], [found([BOX, BOX], [0.9, 0.8])]
    assert voc_ap50(objects, hits, num_classes=1) == [1.0]
    assert voc_ap50(objects, hits, num_classes=1, matching="first") == [0.5]


@pytest.mark.parametrize("matching", ["free", "first"])
def test_ignored_objects_are_neither_hit_nor_miss(matching):
    objects = truth([BOX, FAR], ignored=[False, True])
    on_ignored_twice = found([FAR, FAR, BOX], [0.9, 0.8, 0.7])
    got = voc_ap50([objects], [on_ignored_twice], num_classes=1, matching=matching)
    assert got == [1.0]
    alone = truth([FAR], ignored=[True])
    assert np.isnan(
        voc_ap50([alone], [found([FAR], [0.9])], num_classes=1, matching=matching)
    ).all()


def test_in_a_group_a_miss_near_another_groups_object_costs_nothing():
    objects = [truth([BOX, FAR])]
    near_far = [70, 70, 89, 89]
    counted = [np.asarray([True, False])]
    spoiled = [found([near_far, BOX], [0.9, 0.8])]
    assert voc_ap50(objects, spoiled, num_classes=1) == pytest.approx([0.25])
    assert voc_ap50(objects, spoiled, num_classes=1, counted=counted) == [1.0]


def test_no_frames_at_all_is_not_a_number():
    assert np.isnan(voc_ap50([], [], num_classes=2)).all()
