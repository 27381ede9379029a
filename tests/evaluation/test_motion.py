from __future__ import annotations

import numpy as np
import pytest
from scenes import random_scene, truth

from halftrack.evaluation import motion_groups, motion_iou
from halftrack.evaluation.overlaps import paired_iou


def moving(pixels_a_frame: float, frames: int, *, video: str = "v", track: int = 0):
    return [
        truth(
            [[10 + pixels_a_frame * t, 10, 59 + pixels_a_frame * t, 59]],
            video=video,
            tracks=[track],
        )
        for t in range(frames)
    ]


@pytest.mark.parametrize(
    ("speed", "group"), [(0.0, "slow"), (0.3, "slow"), (1.0, "medium"), (5.0, "fast")]
)
def test_speed_decides_the_group(speed, group):
    groups = motion_groups(motion_iou(moving(speed, 25)))
    assert {name: bool(flags[12].all()) for name, flags in groups.items()} == {
        name: name == group for name in ("slow", "medium", "fast")
    }


@pytest.mark.parametrize("seed", range(5))
def test_equals_plain_loops(seed):
    truths, _ = random_scene(seed, frames=30)
    got = motion_iou(truths, reach=4)
    for frame, each in enumerate(truths):
        for row, track in enumerate(each.track_ids):
            ious = [
                paired_iou(each.boxes_xyxy[row][None], other.boxes_xyxy[k][None])[0]
                for f, other in enumerate(truths)
                if f != frame and abs(f - frame) <= 4 and other.video == each.video
                for k in np.flatnonzero(other.track_ids == track)
            ]
            assert got[frame][row] == pytest.approx(np.mean(ious) if ious else 0.0)


def test_videos_are_kept_apart():
    together = motion_iou([*moving(0.0, 3, video="a"), *moving(50.0, 3, video="b")])
    assert [float(each[0]) for each in together[:3]] == [1.0, 1.0, 1.0]


def test_an_instance_without_neighbours_is_fast():
    assert motion_iou(moving(0.0, 1))[0].tolist() == [0.0]


def test_frames_without_objects_have_empty_rows():
    assert [each.shape for each in motion_iou([truth([]), *moving(0, 2), truth([])])] == [
        (0,),
        (1,),
        (1,),
        (0,),
    ]
    assert [each.shape for each in motion_iou([truth([])])] == [(0,)]
