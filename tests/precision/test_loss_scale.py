"""Loss scales: growth, back-off, bounds, and states that survive a restart."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import pytest
import torch

from halftrack.precision import (
    DynamicLossScale,
    LossScale,
    NoLossScale,
    Precision,
    StaticLossScale,
)
from halftrack.precision.loss_scale import scale_words


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


def test_fp16_by_name_scales_dynamically() -> None:
    assert Precision.named("fp16").loss_scale == "dynamic"
    assert isinstance(Precision.named("bf16").new_loss_scale(), NoLossScale)


SCALES = (NoLossScale, lambda: StaticLossScale(512.0), DynamicLossScale)


@pytest.mark.parametrize(
    ("make", "value", "skips_steps", "exhausted"),
    [
        (NoLossScale, 1.0, False, True),
        (lambda: StaticLossScale(512.0), 512.0, True, False),
        (lambda: StaticLossScale(1.5), 1.5, True, False),
        (lambda: StaticLossScale(1.0), 1.0, True, True),
        (lambda: StaticLossScale(0.5), 0.5, True, True),
        (DynamicLossScale, 65536.0, True, False),
        (lambda: DynamicLossScale(initial=1.5), 1.5, True, False),
        (lambda: DynamicLossScale(initial=1.0), 1.0, True, True),
    ],
)
def test_a_new_scale_says_what_an_overflow_at_it_means(
    make: Callable[[], LossScale], value: float, skips_steps: bool, exhausted: bool
) -> None:
    scale = make()
    assert (scale.value, scale.skips_steps, scale.exhausted) == (value, skips_steps, exhausted)
    assert scale.consecutive_skips == 0
    assert scale.scale(torch.tensor(3.0)).item() == 3.0 * value


@pytest.mark.parametrize("make", SCALES[1:])
def test_skips_in_a_row_are_counted_until_a_step_is_taken(make: Callable[[], LossScale]) -> None:
    scale = make()
    counts = []
    for found_inf in (True, True, False, True):
        scale.update(found_inf=found_inf)
        counts.append(scale.consecutive_skips)
    assert counts == [1, 2, 0, 1]


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_a_scale_that_is_not_positive_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="a loss scale must be positive, got"):
        StaticLossScale(value)


@pytest.mark.parametrize(
    ("initial", "bounds"), [(0.5, (1.0, 2.0)), (4.0, (1.0, 2.0)), (1.0, (0.0, 2.0))]
)
def test_a_first_scale_outside_its_bounds_is_refused(
    initial: float, bounds: tuple[float, float]
) -> None:
    with pytest.raises(ValueError, match=f"initial loss scale {initial} lies outside"):
        DynamicLossScale(initial=initial, bounds=bounds)


def test_only_clean_steps_in_a_row_let_the_scale_grow() -> None:
    scale = DynamicLossScale(initial=8.0, growth_interval=3)
    values = []
    for found_inf in (False, False, True, *[False] * 6):
        scale.update(found_inf=found_inf)
        values.append(scale.value)
    assert values == [8.0, 8.0, 4.0, 4.0, 4.0, 8.0, 8.0, 8.0, 16.0]


def test_the_scale_changes_by_the_factors_given() -> None:
    scale = DynamicLossScale(initial=100.0, growth=3.0, backoff=0.1, growth_interval=1)
    scale.update(found_inf=True)
    assert scale.value == 10.0
    scale.update(found_inf=False)
    assert scale.value == 30.0


@pytest.mark.parametrize("make", SCALES)
def test_every_state_gives_the_same_state_again(make: Callable[[], LossScale]) -> None:
    scale, twin = make(), make()
    for found_inf in (False, True, False, True, True):
        scale.update(found_inf=found_inf)
    twin.load_state_dict(scale.state_dict())
    assert vars(twin) == vars(scale)
    assert twin.state_dict() == scale.state_dict()


def test_a_static_scale_takes_the_value_of_its_state() -> None:
    scale = StaticLossScale(512.0)
    scale.load_state_dict(StaticLossScale(64.0).state_dict())
    assert scale.value == 64.0


@pytest.mark.parametrize("make", SCALES)
@pytest.mark.parametrize("other", SCALES)
def test_only_a_state_of_its_own_kind_is_taken(
    make: Callable[[], LossScale], other: Callable[[], LossScale]
) -> None:
    scale, state = make(), other().state_dict()
    if type(scale) is type(other()):
        scale.load_state_dict(state)
        return
    with pytest.raises(ValueError, match=f"the state is of kind '{state['kind']}'"):
        scale.load_state_dict(state)


def test_a_grad_scalers_factors_and_count_are_taken_over() -> None:
    scaler = torch.amp.GradScaler(
        "cpu", init_scale=1024.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=9
    )
    state = scaler.state_dict() | {"_growth_tracker": 7}
    scale = DynamicLossScale()
    scale.update(found_inf=True)
    scale.load_state_dict(state)
    assert scale.consecutive_skips == 0
    scale.update(found_inf=False)
    assert scale.value == 1024.0
    scale.update(found_inf=False)
    assert scale.value == 4096.0
    twin = DynamicLossScale()
    twin.load_state_dict(scale.state_dict())  # as a run that is resumed
    for each in (scale, twin):
        each.update(found_inf=True)
        assert each.value == 1024.0
    assert vars(twin) == vars(scale)


def test_a_state_of_an_earlier_version_moves_as_usual() -> None:
    scale = DynamicLossScale(initial=64.0)
    scale.load_state_dict({"kind": "dynamic", "scale": 8.0, "clean_steps": 1999, "skips": 0})
    scale.update(found_inf=False)
    assert scale.value == 16.0


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (1, "1"),
        (2.0**17, "131072"),
        (2.0**20 + 1, "1048577"),
        (2.0**53, "9007199254740992"),
        (2.0**60, "1.152921504606847e+18"),
        (0.1, "0.1"),
        (2.0**-20, "9.5367431640625e-07"),
        (0.0, "0"),
        (math.inf, "inf"),
    ],
)
def test_the_words_of_a_scale_give_it_back(scale: float, words: str) -> None:
    assert scale_words(scale) == words
    assert float(words) == scale
