"""Random scenes and a plain, slow scorer to hold the fast one against."""

from __future__ import annotations

import numpy as np

from halftrack.evaluation import FrameDetections
from halftrack.frames import FrameTruth


def truth(boxes, labels=None, *, video="v", tracks=None, ignored=None) -> FrameTruth:
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    count = len(boxes)
    return FrameTruth(
        video=video,
        boxes_xyxy=boxes,
        labels=np.zeros(count, np.int64) if labels is None else np.asarray(labels, np.int64),
        track_ids=np.arange(count) if tracks is None else np.asarray(tracks, np.int64),
        ignored=None if ignored is None else np.asarray(ignored, dtype=bool),
    )


def found(boxes, scores, labels=None) -> FrameDetections:
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return FrameDetections(
        boxes_xyxy=boxes,
        scores=np.asarray(scores, dtype=np.float64),
        labels=np.zeros(len(boxes), np.int64) if labels is None else np.asarray(labels, np.int64),
    )


def random_scene(
    seed: int, *, frames: int = 12, classes: int = 3, objects: int = 3, extra: int = 3
) -> tuple[list[FrameTruth], list[FrameDetections]]:
    """Frames in two videos; detections are shifted objects, some twice, some in other classes."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for frame in range(frames):
        count = int(rng.integers(0, objects + 1))
        corner = rng.integers(0, 60, (count, 2)).astype(np.float64)
        boxes = np.concatenate([corner, corner + rng.integers(10, 40, (count, 2))], axis=1)
        labels = rng.integers(0, classes, count)
        truths.append(
            truth(
                boxes,
                labels,
                video="a" if frame < frames // 2 else "b",
                tracks=rng.permutation(objects)[:count],
            )
        )
        picks = rng.integers(0, max(count, 1), int(rng.integers(0, 2 * objects))) if count else []
        shifted = boxes[picks] + rng.normal(0, 4, (len(picks), 4)) if count else np.zeros((0, 4))
        stray = rng.uniform(0, 60, (int(rng.integers(0, extra + 1)), 2))
        shifted = np.concatenate([shifted, np.concatenate([stray, stray + 20], axis=1)])
        guessed = rng.integers(0, classes, len(shifted))
        if count:
            keep = rng.uniform(size=len(picks)) < 0.8
            guessed[: len(picks)][keep] = labels[picks][keep]
        detections.append(
            found(shifted, rng.permutation(len(shifted)) / 97 + frame / 9973, guessed)
        )
    return truths, detections


def _overlap(one, other) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    area = (one[2] - one[0] + 1) * (one[3] - one[1] + 1)
    area += (other[2] - other[0] + 1) * (other[3] - other[1] + 1)
    return width * height / (area - width * height)


def plain_voc_ap(truths, detections, label: int, counted=None) -> float:
    """One class by FGFA's rule, box by box: free object of most overlap, weighted misses."""
    rows, total, inside, everything = [], 0, 0, 0
    counted_of = counted or [np.ones(len(each.labels), dtype=bool) for each in truths]
    for counts in counted_of:
        inside += int(counts.sum())
        everything += len(counts)
    for each, seen, counts in zip(truths, detections, counted_of, strict=True):
        objects = [
            (each.boxes_xyxy[i], bool(counts[i]))
            for i in range(len(counts))
            if each.labels[i] == label
        ]
        total += sum(in_group for _, in_group in objects)
        taken: set[int] = set()
        ranked = sorted(
            (i for i in range(len(seen.labels)) if seen.labels[i] == label),
            key=lambda i: -seen.scores[i],
        )
        for i in ranked:
            overlaps = [_overlap(seen.boxes_xyxy[i], box) for box, _ in objects]
            free = [k for k in range(len(objects)) if k not in taken and overlaps[k] >= 0.5]
            if free:
                best = max(free, key=lambda k: overlaps[k])
                taken.add(best)
                if objects[best][1]:
                    rows.append((seen.scores[i], 1.0, 0.0))
                continue
            inner = max([o for o, (_, g) in zip(overlaps, objects, strict=True) if g], default=-1)
            outer = max(
                [o for o, (_, g) in zip(overlaps, objects, strict=True) if not g], default=-1
            )
            if inner != outer:
                miss = float(inner > outer)
            elif objects:
                miss = sum(not g for _, g in objects) / len(objects)
            else:
                miss = inside / everything if counted and inside else 1.0
            rows.append((seen.scores[i], 0.0, miss))
    if not total:
        return float("nan")
    rows.sort(key=lambda row: -row[0])
    true = false = 0.0
    curve = []
    for _, hit, miss in rows:
        true, false = true + hit, false + miss
        curve.append((true / total, true / (true + false) if true + false else 0.0))
    area = before = 0.0
    for position, (recall, _) in enumerate(curve):
        if recall > before:
            area += (recall - before) * max(precision for _, precision in curve[position:])
            before = recall
    return area
