"""Other tools get the numbers of the log, each once; stand-ins record what they are told."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from logged import EVALUATED, META, trained, write_run

from halftrack.errors import UserError
from halftrack.studies.following.exporters import (
    Exporter,
    TensorBoard,
    WeightsAndBiases,
    check_package,
    new_lines,
)
from halftrack.studies.following.run import FollowedRun, read_run


@pytest.fixture
def run(tmp_path: Path) -> FollowedRun:
    return read_run(write_run(tmp_path / "run", META, trained(20), EVALUATED))


class _Told:
    """A stand-in for both tools."""

    def __init__(self) -> None:
        self.numbers: list[tuple[str, float, int]] = []
        self.settings: Any = None
        self.closed = False

    def add_text(self, name: str, text: str) -> None:
        self.settings = text

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.numbers.append((name, value, step))

    def log(self, values: dict[str, float], step: int) -> None:
        self.numbers += [(name, value, step) for name, value in values.items()]

    def close(self) -> None:
        self.closed = True

    finish = close


@pytest.mark.parametrize("tool", ["tensorboard", "wandb"])
def test_the_numbers_of_the_log_are_handed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: FollowedRun, tool: str
) -> None:
    told, asked = _Told(), []

    def begin(*given: Any, **named: Any) -> _Told:
        asked.append((given, named))
        told.settings = named.get("config")
        return told

    module = SimpleNamespace(SummaryWriter=begin, init=begin)
    name = "torch.utils.tensorboard" if tool == "tensorboard" else "wandb"
    monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    exporter: Exporter
    if tool == "tensorboard":
        exporter = TensorBoard(tmp_path / "events", run)
        assert asked == [((str(tmp_path / "events"),), {})]
        assert "training.lr: 0.1" in told.settings
    else:
        exporter = WeightsAndBiases("mine", run)
        named = {"project": "mine", "name": "run", "config": run.settings()}
        assert asked == [((), named)]
    for line in run.log.lines:
        exporter.send(line)
    exporter.close()
    assert ("train/loss", 1.8, 20) in told.numbers
    assert ("val/ap50", 0.5, 20) in told.numbers
    assert len(told.numbers) == sum(len(line.values) for line in run.log.lines)
    assert told.closed


def test_each_line_is_given_once_also_after_a_resume(tmp_path: Path) -> None:
    new = new_lines()

    def seen(*steps: int) -> list[float]:
        records = [trained(step) for step in steps]
        return [line.step for line in new(read_run(write_run(tmp_path / "run", META, *records)))]

    assert seen(1, 2) == [1, 2]
    assert seen(1, 2) == []
    assert seen(1) == []  # cut back to its checkpoint
    assert seen(1, 2, 3) == [3]


def test_a_missing_package_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"--wandb needs wandb: install with `pip install halftrack\[wandb\]`"
    ):
        check_package("--wandb", "wandb")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    check_package("--wandb", "wandb")
