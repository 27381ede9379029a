"""Loss scales: growth, back-off, bounds, and states that survive a restart."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from halftrack.precision import DynamicLossScale, NoLossScale, Precision, StaticLossScale


def test_the_dynamic_scale_doubles_after_2000_clean_steps_and_halves_on_overflow() -> None:
    scale = DynamicLossScale()
    for _ in range(1999):
        scale.update(found_inf=False)
    assert scale.value == 65536.0
    scale.update(found_inf=False)
    assert scale.value == 131072.0
    scale.update(found_inf=True)
    assert scale.value == 65536.0


def test_the_dynamic_scale_stays_within_its_bounds() -> None:
    scale = DynamicLossScale(growth_interval=1)
    for _ in range(40):
        scale.update(found_inf=False)
    assert scale.value == 2.0**24
    for _ in range(150):
        scale.update(found_inf=True)
    assert scale.value == 1.0
    assert scale.exhausted


def test_states_round_trip() -> None:
    scale = DynamicLossScale(growth_interval=3)
    for found_inf in (True, False, False):
        scale.update(found_inf=found_inf)
    twin = DynamicLossScale(growth_interval=3)
    twin.load_state_dict(scale.state_dict())
    scale.update(found_inf=False)
    twin.update(found_inf=False)
    assert twin.value == scale.value == 65536.0


@pytest.mark.parametrize(
    ("given", "expected"), [(0.0, 1.0), (2.0**30, 2.0**24), (math.nan, 1.0), (1024.0, 1024.0)]
)
def test_a_grad_scaler_state_is_taken_over_within_the_bounds(
    given: float, expected: float, caplog: pytest.LogCaptureFixture
) -> None:
    state = torch.amp.GradScaler("cpu", init_scale=1024.0).state_dict() | {"scale": given}
    scale = DynamicLossScale()
    with caplog.at_level(logging.WARNING):
        scale.load_state_dict(state)
    assert scale.value == expected
    assert bool(caplog.records) == (given != expected)


def test_the_state_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="this run has a static loss scale"):
        StaticLossScale(512.0).load_state_dict(NoLossScale().state_dict())


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("fp8", None, "'fp8' is not one of fp32, bf16, fp16"),
        ("bf16", 512.0, "only fp16 needs a loss scale"),
        ("fp16", -1.0, "not None, a positive number or 'dynamic'"),
        ("fp16", "static", "not None, a positive number or 'dynamic'"),
    ],
)
def test_a_precision_that_cannot_be_is_refused(name: str, scale: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Precision(name, scale)


def test_fp16_by_name_scales_dynamically() -> None:
    assert Precision.named("fp16").loss_scale == "dynamic"
    assert isinstance(Precision.named("bf16").new_loss_scale(), NoLossScale)
