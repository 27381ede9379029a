"""A helper for other people's tests fails with the culprit, and only where there is one."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import halftrack
from halftrack.precision import Precision
from halftrack.testing import assert_rehearses_clean


def model(factor: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        net[0].weight.mul_(factor)
    return net


def step(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).square().mean()


def check(net: nn.Module, **how: Any) -> Any:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    return assert_rehearses_clean(step, [torch.ones(3, 4)], model=net, optimizer=optimizer, **how)


def test_a_clean_model_passes_and_gives_its_report() -> None:
    report = check(model(), steps=3)
    assert len(report.steps) == 3
    assert report.must_change == ()


def test_it_fails_with_the_culprit() -> None:
    with pytest.raises(
        AssertionError, match=r"Sequential does not survive 2 steps in fp16"
    ) as told:
        check(model(1e6), steps=2)
    assert "forward cast in 0 for loss" in str(told.value)
    assert "keep 0 in fp32" in str(told.value)


def test_a_scale_that_comes_down_is_no_fault_and_one_that_cannot_is() -> None:
    report = check(model(100.0), steps=12)
    assert any(each.skipped for each in report.steps)
    assert not all(each.skipped for each in report.steps)
    net = model(300.0)
    with pytest.raises(AssertionError, match=r"none of 5 steps was taken: backward .*; rehearse"):
        check(net)
    with pytest.raises(AssertionError, match="loss scale"):
        check(net, precision=Precision("fp16", 2.0**16))


def test_an_island_mends_it() -> None:
    net = nn.Sequential(model(1e6)[0], nn.LayerNorm(8), nn.Linear(8, 2))
    with pytest.raises(AssertionError):
        check(net)
    check(net, precision=Precision("fp16", 1.0, keep_fp32=("0",)))


def test_it_is_there_without_an_import_of_its_own_and_loads_no_torch() -> None:
    used = "import sys, halftrack; halftrack.testing.assert_rehearses_clean"
    code = f"{used}; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"
    assert halftrack.testing is sys.modules["halftrack.testing"]
