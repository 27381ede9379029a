"""Tracktor's state machine: each row is a story of a small world that must come out right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from world import NOTHING, Scene, World, boxes_of, follow, frame_at, story_of

from halftrack.frames import Detections, Frame
from halftrack.tracking import TracktorConfig, warp_boxes

NAN, INF = float("nan"), float("inf")


def lost_for(frames: int) -> World:
    """a stands still, seen in frame 0 and then again ``frames`` frames later."""
    there: Scene = {"a": (0, 0)}
    return World([there, *[NOTHING] * (frames - 1), there])


APPROACH: list[Scene] = [{"a": (100, 0), "b": (100 + d, 2)} for d in (24, 16, 8, 0, 8, 16, 24)]
CROSSING: list[Scene] = [{"a": (4 * t, 0), "b": (80 - 4 * t, 12)} for t in range(21)]
PAN = [[1.0, 0.0, 30.0], [0.0, 1.0, 0.0]]

STORIES: dict[str, tuple[World, dict[str, Any], list[str]]] = {
    "a track lost and found again 10 frames later keeps its id": (
        lost_for(10),
        {},
        ["a0", *[""] * 9, "a0"],
    ),
    "11 frames later it gets a new one": (lost_for(11), {}, ["a0", *[""] * 10, "a1"]),
    "without ReID a lost track is never found": (lost_for(2), {"embedder": None}, ["a0", "", "a1"]),
    "who looks unlike the lost track is new": (
        World([{"a": (0, 0)}, NOTHING, {"c": (0, 0)}]),
        {},
        ["a0", "", "c1"],
    ),
    "who looks like it but stands elsewhere is new": (
        World([{"a": (0, 0)}, NOTHING, {"a": (60, 0)}]),
        {},
        ["a0", "", "a1"],
    ),
    "two lost tracks are told apart by looks": (
        World([{"a": (0, 0), "b": (10, 15)}, NOTHING, {"b": (0, 0), "a": (10, 15)}]),
        {},
        ["a0 b1", "", "b1 a0"],
    ),
    "two tracks cross and keep their ids": (World(CROSSING), {}, ["a0 b1"] * 21),
    "who goes behind another is lost, and the same when out again": (
        World(APPROACH),
        {},
        ["a0 b1", "a0 b1", "a0", "a0", "a0", "a0", "a0 b1"],
    ),
    "who walks on unseen is the same where the walk leads to": (
        World([{"a": (0, 0)}, {"a": (10, 0)}, NOTHING, NOTHING, {"a": (40, 0)}]),
        {"linear_motion": 1},
        ["a0", "a0", "", "", "a0"],
    ),
    "and another for who expects it to stand": (
        World([{"a": (0, 0)}, {"a": (10, 0)}, NOTHING, NOTHING, {"a": (40, 0)}]),
        {},
        ["a0", "a0", "", "", "a1"],
    ),
    "a detection on a regressed track starts nothing": (
        World([{"a": (0, 0)}, {"a": (0, 0), "c": (15, 0)}]),
        {},
        ["a0", "a0"],
    ),
    "one beside it, with IoU below 0.3, starts a track": (
        World([{"a": (0, 0)}, {"a": (0, 0), "c": (24, 0)}]),
        {},
        ["a0", "a0 c1"],
    ),
    "a missed detection ends nothing: the second stage finds the track": (
        World([{"a": (0, 0)}] * 3, missed={1: "a", 2: "a"}),
        {},
        ["a0"] * 3,
    ),
    "a track nobody detects never starts": (World([{"a": (0, 0)}], missed={0: "a"}), {}, [""]),
    "a score at the threshold is too low": (
        World([{"a": (0, 0), "b": (90, 0)}]),
        {"detection_score": float(torch.tensor(0.8))},
        ["a0"],
    ),
    "regressed tracks come before new ones, best first": (
        World(
            [{"b": (0, 0)}, {"c": (200, 0), "b": (0, 0), "a": (90, 0)}, {"b": (0, 0), "a": (90, 0)}]
        ),
        {},
        ["b0", "b0 c1 a2", "a2 b0"],
    ),
    "no detections at all": (World([NOTHING] * 3), {}, [""] * 3),
    "ids are counted on after all tracks have ended": (
        World([{"a": (0, 0)}, NOTHING, NOTHING, {"a": (0, 0)}]),
        {"num_frames_retain": 1},
        ["a0", "", "", "a1"],
    ),
    "a lost track is carried along with the camera": (
        World(
            [{"a": (0, 0)}, NOTHING, NOTHING, {"a": (90, 0)}], warps=dict.fromkeys((1, 2, 3), PAN)
        ),
        {},
        ["a0", "", "", "a0"],
    ),
    "without camera motion it is not": (
        World(
            [{"a": (0, 0)}, NOTHING, NOTHING, {"a": (90, 0)}], warps=dict.fromkeys((1, 2, 3), PAN)
        ),
        {"camera_motion": None},
        ["a0", "", "", "a1"],
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_story(story: str) -> None:
    world, changes, expected = STORIES[story]
    assert story_of(world, follow(world, **changes)) == expected


def test_no_tracks_have_the_types_of_tracks() -> None:
    tracks = follow(World([NOTHING])).step(frame_at(0))
    assert (tracks.ids.dtype, tracks.labels.dtype) == (torch.int64, torch.int64)
    assert (tracks.boxes_xyxy.shape, tracks.scores.shape) == ((0, 4), (0,))
    assert tracks.boxes_xyxy.dtype == tracks.scores.dtype == torch.float32
    assert len(tracks.to("cpu")) == 0


@pytest.mark.parametrize("index", [0, 3])
def test_frame_indices_must_increase(index: int) -> None:
    tracktor = follow(World([NOTHING] * 4))
    tracktor.step(frame_at(3))
    with pytest.raises(ValueError, match=rf"'v/{index}'.*does not follow 'v/3'.*call reset\(\)"):
        tracktor.step(frame_at(index))


def test_a_reset_begins_another_video() -> None:
    world = World([{"a": (0, 0)}, {"a": (0, 0), "c": (90, 0)}])
    tracktor = follow(world)
    assert story_of(world, tracktor) == ["a0", "a0 c1"]
    tracktor.reset()
    assert tracktor.live_ids == ()
    assert story_of(world, tracktor) == ["a0", "a0 c1"]


def test_no_answer_is_changed_by_who_writes_into_boxes() -> None:
    world = World([{"a": (0, 0)}] * 2)
    tracktor = follow(world, embedder=lambda _, boxes: boxes.zero_())
    tracks = tracktor.step(frame_at(0))
    assert tracks.boxes_xyxy.tolist() == [[0, 0, 40, 40]]
    tracks.boxes_xyxy.zero_()
    tracktor.step(frame_at(1))
    assert world.asked[0].tolist() == [[0, 0, 40, 40]]


def test_after_a_frame_left_out_only_looks_go_on() -> None:
    world = World([{"a": (0, 0)}] * 3)
    tracktor = follow(world)
    tracktor.step(frame_at(0))
    assert tracktor.step(frame_at(2)).ids.tolist() == [0]
    assert world.asked == []


def broken(part: str) -> Callable[[World], dict[str, Any]]:
    """What takes the world's place so that one of its answers is not finite."""

    def parts(world: World) -> dict[str, Any]:
        class Broken(World):
            def detect(self, frame: Frame) -> Detections:
                found = super().detect(frame)
                if part == "detected boxes":
                    found.boxes_xyxy[0, 1] = NAN
                if part == "detection scores":
                    found.scores[0] = NAN
                return found

            def regress(self, frame: Frame, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
                boxes, scores = super().regress(frame, boxes_xyxy)
                if part == "regressed boxes":
                    boxes = boxes / 0
                return boxes, scores * (NAN if part == "regression scores" else 1)

        detector = Broken(world.scenes)
        if part == "embeddings":
            return {"embedder": lambda _, boxes: boxes * INF}
        if part == "camera warp":
            return {"camera_motion": lambda *_: torch.full((2, 3), NAN)}
        return {"detector": detector}

    return parts


@pytest.mark.parametrize(
    "part",
    [
        "detected boxes",
        "detection scores",
        "regressed boxes",
        "regression scores",
        "embeddings",
        "camera warp",
    ],
)
def test_what_is_not_finite_is_refused_and_changes_no_track(part: str) -> None:
    world = World([{"a": (5, 5)}, {"a": (5, 5)}])
    tracktor = follow(world)
    tracktor.step(frame_at(0))
    whole = tracktor.detector, tracktor.embedder, tracktor.camera_motion
    for name, value in broken(part)(world).items():
        setattr(tracktor, name, value)
    with pytest.raises(ValueError, match=rf"{part} of frame 'v/1' \(frame_index 1\) not finite in"):
        tracktor.step(frame_at(1))
    tracktor.detector, tracktor.embedder, tracktor.camera_motion = whole
    assert tracktor.step(frame_at(1)).ids.tolist() == [0]


def test_answers_of_another_shape_are_refused() -> None:
    world = World([{"a": (0, 0)}] * 2)
    tracktor = follow(world)
    tracktor.step(frame_at(0))
    world.regress = lambda _, boxes: (boxes, torch.ones(len(boxes), 2))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"boxes \(1, 4\) and scores \(1, 2\) for 1 boxes"):
        tracktor.step(frame_at(1))


