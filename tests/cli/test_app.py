"""The command line from synthetic video to scores."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pytest
import torch

from halftrack.recipes import RECIPES, load_recipe, override
from halftrack.studies.memory.step import predicted_step
from halftrack.training.files.bundle import seal_bundle

TINY = "selsa_tiny_sample"


def test_sample_check_train_and_eval_follow_on_each_other(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    size = ("--train-videos", 1, "--val-videos", 1, "--frames", 8)
    assert halftrack("data", "synthetic", data, *size) == 0
    assert halftrack("data", "check", TINY, "--data-root", data, "--decode") == 0
    assert "all is well" in capsys.readouterr().out
    short = ("--set", "training.epochs=1", "--set", "training.workers=0")
    train = ("train", TINY, "--data-root", data, "--out", out, "--precision", "fp16", *short)
    assert halftrack(*train) == 0
    assert "loss scale" in capsys.readouterr().out
    bundle = out / "skipped/step_1"
    assert halftrack("replay", bundle) == 0
    assert "the same as recorded" in capsys.readouterr().out
    recorded = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(recorded.replace('"kind": "overflow"', '"kind": "NaN"'))
    seal_bundle(bundle)
    assert halftrack("replay", bundle) == 3
    assert "recorded: backward" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for root in ((), ("--data-root", tmp_path / "typo")):
        assert halftrack("train", TINY, *root, "--out", out, "--precision", "fp16", *short) == 0
        assert "holds this run, and it is finished" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    best = out / "best.pth"
    assert halftrack("eval", TINY, "--data-root", data, "--checkpoint", best, "--batch", 3) == 0
    told = capsys.readouterr().out
    assert "box AP@50" in told
    assert "AP50 by class" in told
    scores = json.loads((out / "eval.json").read_text(), parse_constant=pytest.fail)
    assert set(scores["coco_ap50_per_class"]) == {"disc", "kite", "crate", "ring"}
    assert (out / "eval.csv").read_text().startswith("Method,Backbone,Style,Lr schd,Mem (GB)")


def test_detector_reid_and_tracker_follow_on_each_other(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    size = ("--train-videos", 2, "--val-videos", 1, "--frames", 8)
    assert halftrack("data", "synthetic", data, "--layout", "mot", *size) == 0
    short = ("--set", "training.epochs=1", "--set", "training.milestones=()")
    short += ("--set", "training.workers=0")
    few = ("max_crops=2", "min_crops=1", "identities_per_batch=3", "crops_per_identity=2")
    crops = tuple(word for each in few for word in ("--set", f"data.{each}"))
    files = []
    for name, more in (("faster-rcnn", ()), ("reid", crops)):
        recipe, out = f"{name}_tiny_sample", tmp_path / name
        assert halftrack("data", "check", recipe, "--data-root", data, "--decode", *more) == 0
        assert halftrack("train", recipe, "--data-root", data, "--out", out, *short, *more) == 0
        files.append(out / "best.pth")
    told = capsys.readouterr().out
    assert "MOT17 train: 2 videos, 16 frames, 16 key frames" in told
    assert "left out: 0 objects with flag 0, 8 people hard to judge" in told
    assert "of individuals" in told
    for recipe, file, column in zip(
        ("faster-rcnn_tiny_sample", "reid_tiny_sample"), files, ("box AP@50", "mAP"), strict=True
    ):
        more = crops if "reid" in recipe else ()
        score = ("eval", recipe, "--data-root", data, "--checkpoint", file, *more)
        assert halftrack(*score) == 0
        assert column in capsys.readouterr().out
    parts = ("--detector", files[0], "--reid", files[1], "--precision", "fp16")
    tracker, out = "tracktor_tiny_sample", tmp_path / "tracked"
    assert halftrack("eval", tracker, "--data-root", data, *parts, "--out", out) == 0
    told = capsys.readouterr().out
    assert "IDF1" in told
    assert "COMBINED" in told
    (sequence,) = (data / "MOT17/test").iterdir()
    assert (out / "sequences.csv").read_text().startswith("Sequence,MOTA")
    assert json.loads((out / "eval.json").read_text())["by_sequence"]
    (out / "results" / f"{sequence.name}.txt").write_text("1,1,5,5,20,20,1,-1,-1,-1\n")
    score = ("eval", tracker, "--data-root", data, "--results", out / "results")
    assert halftrack(*score) == 0
    checked = ("data", "check", tracker, "--data-root", data, "--results", out / "results")
    capsys.readouterr()
    assert halftrack(*checked) == 0
    assert f"results in {out / 'results'}: 8 frames" in capsys.readouterr().out
    (out / "results" / f"{sequence.name}.txt").write_text("1,1,5,5,20\n")
    assert halftrack(*checked) == 3
    assert "has 5 columns, expected 7 to 10" in capsys.readouterr().out
    (data / "MOT17/train/MOT17-60-FRCNN/gt/gt.txt").unlink()
    assert halftrack("data", "check", "faster-rcnn_tiny_sample", "--data-root", data) == 3
    assert "gt.txt: ground truth is missing" in capsys.readouterr().out
    film = ("track", sequence, "--recipe", tracker, *parts[:4], "--out", out, "--batch", 3)
    assert halftrack(*film) == 0
    assert "tracks in 8 frames" in capsys.readouterr().out
    assert len((out / f"{sequence.name}.jsonl").read_text().splitlines()) == 8
    assert (out / f"{sequence.name}.mp4").stat().st_size > 1000


def test_following_one_object_leaves_scores_curves_and_files_that_score_alike(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out, recipe = tmp_path / "data", tmp_path / "run", "siamese_rpn_tiny_sample"
    size = ("--train-videos", 1, "--val-videos", 1, "--frames", 8)
    assert halftrack("data", "synthetic", data, "--layout", "sot", *size) == 0
    weights = out / "best.pth"
    out.mkdir()
    # A norm that keeps features in range without any training.
    norm = ("--set", "model.backbone.norm=group")
    untrained = override(load_recipe(recipe), norm[1:]).build_model()
    torch.save({"state_dict": untrained.state_dict()}, weights)
    there = ("--data-root", data, "--checkpoint", weights)
    assert halftrack("eval", recipe, *there, *norm) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("Norm precision", "MEAN", "By rule", "official"))
    (sequence,) = (data / "LaSOTBenchmark/testing_set.txt").read_text().split()
    assert len((out / "results" / f"{sequence}.txt").read_text().splitlines()) == 8
    assert (out / "success.png").is_file()
    scores = json.loads((out / "eval.json").read_text(), parse_constant=pytest.fail)
    assert set(scores["by_sequence"]) == {sequence}

    files = ("eval", recipe, "--data-root", data, "--results", out / "results")
    assert halftrack(*files, "--out", tmp_path / "again", "--set", "rule=official") == 0
    again = json.loads((tmp_path / "again/eval.json").read_text())
    assert again["rule"] == "official"
    assert again["mmtracking"] == pytest.approx(scores["mean"], abs=1e-3)

    folder = data / f"GOT-10k/test/{sequence}"
    (film,) = (data / "LaSOTBenchmark").glob(f"*/{sequence}")
    folder.mkdir(parents=True)
    (folder / "groundtruth.txt").write_text("100,100,40,30\n")
    for image in (film / "img").iterdir():
        image.rename(folder / image.name)
    capsys.readouterr()
    got = ("--out", tmp_path / "got", "--set", "benchmark=GOT-10k")
    assert halftrack("eval", recipe, *there, *norm, *got) == 0
    told = capsys.readouterr().out
    assert "no ground truth, so no scores" in told
    assert "GOT-10k_test.zip has 1 sequences, GOT-10k's server scores 180" in told
    with ZipFile(tmp_path / "got/GOT-10k_test.zip") as package:
        times = package.read(f"{sequence}/{sequence}_time.txt").decode().split()
    assert len(times) == 8
    assert min(map(float, times)) > 0


@pytest.mark.parametrize("layout", ["mot", "sot"])
def test_the_other_layouts_are_written_too(halftrack, tmp_path: Path, layout: str) -> None:
    size = ("--train-videos", 1, "--val-videos", 1, "--frames", 8)
    assert halftrack("data", "synthetic", tmp_path / "data", "--layout", layout, *size) == 0


def test_pairs_and_the_sequences_that_score_them_are_checked(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, recipe = tmp_path / "data", "siamese_rpn_tiny_sample"
    size = ("--train-videos", 2, "--val-videos", 1, "--frames", 8)
    assert halftrack("data", "synthetic", data, "--layout", "sot", *size) == 0
    assert halftrack("data", "check", recipe, "--data-root", data, "--decode") == 0
    told = capsys.readouterr().out
    assert "train lasot: 2 videos, 16 frames, 2 objects" in told
    assert "LaSOT test: 1 sequences, 8 frames" in told
    assert "all is well" in told
    more = ("--set", "data.training_sets=('coco','lasot')", "--set", "data.set_weights=(1,1)")
    assert halftrack("data", "check", recipe, "--data-root", data, *more) == 3
    told = capsys.readouterr().out
    assert "no COCO here" in told
    assert "train lasot: 2 videos" in told


@pytest.mark.parametrize(
    ("interrupted", "equivalence", "code"),
    [
        (None, SimpleNamespace(equivalent=True), 0),
        (None, SimpleNamespace(equivalent=False), 3),
        (None, None, 3),
        (15, None, 143),
    ],
)
def test_parity_tells_its_verdict_and_ends_with_its_code_or_as_its_runs_did(
    halftrack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    interrupted: int | None,
    equivalence: SimpleNamespace | None,
    code: int,
) -> None:
    found = SimpleNamespace(
        notes=lambda: ["a note"],
        verdict="as good",
        interrupted=interrupted,
        equivalence=equivalence,
    )
    asked: dict[str, object] = {}
    monkeypatch.setattr(
        "halftrack.studies.parity.run_parity", lambda _, **how: asked.update(how) or found
    )
    for folder in ("Data", "Annotations"):
        (tmp_path / "ILSVRC" / folder).mkdir(parents=True)
    assert halftrack("parity", TINY, "--data-root", tmp_path, "--seeds", 3, "--margin", 2) == code
    assert (asked["seeds"], asked["margin"], asked["precision"]) == (3, 2.0, "fp16")
    assert asked["out"] == Path(f"runs/{TINY}_parity_fp16")
    assert capsys.readouterr().out.splitlines()[:2] == ["a note", "as good"]


def test_every_recipe_is_listed_and_shown(halftrack, capsys: pytest.CaptureFixture[str]) -> None:
    assert halftrack("recipes") == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [words for words in listed if words[0] in RECIPES] == [
        [name, entry.precision] for name, entry in RECIPES.items()
    ]
    assert halftrack("show", TINY, "--precision", "fp16", "--set", "training.lr=0.5") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["training"]["lr"] == 0.5
    assert shown["precision"]["loss_scale"] == "dynamic"


def test_help_names_every_command(halftrack, capsys: pytest.CaptureFixture[str]) -> None:
    assert halftrack("--help") == 0
    told = capsys.readouterr().out
    assert all(
        name in told for name in ("recipes", "show", "data", "train", "replay", "eval", "track")
    )


def test_a_step_is_planned(
    halftrack,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predicted = predicted_step(load_recipe("reid_tiny_sample").for_training().without_data())
    monkeypatch.setattr("halftrack.studies.memory.plan.predicted_step", lambda *_, **__: predicted)
    out = tmp_path / "plan.json"
    sizes = ("--image", "32x32", "--samples", 2, "--gpu-memory", "4GiB", "--out", out)
    assert halftrack("plan", "reid_tiny_sample", *sizes) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "reid_tiny_sample, 32x32, data.identities_per_batch=2" in told
    plan = json.loads(out.read_text())
    assert {step["precision"] for step in plan["steps"]} == {"fp32", "bf16", "fp16"}
    assert plan["gpu_memory"] == 4 * 2**30
    assert plan["steps"][0]["peak"] == predicted.peak
    assert "fits: reid_tiny_sample in fp32 may take up to" in told
    sizes = ("--image", "32x32", "--gpu-memory", "1GiB")
    assert halftrack("plan", "reid_tiny_sample", *sizes) == 3
    assert "does not fit: reid_tiny_sample in fp32" in " ".join(capsys.readouterr().out.split())


def test_a_rehearsal_leaves_a_page_and_its_exit_code_says_whether_something_must_change(
    halftrack,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("halftrack.recipes.kinds.trained.SYNTHETIC_VIDEOS", 2)
    recipe, out = "reid_tiny_sample", tmp_path / "rehearsal"
    few = ("min_crops=2", "max_crops=4", "identities_per_batch=3", "crops_per_identity=2")
    crops = tuple(word for each in few for word in ("--set", f"data.{each}"))
    start = ("rehearse", recipe, "--steps", 1, "--out", out, *crops)
    assert halftrack(*start, "--set", "precision.loss_scale=128.0") == 0
    told = capsys.readouterr().out
    assert "Which modules must stay in fp32?" in told
    assert "Peak of a training step" in told
    assert f"written to {out / 'rehearsal.html'}" in told
    assert json.loads((out / "rehearsal.json").read_text())["precision"]["loss_scale"] == 128.0
    assert "reid_tiny_sample" in (out / "rehearsal.html").read_text()
    assert halftrack(*start, "--json", "--set", "precision.loss_scale=16777216.0") == 3
    told = capsys.readouterr()
    (change,) = json.loads(told.out)["must_change"]
    assert change.startswith("--set precision.loss_scale=")
    assert f"must change: {change}" in told.err
