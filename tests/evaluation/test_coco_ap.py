from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scenes import found, random_scene, truth

from halftrack.evaluation import coco_ap50
from halftrack.evaluation.coco_ap import evaluate_coco

GOLDEN = Path(__file__).parent.parent / "golden" / "evaluation"
BOX = [10, 10, 30, 30]


def golden_frames():
    annotations = json.loads((GOLDEN / "imagenet_vid_val.json").read_text())
    dets = np.load(GOLDEN / "eval_vid_dets.npz")
    truths, detections = [], []
    for index, image in enumerate(annotations["images"]):
        mine = [each for each in annotations["annotations"] if each["image_id"] == image["id"]]
        xywh = np.asarray([each["bbox"] for each in mine], dtype=np.float64).reshape(-1, 4)
        rows = dets[f"f{index}"]
        truths.append(
            truth(
                np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
                [each["category_id"] - 1 for each in mine],
                video=str(image["video_id"]),
            )
        )
        detections.append(found(rows[:, 1:5], rows[:, 5], rows[:, 0].astype(np.int64)))
    return truths, detections


def test_equals_mmtracking_on_the_golden_videos_to_the_last_digit():
    expected = json.loads((GOLDEN / "expected.json").read_text())["vid_val_eval_bbox"]
    truths, detections = golden_frames()
    curves = evaluate_coco(
        truths, detections, num_classes=30, iou_thresholds=np.linspace(0.5, 0.95, 10)
    )
    with_truth = curves[:, :, curves.min(axis=(0, 1)) > -1]
    assert round(float(with_truth.mean()), 4) == expected["bbox_mAP"]
    assert round(float(with_truth[5].mean()), 4) == expected["bbox_mAP_75"]
    ap50 = coco_ap50(truths, detections, num_classes=30)
    assert round(float(np.nanmean(ap50)), 4) == expected["bbox_mAP_50"]


@pytest.mark.parametrize("scores", ["all different", "many equal"])
@pytest.mark.parametrize("extra", [3, 150])
@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools_fed_the_usual_way(seed, extra, scores):
    truths, detections = random_scene(seed, frames=30, extra=extra, objects=2, classes=2)
    if scores == "many equal":
        detections = [replace(each, scores=np.round(each.scores * 4)) for each in detections]
    annotations, results = [], []
    for frame, (each, seen) in enumerate(zip(truths, detections, strict=True)):
        for (x1, y1, x2, y2), label in zip(each.boxes_xyxy, each.labels, strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": frame,
                    "category_id": int(label),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
        for (x1, y1, x2, y2), score, label in zip(
            seen.boxes_xyxy, seen.scores, seen.labels, strict=True
        ):
            results.append(
                {
                    "image_id": frame,
                    "category_id": int(label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score,
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": frame} for frame in range(len(truths))],
            "categories": [{"id": label} for label in range(2)],
            "annotations": annotations,
        }
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    expected = evaluation.eval["precision"][0, :, :, 0, 2].mean(axis=0)
    assert coco_ap50(truths, detections, num_classes=2) == pytest.approx(
        expected.tolist(), abs=1e-12
    )


def test_nothing_found_scores_0_and_classes_without_objects_are_not_numbers():
    got = coco_ap50([truth([BOX])], [found([], [])], num_classes=2)
    assert got == pytest.approx([0.0, float("nan")], nan_ok=True)


def test_ignored_objects_are_neither_hit_nor_miss():
    far = [60, 60, 80, 80]
    objects = truth([BOX, far], ignored=[False, True])
    assert coco_ap50([objects], [found([far, BOX], [0.9, 0.8])], num_classes=1) == pytest.approx(
        [1.0]
    )
    assert np.isnan(coco_ap50([truth([far], ignored=[True])], [found([], [])], num_classes=1)).all()


def test_nothing_is_printed(capsys):
    coco_ap50(*random_scene(0), num_classes=3)
    assert capsys.readouterr().out == ""


def test_any_number_of_small_detections_may_lie_in_an_ignored_crowd():
    objects = truth([BOX, [100, 100, 300, 300]], ignored=[False, True])
    inside = [[110, 110, 130, 130], [150, 150, 170, 170]]
    detected = found([*inside, BOX], [0.9, 0.8, 0.7])
    assert coco_ap50([objects], [detected], num_classes=1) == pytest.approx([1.0])