TURN = [[0.96, -0.28, 8.0], [0.28, 0.96, -4.0]]


@pytest.mark.parametrize("scale_xy", [(1.0, 1.0), (2.0, 2.0), (2.0, 1.6)])
@pytest.mark.parametrize("compatible", [True, False])
def test_camera_motion_moves_boxes_in_network_pixels_unless_compatible(
    scale_xy: tuple[float, float], compatible: bool
) -> None:
    world = World([{"a": (30, 20)}] * 2, warps={1: TURN})
    tracktor = follow(world, compatible=compatible)
    for index in range(2):
        tracktor.step(frame_at(index, scale_xy))
    scale = torch.tensor([1.0] * 4 if compatible else scale_xy * 2)
    expected = warp_boxes(boxes_of({"a": (30, 20)}) * scale, torch.tensor(TURN)) / scale
    assert torch.allclose(world.asked[0], expected, atol=1e-4)


def test_compatible_and_correct_differ_by_the_scale_of_the_translation() -> None:
    asked = []
    for compatible in (True, False):
        world = World([{"a": (30, 20)}] * 2, warps={1: TURN})
        tracktor = follow(world, compatible=compatible)
        for index in range(2):
            tracktor.step(frame_at(index, (2.0, 2.0)))
        asked.append(world.asked[0])
    assert torch.allclose(asked[0] - asked[1], torch.tensor([4.0, -2.0, 4.0, -2.0]), atol=1e-4)


