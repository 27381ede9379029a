"""Pairs of runs are trained once, kept, resumed, and told in the words that their figures bear."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from halftrack.recipes import Recipe, SingleObjectRecipe, TrainedRecipe, load_recipe, override
from halftrack.studies import parity as parity_module
from halftrack.studies.finished import FinishedRun
from halftrack.studies.parity import Parity, run_parity
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import TrainingResult, read_checkpoint

VERSIONS = {"halftrack": "0.1.0", "torch": "2.14", "python": "3.11", "git": "abc"}
Scores = dict[str, Sequence[float]]


def recipe(name: str = "selsa_tiny_sample") -> TrainedRecipe:
    found = load_recipe(name)
    assert isinstance(found, TrainedRecipe)
    return found


class Trainer:
    """Stands for ``train``: writes the log of a run that scores as it was told."""

    def __init__(self, scores: Scores) -> None:
        self.scores = scores
        self.calls: list[str] = []
        self.interrupt_at: str | None = None

    def __call__(self, recipe: TrainedRecipe, *, out: Path, seed: int, **_: Any) -> TrainingResult:
        self.calls.append(out.name)
        out.mkdir(parents=True, exist_ok=True)
        meta = {"mode": "meta", "recipe": recipe.to_dict(), "seed": seed, "device": "cpu"}
        train = {"mode": "train", "loss": 1.0, "grad_norm": 2.0, "loss_scale": 512.0}
        rows = [
            meta | {"versions": VERSIONS},
            train | {"step": 1, "skipped": True},
            train | {"step": 2, "skipped": 1},
        ]
        if out.name != self.interrupt_at:
            score = {recipe.training.best_metric: self.scores[recipe.precision.name][seed]}
            last = {"mode": "val", "epoch": recipe.training.epochs, "iter": 2, "step": 2}
            rows.append(last | score | {"voc_ap50_slow": "nan"})
        log = out / "log.jsonl"
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return TrainingResult(interrupted=15 if out.name == self.interrupt_at else None)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scores], Trainer]:
    def make(scores: Scores) -> Trainer:
        made = Trainer(scores)
        monkeypatch.setattr(parity_module, "train", made)
        for kind in (TrainedRecipe, SingleObjectRecipe):
            monkeypatch.setattr(kind, "validator", lambda *_: lambda _: None)
        return made

    return make


def compare(out: Path, seeds: int, chosen: Recipe | None = None, **more: Any) -> Parity:
    told = {"console": Console(quiet=True), "data_root": "nowhere"} | more
    return run_parity(chosen or recipe(), out=out, seeds=seeds, **told)


def test_finished_runs_are_read_and_interrupted_ones_resumed(trainer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train = trainer({"fp32": (0.9, 0.91, 0.92), "fp16": (0.9, 0.91, 0.92)})
    train.interrupt_at = "seed_1_fp16"
    stopped = compare(out, 2)
    assert stopped.interrupted == 15
    assert len(stopped.pairs) == 1
    assert json.loads((out / "parity.json").read_text())["runs"][1]["precision"] == "fp16"
    train.interrupt_at = None
    found = compare(out, 3)
    assert found.interrupted is None
    assert train.calls == [
        "seed_0_fp32",
        "seed_0_fp16",
        "seed_1_fp32",
        "seed_1_fp16",
        "seed_1_fp16",
        "seed_2_fp32",
        "seed_2_fp16",
    ]
    assert [run.seed for pair in found.pairs for run in pair] == [0, 0, 1, 1, 2, 2]


def test_the_table_so_far_is_shown_after_each_pair_and_everything_is_written(
    trainer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    trainer({"fp32": (0.9, 0.8), "bf16": (0.895, 0.803)})
    console = Console(file=io.StringIO(), width=120)
    found = compare(out, 2, precision="bf16", console=console)
    shown = console.file.getvalue()
    assert shown.count("difference") == 2
    assert shown.count("-0.50") == 2
    assert "1 of 2" in shown
    told = json.loads((out / "parity.json").read_text(), parse_constant=pytest.fail)
    assert [run["score"] for run in told["runs"]] == [0.9, 0.895, 0.8, 0.803]
    assert told["runs"][0]["metrics"] == {"coco_ap50": 0.9, "voc_ap50_slow": None}
    assert told["runs"][0]["versions"] == VERSIONS
    assert told["recipe"]["name"] == "selsa_tiny_sample"
    assert told["verdict"] == found.verdict
    assert (told["point"], told["margin"]) == (0.01, 1.0)
    assert told["equivalence"]["mean"] == pytest.approx(-0.1)
    rows = list(csv.DictReader((out / "parity.csv").read_text().splitlines()))
    assert [(row["fp32"], row["bf16"], row["skipped"]) for row in rows] == [
        ("0.9", "0.895", "1"),
        ("0.8", "0.803", "1"),
    ]
    with Image.open(out / "parity.png") as picture:
        assert picture.width > 800


def test_tf32_can_be_what_is_compared_with(trainer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train = trainer({"tf32": (0.5, 0.6), "fp16": (0.5, 0.6)})
    found = compare(out, 2, baseline="tf32")
    assert train.calls[:2] == ["seed_0_tf32", "seed_0_fp16"]
    assert found.verdict.startswith("fp16 is as good as tf32 within 1.0 point")
    assert json.loads((out / "parity.json").read_text())["baseline"] == "tf32"
    assert list(found.rows()[0])[1:3] == ["tf32", "fp16"]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        (
            (-0.1, -0.5, 0.0, -0.3, -0.1),
            "fp16 is as good as fp32 within 1.0 point: mean difference -0.20 (90% interval -0.39 "
            "to -0.01, p < 0.001, 5 seeds)",
        ),
        (
            (-0.6, -0.2, 0.8, 0.5),
            "fp16 is as good as fp32 within 1.0 point: mean difference +0.12 (90% interval -0.63 "
            "to +0.88, p = 0.036, 4 seeds)",
        ),
        (
            (-2.0, 1.5, 0.3),
            "not shown that fp16 is as good as fp32 within 1.0 point: mean difference -0.07 (90% "
            "interval -3.07 to +2.93, 3 seeds); about 30 seeds would show it if there is no "
            "difference",
        ),
        (
            (-0.9, -1.2, -0.8),
            "not shown that fp16 is as good as fp32 within 1.0 point: mean difference -0.97 (90% "
            "interval -1.32 to -0.62, 3 seeds); as many as these would mostly have shown it if "
            "there were no difference",
        ),
        (
            (-4.0, -3.5, -4.2),
            "fp16 is worse than fp32 by more than 1.0 point: mean difference -3.90 (90% interval "
            "-4.51 to -3.29, 3 seeds)",
        ),
        (
            (4.0, 3.5, 4.2),
            "fp16 is better than fp32 by more than 1.0 point: mean difference +3.90 (90% interval "
            "+3.29 to +4.51, 3 seeds)",
        ),
        (
            (-0.3,),
            "nothing can be said of one pair: fp16 minus fp32 is -0.30 points, and runs differ by "
            "chance; two seeds are the least",
        ),
    ],
    ids=["as good", "just", "noise", "at the margin", "worse", "better", "one"],
)
def test_the_verdict_says_what_the_figures_bear(differences: Sequence[float], verdict: str) -> None:
    fp32 = FinishedRun(
        log=Path("log.jsonl"),
        seed=0,
        precision="fp32",
        score=0.5,
        metrics={},
        steps=1,
        skipped=0,
        device="cpu",
        versions={},
    )
    pairs = tuple((fp32, replace(fp32, score=0.5 + each / 100)) for each in differences)
    found = Parity(recipe=recipe(), precision="fp16", margin=1.0, pairs=pairs)
    assert found.verdict == verdict


def test_a_point_of_a_metric_in_percent_is_one(trainer, tmp_path: Path) -> None:
    trainer({"fp32": (50.0, 51.0), "fp16": (50.5, 51.4)})
    found = compare(tmp_path / "out", 2, recipe("siamese_rpn_tiny_sample"), margin=2)
    assert found.rows()[0]["difference"] == "+0.50"
    assert "within 2.0 points: mean difference +0.45" in found.verdict
    assert found.notes()[0] == "success at the end of training, in points of 1; margin 2 either way"


def test_the_last_evaluation_counts_not_an_earlier_one(trainer, tmp_path: Path) -> None:
    train = trainer({"fp32": (0.5,), "fp16": (0.6,)})
    chosen, out = recipe(), tmp_path / "out"
    train(chosen, out=out / "seed_0_fp32", seed=0)
    log = out / "seed_0_fp32" / "log.jsonl"
    last = f'"epoch": {chosen.training.epochs},'
    log.write_text(log.read_text().replace(last, '"epoch": 1,'))
    compare(out, 1, chosen)
    assert train.calls[1] == "seed_0_fp32"


def test_runs_of_another_recipe_are_refused_and_what_decides_nothing_may_change(
    trainer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train = trainer({"fp32": (0.5, 0.5), "fp16": (0.6, 0.6)})
    compare(out, 1)
    compare(out, 1, override(recipe(), ["training.workers=0"]))
    assert len(train.calls) == 2
    with pytest.raises(ValueError, match=r"seed_0_fp32.*is of another recipe: training.lr was"):
        compare(out, 1, override(recipe(), ["training.lr=0.5"]))
    (out / "seed_0_fp32").rename(out / "seed_1_fp32")
    with pytest.raises(ValueError, match="trained with seed 0, this run has 1"):
        compare(out, 2)


def test_runs_on_different_versions_are_told(trainer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    trainer({"fp32": (0.5,), "fp16": (0.6,)})
    assert len(compare(out, 1).notes()) == 1
    log = out / "seed_0_fp32" / "log.jsonl"
    log.write_text(log.read_text().replace('"2.14"', '"2.13"'))
    (line,) = compare(out, 1).notes()[1:]
    assert line.startswith("the runs differ in versions: ")


def test_a_score_that_is_no_number_is_an_error(trainer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    trainer({"fp32": ("nan",), "fp16": (0.5,)})
    with pytest.raises(ValueError, match=r"seed_0_fp32.*coco_ap50 is nan at the end"):
        compare(out, 1)


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("selsa_tiny_sample", {"seeds": 0}, "seeds=0: expected at least 1"),
        ("selsa_tiny_sample", {"margin": 0.0}, "margin=0.0: expected points above 0"),
        ("selsa_tiny_sample", {"precision": "fp32"}, "choose tf32, bf16 or fp16"),
        (
            "selsa_tiny_sample",
            {"precision": "tf32", "baseline": "tf32"},
            "'tf32' cannot be compared with tf32; choose bf16 or fp16",
        ),
        ("selsa_tiny_sample", {"baseline": "bf16"}, "baseline 'bf16' is not one of fp32, tf32"),
        ("selsa_tiny_sample", {"precision": "fp8"}, "'fp8' is not one of fp32, tf32, bf16, fp16"),
        (
            "tracktor_tiny_sample",
            {},
            "trained parts, faster-rcnn_tiny_sample and reid_tiny_sample",
        ),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_trained(
    trainer, tmp_path: Path, name: str, more: dict[str, Any], message: str
) -> None:
    train = trainer({})
    with pytest.raises(ValueError, match=message):
        compare(tmp_path / "out", **{"seeds": 1, "chosen": load_recipe(name)} | more)
    assert not train.calls


def test_a_recipe_without_ground_truth_is_refused(
    trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = trainer({})
    monkeypatch.setattr(TrainedRecipe, "validator", lambda *_: None)
    with pytest.raises(ValueError, match="not scored while it trains: nothing to compare"):
        compare(tmp_path / "out", 1)
    assert not train.calls


@pytest.mark.slow
def test_real_pairs_start_alike_and_differ_in_arithmetic_alone(tmp_path: Path) -> None:
    settings = SyntheticVideo(layout="mot", train_videos=2, val_videos=1, frames=8)
    data_root = write_synthetic(tmp_path / "data", settings)
    few = ("max_crops=2", "min_crops=1", "identities_per_batch=3", "crops_per_identity=2")
    fields = [f"data.{each}" for each in few] + ["training.workers=0", "training.log_every=1"]
    chosen, out = override(recipe("reid_tiny_sample"), fields), tmp_path / "out"
    found = compare(out, 2, chosen, data_root=data_root)
    assert len(found.pairs) == 2
    for fp32, fp16 in found.pairs:
        assert fp32.steps == fp16.steps > 0
        records = [
            [json.loads(line) for line in run.log.read_text().splitlines()] for run in (fp32, fp16)
        ]
        first, half = (next(r for r in rows if "loss" in r)["loss"] for rows in records)
        assert first != half
        assert first == pytest.approx(half, rel=0.01)
    assert compare(out, 2, chosen, data_root=data_root) == found
    assert read_checkpoint(out / "seed_1_fp16" / "best.pth")["meta"]["seed"] == 1
