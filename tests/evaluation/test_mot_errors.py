"""Errors frame by frame: each kind alone, and in sum what TrackEval counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halftrack.evaluation import SequenceTruth, TrackRows, score_tracks
from halftrack.evaluation.mot_errors import ErrorFinder

NONE = np.zeros((0, 4))


def boxes(*lefts: float) -> NDArray[np.float64]:
    return np.array([[left, 0.0, left + 20, 40] for left in lefts]).reshape(-1, 4)


def ids(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


def test_each_kind_of_error_has_its_boxes() -> None:
    finder = ErrorFinder()
    first = finder.step(ids(1, 2), boxes(0, 100), boxes(300), ids(7, 8, 9), boxes(1, 300, 500))
    assert first.missed_xyxy.tolist() == boxes(100).tolist()
    assert first.false_xyxy.tolist() == boxes(500).tolist()
    assert len(first.switched_xyxy) == 0
    finder.step(ids(), NONE, NONE, ids(), NONE)
    later = finder.step(ids(1), boxes(0), NONE, ids(8), boxes(0))
    assert later.switched_xyxy.tolist() == boxes(0).tolist()
    assert len(later) == 1


def test_a_pair_of_the_frame_before_stays_together() -> None:
    finder = ErrorFinder()
    finder.step(ids(1), boxes(0), NONE, ids(7), boxes(0))
    errors = finder.step(ids(1), boxes(0), NONE, ids(7, 8), boxes(5, 0))
    assert len(errors.switched_xyxy) == 0
    assert errors.false_xyxy.tolist() == boxes(0).tolist()


def test_all_frames_together_are_what_trackeval_counts() -> None:
    random = np.random.default_rng(0)
    frames, objects, tracks, finder = [], [], [], ErrorFinder()
    counts = np.zeros(3, dtype=int)
    for number in range(1, 31):
        truth = boxes(0, 25, 50, 75)
        kept = random.random(4) < 0.8
        found = truth[kept] + random.normal(0, 4, (int(kept.sum()), 1)) * [1, 0, 1, 0]
        named = np.arange(4)[kept] if number % 9 else random.permutation(4)[: len(found)]
        errors = finder.step(ids(1, 2, 3, 4), truth, NONE, named, found)
        wrong = (errors.missed_xyxy, errors.false_xyxy, errors.switched_xyxy)
        counts += [len(each) for each in wrong]
        frames.append(number)
        objects.append(truth)
        tracks.append((named, found))
    lengths = [len(found) for _, found in tracks]
    ones = np.ones(4 * len(frames), dtype=np.int64)
    whole = SequenceTruth(
        name="a",
        frames=30,
        frame_numbers=np.repeat(frames, 4),
        ids=np.tile(ids(1, 2, 3, 4), 30),
        boxes_xyxy=np.concatenate(objects),
        flags=ones,
        classes=ones,
        visibility=ones.astype(float),
    )
    rows = TrackRows(
        frame_numbers=np.repeat(frames, lengths),
        ids=np.concatenate([named for named, _ in tracks]),
        boxes_xyxy=np.concatenate([found for _, found in tracks]),
        scores=np.ones(sum(lengths)),
    )
    scored = score_tracks([whole], {"a": rows}, benchmark="MOT17").combined
    assert counts.tolist() == [scored.fn, scored.fp, scored.idsw]
    assert counts.min() > 0
