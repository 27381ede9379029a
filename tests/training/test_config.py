from __future__ import annotations

import dataclasses
from types import ModuleType


def test_the_rate_scales_with_the_batches_in_a_step(tiny: ModuleType) -> None:
    config = dataclasses.replace(tiny.SHORT, lr=0.01, published_batches_per_step=8, accumulate=1)
    assert config.scaled_lr == 0.01 / 8
    assert dataclasses.replace(config, accumulate=8).scaled_lr == 0.01
    assert dataclasses.replace(config, scale_lr=False).scaled_lr == 0.01
