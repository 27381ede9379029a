"""The examples in precision's docstrings and in ``examples/`` run, and do what they say."""

from __future__ import annotations

import copy
import inspect
import runpy
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import halftrack.precision
from halftrack.precision import (
    DynamicLossScale,
    Histogram,
    LiveBytes,
    LossScaleAdvice,
    Precision,
    RangeMeter,
    ShapesOnly,
    find_culprit,
    find_islands,
    fp32_island,
    optimizer_step,
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, batch: Any) -> Tensor:
        return self.head(self.trunk(batch.images).relu()).float().square().mean()


def names(value: float = 1.0) -> dict[str, Any]:
    """What an example may name: the room's public names, a model and what moves it."""
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    batch = SimpleNamespace(images=torch.full((2, 4), value), sample_ids=("a", "b"))
    precision = Precision("fp16", 2.0)
    return {
        **{name: getattr(halftrack.precision, name) for name in halftrack.precision.__all__},
        "Tensor": Tensor,
        "batch": batch,
        "copy": copy,
        "device": "cpu",
        "loss": model(batch),
        "loss_scale": precision.new_loss_scale(),
        "model": model,
        "optimizer": optimizer,
        "precision": precision,
        "schedule": torch.optim.lr_scheduler.StepLR(optimizer, 1),
        "torch": torch,
    }


def run(documented: Any, where: dict[str, Any]) -> dict[str, Any]:
    """Execute the indented block behind ``::`` in a docstring."""
    lines = inspect.getdoc(documented).partition("::\n")[2].splitlines()[1:]
    end = next((i for i, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    exec(textwrap.dedent("\n".join(lines[:end])), where)
    return where


def test_precision_trains_a_step() -> None:
    after = run(Precision, names())
    assert not after["report"].skipped
    assert after["report"].grad_norm > 0
    with after["precision"].inference("cpu"):
        assert after["model"].head(torch.ones(1, 4)).dtype == torch.float32


def test_optimizer_step_moves_the_schedule_with_the_weights() -> None:
    after = run(optimizer_step, names())
    assert not after["report"].skipped
    assert after["schedule"].last_epoch == 1


def test_find_culprit_names_what_overflowed(capsys: Any) -> None:
    where = names(1e5)
    with where["precision"].arithmetic("cpu"):
        with where["precision"].autocast("cpu"):
            loss = where["model"](where["batch"])
        where["loss_scale"].scale(loss).backward()
    assert run(find_culprit, where)["report"].skipped
    assert "forward cast in trunk for loss reached 1e+05" in capsys.readouterr().out


def test_the_range_meter_advises_a_loss_scale(capsys: Any) -> None:
    after = run(RangeMeter, names())
    assert isinstance(after["meter"].ranges.gradients["head"].total, int)
    safe = LossScaleAdvice(after["meter"].ranges.gradients).safe
    assert capsys.readouterr().out == f"{{}} {safe}\n"
    recommended = run(LossScaleAdvice, after)["advice"].recommended
    assert capsys.readouterr().out.startswith(f"{recommended} 0.")


def test_a_loss_scale_of_ones_own_is_stepped_with() -> None:
    after = run(DynamicLossScale, names())
    assert after["report"].loss_scale == after["loss_scale"].value == 1024.0


def test_meters_and_searches_print_what_they_say(capsys: Any) -> None:
    run(Histogram, names())
    run(ShapesOnly, names())
    run(find_islands, names(1e5))
    assert capsys.readouterr().out.splitlines() == [
        "{0: 2, 1: 1} 1",
        "torch.Size([2, 1000000])",
        "precision.keep_fp32=('trunk',)",
    ]
    assert run(LiveBytes, names())["meter"].peak > 0


def test_an_island_computes_in_fp32() -> None:
    distances = run(fp32_island, names())["distances"]
    half = torch.full((1, 2), 300.0, dtype=torch.float16)
    assert distances(half, -half).item() == 720000.0


EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_scripts_are_read_at_a_glance(example: Path) -> None:
    text = example.read_text()
    compile(text, example.name, "exec")
    assert len(text.splitlines()) <= 60


def test_the_loop_of_ones_own_is_watched_and_mended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = EXAMPLES[0].parent
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "signals", raising=False)
    report = runpy.run_path(str(folder / "plain_loop.py"))["report"]
    assert {culprit.where for culprit in report.culprits} == {"bands", "head"}
    assert any(culprit.bad_samples for culprit in report.culprits)
    assert "Precision(\"fp16\", keep_fp32=('bands',)).keep_in_fp32(model)" in report.must_change
    assert "It survived 12 steps: nothing must change." in capsys.readouterr().out
