from __future__ import annotations

import dataclasses
from types import ModuleType

import pytest

from halftrack.training import TrainingConfig


def test_the_rate_scales_with_the_batches_in_a_step(tiny: ModuleType) -> None:
    config = dataclasses.replace(tiny.SHORT, lr=0.01, published_batches_per_step=8, accumulate=1)
    assert config.scaled_lr == 0.01 / 8
    assert dataclasses.replace(config, accumulate=8).scaled_lr == 0.01
    assert dataclasses.replace(config, scale_lr=False).scaled_lr == 0.01


def test_a_task_has_to_state_its_numbers() -> None:
    with pytest.raises(TypeError, match="'epochs', 'lr', 'momentum', 'weight_decay'"):
        TrainingConfig()


def test_milestones_that_change_nothing_are_refused(tiny: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"milestones=\(1,\) change nothing with .*gamma=1"):
        dataclasses.replace(tiny.SHORT, gamma=1.0)


@pytest.mark.parametrize("other", [{"clips_per_pass": 2}, {"compile": "default"}])
def test_synced_norms_need_equally_many_passes(tiny: ModuleType, other: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="sync_batch_norm=True: all processes must take equally"):
        dataclasses.replace(tiny.SHORT, sync_batch_norm=True, **other)


def test_milestones_out_of_order_are_refused(tiny: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"milestones must increase.*\(5, 2\)"):
        dataclasses.replace(tiny.SHORT, milestones=(5, 2))


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5])
def test_a_decay_of_the_average_that_averages_nothing_is_refused(
    tiny: ModuleType, decay: float
) -> None:
    with pytest.raises(ValueError, match="ema_decay"):
        dataclasses.replace(tiny.SHORT, ema_decay=decay)


def test_a_step_holds_whole_passes(tiny: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"accumulate=4, .*clips_per_pass=3: .* multiple of"):
        dataclasses.replace(tiny.SHORT, accumulate=4, clips_per_pass=3)
    for clips, accumulates in ((1, True), (2, True), (4, False)):
        config = dataclasses.replace(tiny.SHORT, accumulate=4, clips_per_pass=clips)
        assert config.accumulates == accumulates
