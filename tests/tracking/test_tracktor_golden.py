"""Tracktor against the reference implementation, on a scripted detector and pooled crops."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden import load, recipe
from torch import Tensor

from halftrack.frames import Detections, Frame
from halftrack.layers import normalise_and_pad
from halftrack.tracking import Tracktor, TracktorConfig

RECIPE = recipe()


@pytest.fixture(scope="module")
def golden() -> Any:
    return load("tracktor_scripted_A.npz")


@pytest.fixture(scope="module")
def frames(golden: Any) -> list[Frame]:
    clip, _ = RECIPE.make_clip("trackA", 14, 192, 320, 4, (3.0, -1.0))
    assert hashlib.sha256(clip.tobytes()).digest() == golden["frames_sha256"].tobytes()
    images = torch.from_numpy(clip[..., ::-1].copy()).permute(0, 3, 1, 2)
    scale = float(golden["scale_factor"])
    return [
        Frame(image=image, sample_id=str(t), frame_index=t, scale_xy=(scale, scale))
        for t, image in enumerate(images)
    ]


class Scripted:
    """The reference run's detector; remembers what it was asked and what it answered."""

    def __init__(self, golden: Any) -> None:
        self.golden = golden
        self.regressed: dict[int, tuple[Tensor, np.ndarray]] = {}

    def detect(self, frame: Frame) -> Detections:
        rows = torch.from_numpy(self.golden[f"script_dets_{frame.frame_index}"])
        labels = torch.zeros(len(rows), dtype=torch.int64)
        return Detections(
            boxes_xyxy=rows[:, :4] / frame.scale_xy[0], scores=rows[:, 4], labels=labels
        )

    def regress(self, frame: Frame, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
        scaled = boxes_xyxy * frame.scale_xy[0]
        objects = self.golden[f"script_objects_{frame.frame_index}"]
        boxes, scores = RECIPE.scripted_regress(scaled.numpy(), objects)
        self.regressed[frame.frame_index] = scaled, np.c_[boxes, scores[:, 0]]
        answer = torch.from_numpy(boxes) / frame.scale_xy[0]
        return answer[:, None], torch.from_numpy(scores)[:, :1]


def pooled_crops(frame: Frame, boxes_xyxy: Tensor) -> Tensor:
    """The crops MMTracking's BaseTracker cuts from the normalised image, pooled to 4x2."""
    image = normalise_and_pad([frame.image], divisor=1)
    height, width = frame.size
    boxes = boxes_xyxy * frame.scale_xy[0]
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
    crops = []
    for x1, y1, x2, y2 in boxes.int().tolist():
        crop = image[:, :, y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        crops.append(F.interpolate(crop, (256, 128), mode="bilinear", align_corners=False))
    return F.adaptive_avg_pool2d(torch.cat(crops), (4, 2)).flatten(1)


def tracker(golden: Any, detector: Scripted, **changes: Any) -> Tracktor:
    def stored_warp(previous: Frame, frame: Frame) -> Tensor:
        assert frame.frame_index == previous.frame_index + 1
        return torch.from_numpy(golden[f"scripted_pool_warp_{frame.frame_index}"])

    parts = {"embedder": pooled_crops, "camera_motion": stored_warp} | changes
    return Tracktor(detector=detector, config=TracktorConfig(compatible=True), **parts)


def departure(tracktor: Tracktor, golden: Any, frames: list[Frame]) -> float:
    """Largest distance of a box from the reference's, in px; infinite once ids differ."""
    worst = 0.0
    for t, frame in enumerate(frames):
        tracks, expected = tracktor.step(frame), golden[f"scripted_pool_track_{t}"]
        if tracks.ids.tolist() != expected[:, 0].tolist():
            return float("inf")
        worst = max(worst, float(np.abs(tracks.boxes_xyxy.numpy() - expected[:, 1:5]).max()))
    return worst


def test_every_frame_equals_the_reference(golden: Any, frames: list[Frame]) -> None:
    detector = Scripted(golden)
    tracktor = tracker(golden, detector)
    for t, frame in enumerate(frames):
        tracks = tracktor.step(frame)
        expected = golden[f"scripted_pool_track_{t}"]
        assert tracks.ids.tolist() == expected[:, 0].tolist()
        assert np.abs(tracks.boxes_xyxy.numpy() - expected[:, 1:5]).max() < 1e-2
        assert (tracks.scores.numpy() == expected[:, 5]).all()
        assert (tracks.labels == 0).all()
        assert sorted(tracktor.live_ids) == golden[f"scripted_pool_live_ids_{t}"].tolist()


def test_the_second_stage_is_asked_what_the_reference_asks(
    golden: Any, frames: list[Frame]
) -> None:
    detector = Scripted(golden)
    departure(tracker(golden, detector), golden, frames)
    assert sorted(detector.regressed) == list(range(1, 14))
    for t, (asked, answered) in detector.regressed.items():
        expected = golden[f"scripted_pool_regress_in_{t}"]
        assert asked.shape == expected.shape
        assert np.abs(asked.numpy() - expected).max() < 1e-2
        assert np.abs(answered - golden[f"scripted_pool_regress_out_{t}"]).max() < 1e-2


@pytest.mark.parametrize("left_out", ["embedder", "camera_motion"])
def test_without_one_of_its_parts_the_run_is_another(
    golden: Any, frames: list[Frame], left_out: str
) -> None:
    tracktor = tracker(golden, Scripted(golden), **{left_out: None})
    assert departure(tracktor, golden, frames) > 0.5


def test_after_a_reset_the_run_is_the_same_again(golden: Any, frames: list[Frame]) -> None:
    tracktor = tracker(golden, Scripted(golden))
    for _ in range(2):
        assert departure(tracktor, golden, frames) < 1e-2
        tracktor.reset()
