"""Ranges of steps add up, survive JSON, and tell which updates half weights would lose."""

from __future__ import annotations

import json

import pytest
import torch

from halftrack.precision import Histogram, Ranges


def seen(*values: float) -> Histogram:
    return Histogram.of(torch.tensor(values))


def test_lost_updates_are_of_half_weights() -> None:
    ranges = Ranges(update_ratios={"fc": seen(2.0**9, 2.0**12, 1.0, torch.inf)})
    assert ranges.lost_updates(torch.float16) == {"fc": 0.5}
    assert ranges.lost_updates(torch.bfloat16) == {"fc": 0.75}
    with pytest.raises(ValueError, match=r"torch\.float16, torch\.bfloat16, got torch\.float32"):
        ranges.lost_updates(torch.float32)


def test_two_steps_add_up_and_json_gives_them_back() -> None:
    first = Ranges(activations={"fc": seen(1.0)}, weight_gradients={"fc": seen(0.5)})
    second = Ranges(activation_gradients={"fc": seen(0.25, 0.0)}, activations={"": seen(70000.0)})
    both = first + second
    assert both.gradients["fc"] == seen(0.5) + seen(0.25, 0.0)
    assert both.near_overflow() == {"": -1}
    assert Ranges.from_dict(json.loads(json.dumps(both.to_dict()))) == both
