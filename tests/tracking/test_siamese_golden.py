"""SiamRPN++'s test-time loop against the reference: crops, anchors, windows and every step."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from golden import GOLDEN, load, recipe, weights
from torch import Tensor

from halftrack.boxes import encode_deltas
from halftrack.frames import Tracks
from halftrack.layers import SiameseGeometry
from halftrack.models import SiamRPNConfig
from halftrack.tracking import SiameseConfig, SiameseModel, SiameseTracker

STEPS = range(1, 9)


RECIPE = recipe()


@pytest.fixture(scope="module")
def golden() -> Any:
    return load("siamrpn_tracking_A.npz")


@pytest.fixture(scope="module")
def images(golden: Any) -> Tensor:
    clip, boxes = RECIPE.make_clip("sotA", 9, 240, 320, 3, (1.5, -1.0))
    assert hashlib.sha256(clip.tobytes()).digest() == golden["frames_sha256"].tobytes()
    assert (boxes[:, 1] == golden["boxes_xyxy"]).all()
    return torch.from_numpy(clip[..., ::-1].copy()).permute(0, 3, 1, 2)


def by_anchor(maps: np.ndarray, values: int) -> Tensor:
    """``(1, values * anchors, rows, columns)`` in (row, column, anchor) order."""
    _, _, rows, columns = maps.shape
    split = torch.from_numpy(maps).reshape(values, -1, rows, columns)
    return split.permute(2, 3, 1, 0).reshape(-1, values)


class Recorded:
    """Answers every frame what the reference's network answered in frame 1; keeps the crops."""

    def __init__(self, golden: Any) -> None:
        self.answer = (
            by_anchor(golden["track1_cls_score"], 2).softmax(dim=1)[:, 1],
            by_anchor(golden["track1_bbox_pred"], 4),
        )

    def embed(self, template_chw: Tensor) -> None:
        self.template = template_chw

    def compare(self, _: None, search_chw: Tensor) -> tuple[Tensor, Tensor]:
        self.search = search_chw
        return self.answer


def box_and_score(tracks: Tracks) -> tuple[Tensor, float]:
    """The only box ``(4,)`` and its score."""
    assert tracks.ids.tolist() == tracks.labels.tolist() == [0]
    return tracks.boxes_xyxy[0], tracks.scores.item()


def started(model: SiameseModel, golden: Any, images: Tensor, **changes: float) -> SiameseTracker:
    context = {name: changes.pop(name) for name in ("context_amount",) if name in changes}
    tracker = SiameseTracker(
        model=model, config=SiameseConfig(**changes), geometry=SiameseGeometry(**context)
    )
    tracker.start(images[0], torch.from_numpy(golden["boxes_xyxy"][0]))
    return tracker


def feed(tracker: SiameseTracker, golden: Any, step: int) -> None:
    """Put the reference's state before a step in the place of the tracker's own."""
    box = torch.from_numpy(golden["track_prev_cxcywh"][step - 1])
    tracker._state = replace(tracker._state, box=box)


def departure(crop_rgb: Tensor, expected_bgr: np.ndarray) -> float:
    """Largest difference in grey levels."""
    return float(np.abs(crop_rgb.flip(0)[:, ::4, ::4].numpy() - expected_bgr[0]).max())


def test_anchors_and_window_equal_the_reference(golden: Any) -> None:
    tracker = SiameseTracker(
        model=Recorded(golden), config=SiameseConfig(), geometry=SiamRPNConfig().geometry
    )
    assert (tracker._anchors.numpy() == golden["anchors"]).all()
    assert tracker._window.dtype == torch.float64
    assert np.abs(tracker._window.numpy() - golden["windows"]).max() < 1e-15


def test_the_first_frame_equals_the_reference(golden: Any, images: Tensor) -> None:
    model = Recorded(golden)
    state = started(model, golden, images)._state
    assert np.abs(state.fill.flip(0).numpy() - golden["avg_channel"]).max() < 1e-4
    assert (state.box.numpy() == golden["track_prev_cxcywh"][0]).all()
    assert model.template.shape == (3, 127, 127)
    assert departure(model.template, golden["template_crop_slice"]) < 1e-3


@pytest.mark.parametrize("step", [1, 8])
def test_the_search_region_equals_the_reference(golden: Any, images: Tensor, step: int) -> None:
    model = Recorded(golden)
    tracker = started(model, golden, images)
    feed(tracker, golden, step)
    tracker.step(images[step])
    assert model.search.shape == (3, 255, 255)
    assert departure(model.search, golden[f"search_crop{step}_slice"]) < 1e-3


@pytest.mark.parametrize("step", STEPS)
def test_the_region_s_place_and_scale_equal_the_reference(
    golden: Any, images: Tensor, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = []

    def record(image: Tensor, centre_xy: Tensor, side: Tensor, size: int, _: Tensor) -> Tensor:
        cuts.append((side.item(), *centre_xy.tolist()))
        return torch.zeros(3, size, size)

    monkeypatch.setattr("halftrack.tracking.siamese._cut", record)
    # All anchors find a box of 64 network pixels in the region's middle, taken as it is.
    model = Recorded(golden)
    anchors = torch.from_numpy(golden["anchors"])
    middle = torch.tensor([-32.0, -32.0, 32.0, 32.0]).expand_as(anchors)
    model.answer = torch.ones(len(anchors)), encode_deltas(anchors, middle)
    tracker = started(model, golden, images, lr=1.0, penalty_k=0.0)
    feed(tracker, golden, step)
    box, _ = box_and_score(tracker.step(images[step]))
    template, search = cuts
    assert template == (golden["template_crop_size"], *golden["search_centers"][0])
    assert search == (golden["search_crop_sizes"][step - 1], *golden["search_centers"][step - 1])
    assert float(64 / (box[2] - box[0])) == pytest.approx(
        golden["track_scale_factors"][step - 1], rel=1e-5
    )


def test_a_step_on_the_recorded_answer_equals_the_reference(golden: Any, images: Tensor) -> None:
    box, score = box_and_score(started(Recorded(golden), golden, images).step(images[1]))
    assert np.abs(box.numpy() - golden["track_bboxes"][1, :4]).max() < 1e-3
    assert score == pytest.approx(golden["track_bboxes"][1, 4], abs=1e-6)


@pytest.mark.parametrize(
    "changes", [{"penalty_k": 0.4}, {"window_influence": 0.0}, {"lr": 0.3}, {"context_amount": 0.4}]
)
def test_with_another_setting_it_does_not(
    golden: Any, images: Tensor, changes: dict[str, float]
) -> None:
    box, _ = box_and_score(started(Recorded(golden), golden, images, **changes).step(images[1]))
    assert np.abs(box.numpy() - golden["track_bboxes"][1, :4]).max() > 0.1


@pytest.fixture(scope="module")
def network() -> SiameseModel:
    model = SiamRPNConfig().build()
    entries = json.loads((GOLDEN / "siamrpn_state_dict.json").read_text())
    model.load_state_dict(weights(entries, "sot"))
    return model.eval()


@pytest.mark.slow
def test_every_single_step_of_the_network_equals_the_reference(
    golden: Any, images: Tensor, network: SiameseModel
) -> None:
    tracker = started(network, golden, images)
    for step in STEPS:
        feed(tracker, golden, step)
        box, score = box_and_score(tracker.step(images[step]))
        expected = golden["track_bboxes"][step]
        assert np.abs(box.numpy() - expected[:4]).max() < 1e-3, step
        assert score == pytest.approx(expected[4], abs=1e-5), step
