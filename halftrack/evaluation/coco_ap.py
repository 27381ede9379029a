"""COCO average precision at IoU 0.5, computed by pycocotools; MMTracking's bbox_mAP_50."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from halftrack.evaluation.detection import FrameDetections
from halftrack.frames import FrameTruth

__all__ = ["coco_ap50", "evaluate_coco"]

_MAX_DETECTIONS = 100  # of one class in one frame, as COCO has it


def coco_ap50(
    truths: Sequence[FrameTruth], detections: Sequence[FrameDetections], *, num_classes: int
) -> list[float]:
    """Compute COCO's AP50 of each class; NaN for a class without ground truth that counts.

    101 recall points, at most 100 detections of a class in a frame, boxes of width x2 - x1.
    """
    precision = evaluate_coco(
        truths, detections, num_classes=num_classes, iou_thresholds=np.asarray([0.5])
    )[0]
    return [float(curve.mean()) if curve.min() > -1 else float("nan") for curve in precision.T]


def evaluate_coco(
    truths: Sequence[FrameTruth],
    detections: Sequence[FrameDetections],
    *,
    num_classes: int,
    iou_thresholds: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute COCO's precision at 101 recalls for each IoU threshold and class.

    Classes are evaluated one after the other, so that only one class's boxes are Python objects.

    Returns:
        ``(thresholds, 101, classes)``; -1 for classes without ground truth.
    """
    curves = np.full((len(iou_thresholds), 101, num_classes), -1.0)
    objects = _by_class([(each.labels, each.boxes_xyxy, _ignored(each)) for each in truths])
    found = _by_class([(each.labels, each.boxes_xyxy, each.scores) for each in detections])
    for label, annotated in objects.items():
        evaluation = _ClassEvaluation(annotated, found.get(label, _NONE))
        evaluation.params.iouThrs = np.asarray(iou_thresholds)
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [_MAX_DETECTIONS]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
            evaluation.accumulate()
        curves[:, :, label] = evaluation.eval["precision"][:, :, 0, 0, 0]
    return curves


@dataclass(frozen=True, kw_only=True)
class _Boxes:
    """The boxes of one class in the order of the frames."""

    frames: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    values: NDArray[np.float64]
    """Scores of detections; for objects 1 if ignored, else 0."""


_NONE = _Boxes(frames=np.zeros(0, dtype=np.int64), boxes_xywh=np.zeros((0, 4)), values=np.zeros(0))


class _ClassEvaluation(COCOeval):  # type: ignore[misc]
    """pycocotools' evaluation of one class, fed without building two COCO data sets."""

    def __init__(self, objects: _Boxes, found: _Boxes) -> None:
        super().__init__(iouType="bbox")
        self._images = list(_images(objects, found))
        self.params.imgIds = list(range(len(self._images)))
        self.params.catIds = [0]

    def _prepare(self) -> None:
        images = enumerate(self._images)
        pairs = [((image, 0), objects, found) for image, (objects, found) in images]
        self._gts = defaultdict(list, {key: objects for key, objects, _ in pairs})
        self._dts = defaultdict(list, {key: found for key, _, found in pairs})
        self.evalImgs: Any = defaultdict(list)
        self.eval: dict[str, Any] = {}


_Records = list[dict[str, Any]]


def _images(objects: _Boxes, found: _Boxes) -> Iterator[tuple[_Records, _Records]]:
    """Objects and detections image by image, as pycocotools keeps them.

    Detections of neighbouring frames without objects share an image. All of them are misses, and
    equal scores keep the order of their images, so the numbers are the same, in a quarter of the
    time.
    """
    annotated = dict(_frames(objects, "ignore"))
    shared: _Records = []
    detected = dict(_frames(found, "score"))
    for frame in sorted({*annotated, *detected}):
        records = detected.get(frame, [])
        if frame in annotated:
            if shared:
                yield [], shared
                shared = []
            yield annotated[frame], records
            continue
        if len(records) > _MAX_DETECTIONS:
            records = sorted(records, key=lambda record: -record["score"])[:_MAX_DETECTIONS]
        if len(shared) + len(records) > _MAX_DETECTIONS:
            yield [], shared
            shared = []
        shared = shared + records
    if shared:
        yield [], shared


def _frames(boxes: _Boxes, value: str) -> Iterator[tuple[int, _Records]]:
    """Each frame that has records, and its records."""
    areas = boxes.boxes_xywh[:, 2] * boxes.boxes_xywh[:, 3]
    columns = zip(boxes.boxes_xywh.tolist(), areas.tolist(), boxes.values.tolist(), strict=True)
    # Ids count from 1: pycocotools takes 0 for "not matched".
    # An ignored object is COCO's crowd: any number of detections may lie in it.
    crowd = value == "ignore"
    records = [
        {"id": row, "bbox": box, "area": area, value: number, "iscrowd": int(crowd and number)}
        for row, (box, area, number) in enumerate(columns, start=1)
    ]
    frames, starts = np.unique(boxes.frames, return_index=True)
    bounds = [*starts.tolist(), len(records)]
    for frame, start, stop in zip(frames.tolist(), bounds[:-1], bounds[1:], strict=True):
        yield frame, records[start:stop]


def _ignored(truth: FrameTruth) -> NDArray[np.bool_]:
    return np.zeros(len(truth.labels), dtype=bool) if truth.ignored is None else truth.ignored


def _by_class(
    frames: Sequence[
        tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64] | NDArray[np.bool_]]
    ],
) -> dict[int, _Boxes]:
    """The boxes of all frames, sorted into classes."""
    if not any(len(row[0]) for row in frames):
        return {}
    labels = np.concatenate([row[0] for row in frames])
    corners = np.concatenate([row[1] for row in frames]).astype(np.float64)
    values = np.concatenate([row[2] for row in frames]).astype(np.float64)
    numbers = np.repeat(np.arange(len(frames)), [len(row[0]) for row in frames])
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    return {
        int(label): _Boxes(
            frames=numbers[rows],
            boxes_xywh=np.concatenate(
                [corners[rows, :2], corners[rows, 2:] - corners[rows, :2]], axis=1
            ),
            values=values[rows],
        )
        for label, rows in zip(present, np.split(order, starts[1:]), strict=True)
    }
