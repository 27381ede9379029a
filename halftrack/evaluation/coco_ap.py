"""COCO average precision at IoU 0.5, by pycocotools: what MMTracking reports as bbox_mAP_50."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from halftrack.evaluation.detection import FrameDetections, FrameTruth

__all__ = ["coco_ap50"]


def coco_ap50(
    truths: Sequence[FrameTruth], detections: Sequence[FrameDetections], *, classes: int
) -> list[float]:
    """AP50 of each class, NaN where a class has no ground truth.

    101 recall points, at most 100 detections a frame over all classes, boxes of width x2 - x1.
    """
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for frame, (truth, found) in enumerate(zip(truths, detections, strict=True)):
        for box, label in zip(_xywh(truth.boxes_xyxy), truth.labels.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": frame,
                    "category_id": label,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
        rows = zip(
            _xywh(found.boxes_xyxy), found.scores.tolist(), found.labels.tolist(), strict=True
        )
        results += [
            {"image_id": frame, "category_id": label, "bbox": box, "score": score}
            for box, score, label in rows
        ]
    with_truth = {annotation["category_id"] for annotation in annotations}
    if not results:
        return [0.0 if label in with_truth else float("nan") for label in range(classes)]
    truth_set = COCO()
    truth_set.dataset = {
        "images": [{"id": frame} for frame in range(len(truths))],
        "categories": [{"id": label} for label in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set.createIndex()
        evaluation = COCOeval(truth_set, truth_set.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.asarray([0.5])
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, 0]  # (recall points, classes)
    return [
        float(precision[:, label].mean()) if label in with_truth else float("nan")
        for label in range(classes)
    ]


def _xywh(boxes_xyxy: Any) -> list[list[float]]:
    corners = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()  # type: ignore[no-any-return]
