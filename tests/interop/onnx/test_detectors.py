"""Detectors in tensors alone find what the models find, whatever the size of the image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from lively import lively
from torch import Tensor

from halftrack.frames import Detections, Frame
from halftrack.interop.onnx.detectors import Detector, FrameOfVideo, References

SIZES = [(96, 160), (131, 241), (64, 65)]


def image(seed: int, size: tuple[int, int]) -> Tensor:
    coarse = torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(seed)) * 255
    return F.interpolate(coarse, size, mode="bilinear")[0]


def as_frame(pixels: Tensor, name: str = "a") -> Frame:
    return Frame(image=pixels, sample_id=name)


def assert_same(found: tuple[Tensor, ...], expected: Detections) -> None:
    assert len(expected.labels)
    for one, other in zip(
        found, (expected.boxes_xyxy, expected.scores, expected.labels), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_a_detector_s_graph_finds_what_the_model_finds(size: tuple[int, int]) -> None:
    model = lively("faster-rcnn_tiny_sample")
    threshold = torch.tensor(model.config.roi_head.score_threshold)
    pixels = image(1, size)
    assert_same(Detector(model)(pixels, threshold), model.detect(as_frame(pixels)))


@torch.no_grad()
def test_above_a_threshold_that_nothing_reaches_nothing_is_found() -> None:
    model = lively("faster-rcnn_tiny_sample")
    boxes, scores, labels = Detector(model)(image(1, (96, 160)), torch.tensor(1.0))
    assert boxes.shape == (0, 4)
    assert scores.shape == labels.shape == (0,)


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_selsa_s_halves_find_what_a_stream_finds(size: tuple[int, int]) -> None:
    model = lively("selsa_tiny_sample")
    references = [image(seed, size) for seed in (2, 3)]
    pixels = image(1, size)
    model.start([as_frame(each, str(place)) for place, each in enumerate(references)])
    expected = model.detect(as_frame(pixels))
    assert len(set(expected.labels.tolist())) > 1
    lent = zip(*map(References(model), references), strict=True)
    memory = [torch.cat(parts, dim=1) for parts in lent]
    threshold = torch.tensor(model.config.roi_head.score_threshold)
    assert_same(FrameOfVideo(model)(pixels, threshold, *memory), expected)
