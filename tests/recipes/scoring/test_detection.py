"""Samples that are kept from training are scored as the frames of videos are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from halftrack.data import OrderedBatches
from halftrack.frames import Detections, Frame, FrameBatch
from halftrack.recipes import FrameDetectionRecipe, load_recipe, samples_scorer

BOXES = torch.tensor([[4.0, 8.0, 24.0, 32.0], [40.0, 8.0, 60.0, 28.0]])


class Kept(OrderedBatches[Frame, FrameBatch]):
    """Frames of twice the original size, with a box of each class."""

    def __init__(self) -> None:
        super().__init__(num_samples=3, samples_per_batch=1)

    def sample(self, *, seed: int, epoch: int, index: int) -> Frame:
        return Frame(
            image=torch.zeros(3, 64, 96, dtype=torch.uint8),
            sample_id=f"{index}.png",
            scale_xy=(2.0, 2.0),
            boxes_xyxy=BOXES,
            labels=torch.arange(2),
        )

    def collate(self, samples: Sequence[Frame]) -> FrameBatch:
        return FrameBatch(frames=tuple(samples))


class Finder(nn.Module):
    """Finds every first box, in original pixels, and of the second ones only the first."""

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        rows = [2 if frame.sample_id == "0.png" else 1 for frame in frames]
        return [
            Detections(boxes_xyxy=BOXES[:n] / 2, scores=torch.ones(n), labels=torch.arange(n))
            for n in rows
        ]


def test_boxes_count_in_original_pixels_and_by_class() -> None:
    recipe: Any = load_recipe("faster-rcnn_tiny_sample").with_classes(("disc", "square"))
    assert isinstance(recipe, FrameDetectionRecipe)
    told: list[tuple[int, int]] = []
    score = samples_scorer(recipe, Kept(), torch.device("cpu"), lambda *at: told.append(at))
    found = score(Finder())
    assert found.metrics.coco_ap50_per_class == pytest.approx({"disc": 1.0, "square": 34 / 101})
    assert (found.frames, told) == (3, [(1, 3), (2, 3), (3, 3)])
    assert score.facts == {"the training set": {"samples": 3}}


def test_a_label_that_is_no_class_is_named() -> None:
    recipe: Any = load_recipe("faster-rcnn_tiny_sample")
    with pytest.raises(ValueError, match=r"video '0.png'\).* label 1, allowed are 0 to 0"):
        samples_scorer(recipe, Kept(), torch.device("cpu"))(Finder())