def test_a_constant_step_is_kept_beside_the_cameras() -> None:
    # Of each frame's 40 px the camera makes 30.
    world = World([{"a": (40.0 * t, 0)} for t in range(4)], warps=dict.fromkeys(range(1, 4), PAN))
    tracktor = follow(world, linear_motion=2)
    for index in range(4):
        tracktor.step(frame_at(index))
    assert [asked[0, 0].item() for asked in world.asked] == [30.0, 80.0, 120.0]


def drifting_looks(frame: Frame, boxes_xyxy: Tensor) -> Tensor:
    """One number, growing by 1 a frame."""
    return torch.full((len(boxes_xyxy), 1), float(frame.frame_index))


@pytest.mark.parametrize(
    ("changes", "memory"),
    [
        ({}, 2.0),  # the mean of 0 to 4
        ({"reid_num_samples": 3}, 3.0),
        ({"reid_num_samples": 1}, 4.0),
        ({"embedding_momentum": 0.5}, 3.0625),  # ((((0 + 1)/2 + 2)/2 + 3)/2 + 4)/2
        ({"embedding_momentum": 1.0}, 4.0),
    ],
)
def test_a_lost_track_is_remembered_as(changes: dict[str, Any], memory: float) -> None:
    for slack, key in ((0.01, 0), (-0.01, 1)):
        world = World([*[{"a": (0.0, 0.0)}] * 5, NOTHING, {"a": (0.0, 0.0)}])
        distance = {"reid_distance": 6 - memory + slack}
        tracktor = follow(world, embedder=drifting_looks, **changes, **distance)
        assert story_of(world, tracktor)[-1] == f"a{key}"


def test_the_box_momentum_smooths_what_is_asked_not_what_is_told() -> None:
    world = World([{"a": (0, 0)}, {"a": (8, 0)}, {"a": (8, 0)}])
    tracktor = follow(world, box_momentum=0.25)
    told = [tracktor.step(frame_at(t)).boxes_xyxy[0, 0].item() for t in range(3)]
    assert told == [0, 8, 8]
    assert [boxes[0, 0].item() for boxes in world.asked] == [0, 2]


def test_a_track_is_of_its_best_class_and_classes_do_not_suppress_each_other() -> None:
    world = World([{"a": (0, 0), "b": (2, 0)}] * 2)
    tracktor = follow(world)
    tracktor.step(frame_at(0))

    def regress(_: Frame, boxes: Tensor) -> tuple[Tensor, Tensor]:
        return torch.stack([boxes, boxes + 1], 1), torch.tensor([[0.6, 0.9], [0.8, 0.2]])

    world.regress = regress  # type: ignore[method-assign]
    tracks = tracktor.step(frame_at(1))
    assert (tracks.ids.tolist(), tracks.labels.tolist()) == ([0, 1], [1, 0])
    assert tracks.boxes_xyxy[:, 0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("reid_num_samples", 0),
        ("num_frames_retain", 0),
        ("box_momentum", 0.0),
        ("embedding_momentum", 1.5),
        ("linear_motion", -1),
    ],
)
def test_a_setting_out_of_range_is_named(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{setting}={value}: expected"):
        TracktorConfig(**{setting: value})
