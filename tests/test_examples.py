"""The examples in precision's docstrings and in ``examples/`` run, and do what they say."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import re
import runpy
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import halftrack
import halftrack.precision
import halftrack.synthetic
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
from halftrack.synthetic import SyntheticVideo
from halftrack.training import TrainingResult


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
Play = Callable[[str], tuple[dict[str, Any], str]]


@pytest.fixture
def play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Play:
    """Runs a script in an empty folder as ``python examples/NAME.py`` does; gives names, output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES[0].parent)
    monkeypatch.delitem(sys.modules, "signals", raising=False)

    def run_script(name: str) -> tuple[dict[str, Any], str]:
        return runpy.run_path(str(EXAMPLES[0].parent / f"{name}.py")), capsys.readouterr().out

    return run_script


@pytest.fixture
def less_video(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts film a single training video, of eight frames."""

    class Short(SyntheticVideo):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given | {"train_videos": 1, "frames": 8})

    monkeypatch.setattr(halftrack.synthetic, "SyntheticVideo", Short)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_scripts_are_read_at_a_glance(example: Path) -> None:
    text = example.read_text()
    compile(text, example.name, "exec")
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_scripts_take_public_names_alone(example: Path) -> None:
    for line in ast.walk(ast.parse(example.read_text())):
        if isinstance(line, ast.ImportFrom) and str(line.module).startswith("halftrack"):
            room = importlib.import_module(str(line.module))
            assert str(line.module).count(".") <= 1
            assert {each.name for each in line.names} <= set(room.__all__)


def test_the_loop_of_ones_own_is_watched_and_mended(play: Play) -> None:
    names, told = play("plain_loop")
    report = names["report"]
    assert {culprit.where for culprit in report.culprits} == {"bands", "head"}
    assert any(culprit.bad_samples for culprit in report.culprits)
    assert "Precision(\"fp16\", keep_fp32=('bands',)).keep_in_fp32(model)" in report.must_change
    assert "It survived 12 steps: nothing must change." in told


@pytest.mark.usefixtures("less_video")
def test_a_recipe_is_trained_scored_and_used_from_python(play: Play) -> None:
    names, told = play("train_from_python")
    assert names["evaluation"].frames == 8
    assert f"8 steps, {names['result'].skipped} of them skipped, loss scale" in told
    assert "\ncoco_ap50        0.0" in told
    assert Path("runs/train_from_python/found.png").is_file()


@pytest.mark.slow
def test_what_is_trained_from_python_finds_its_objects(play: Play) -> None:
    names, told = play("train_from_python")
    assert names["evaluation"].flat()["coco_ap50"] > 0.8
    assert len(names["found"]) > 0
    assert f"{names['found'].scores[0]:.2f} at [" in told


@pytest.mark.usefixtures("less_video")
def test_a_tracker_is_handed_images_in_a_loop(play: Play) -> None:
    names, _ = play("streaming_tracker")
    assert len(names["pictures"]) == 8
    assert Path("runs/streaming_tracker/tracks.gif").is_file()


@pytest.mark.slow
def test_a_tracker_in_a_loop_keeps_identities(play: Play) -> None:
    names, told = play("streaming_tracker")
    assert sum(len(path) == 24 for path in names["seen"].values()) >= 2
    assert "object 0: frames 0 to 23, from" in told


def test_own_pictures_are_samples_and_scored(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def glance(recipe: Any, *, data_root: Path, out: Path) -> TrainingResult:
        source = recipe.training_source(data_root)
        batch = next(source.batches(seed=0, epoch=0))
        assert len(source) == 72
        assert [sorted(frame.labels.tolist()) for frame in batch.frames] == [[0, 1]] * 2
        scores = recipe.scorer(data_root, torch.device("cpu"))(recipe.build_model().eval()).flat()
        return TrainingResult(metrics=scores)

    monkeypatch.setattr(halftrack, "train", glance)
    _, told = play("custom_dataset")
    assert re.fullmatch(r"AP50 0\.0\d after 0 steps\n", told)


@pytest.mark.slow
def test_own_pictures_train_a_recipes_detector(play: Play) -> None:
    names, _ = play("custom_dataset")
    assert names["result"].metrics["coco_ap50"] > 0.6


def test_a_model_of_ones_own_learns_in_half_precision_with_the_named_remedy(play: Play) -> None:
    _, told = play("half_precision_model")
    broken, mended = told.split("\n\n")[:2]
    assert broken.count("skipped: forward mul in energy for loss reached") == 3
    assert "no loss scale helps; keep energy in fp32" in broken
    assert "the step fits at loss scale" in mended
    assert float(mended.rpartition("loss ")[2].partition(" ")[0]) < 0.1


def test_a_parity_study_names_the_first_layer_that_differs(play: Play) -> None:
    _, told = play("parity_study")
    answers = [line.rpartition(": ")[2] for line in told.splitlines()]
    assert answers[:3] == ["none"] * 3
    assert answers[3].startswith("bn1 first, by 0.9")
