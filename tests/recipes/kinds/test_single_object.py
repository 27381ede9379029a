"""SiamRPN++'s recipes: published settings, and from pairs to one-pass scores on synthetic video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from halftrack.data import DataError
from halftrack.data.sot import read_sot
from halftrack.evaluation import write_boxes
from halftrack.recipes import (
    SingleObjectEvaluation,
    SingleObjectRecipe,
    evaluate,
    load_recipe,
    override,
    prepare_model,
    score_results,
    track,
    train,
)
from halftrack.report import published_row
from halftrack.report.track_video import track_video
from halftrack.synthetic import SyntheticVideo, write_synthetic

LASOT = "siamese_rpn_r50_20e_lasot"
CPU = torch.device("cpu")


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """Synthetic video in LaSOT's layout, two films to train on and two to test on."""
    settings = SyntheticVideo(layout="sot", train_videos=2, val_videos=2, frames=8)
    return write_synthetic(tmp_path / "data", settings)


@pytest.fixture
def trackingnet(data_root: Path) -> Path:
    """The films of the tests once more as a split of which only first boxes are published."""
    base = data_root / "TrackingNet/TEST"
    (base / "anno").mkdir(parents=True)
    for name in (data_root / "LaSOTBenchmark/testing_set.txt").read_text().split():
        (film,) = (data_root / "LaSOTBenchmark").glob(f"*/{name}")
        first = (film / "groundtruth.txt").read_text().splitlines()[0]
        (base / "anno" / f"{name}.txt").write_text(f"{first}\n")
        frames = base / "frames" / name
        frames.mkdir(parents=True)
        for number, image in enumerate(sorted((film / "img").iterdir())):
            (frames / f"{number}.jpg").symlink_to(image)
    return base


def tiny(*settings: str) -> SingleObjectRecipe:
    """The recipe with a norm that keeps features in range without any training."""
    recipe = load_recipe("siamese_rpn_tiny_sample")
    assert isinstance(recipe, SingleObjectRecipe)
    return override(recipe, ["model.backbone.norm=group", *settings])


def test_the_published_settings_are_the_configs() -> None:
    recipe = load_recipe(LASOT)
    training, data = recipe.training, recipe.data
    assert (training.epochs, training.lr, training.max_grad_norm) == (20, 0.005, 10.0)
    assert sum(ramp.epochs for ramp in training.ramps) == 20
    assert training.lr_factors == (("backbone.*", 0.1),)
    assert [phase.first_epoch for phase in training.phases] == [10]
    assert data.training_sets == ("vid", "det", "coco")
    assert data.set_weights == (0.25, 0.55, 0.2)
    assert (data.pairs_per_epoch, data.pairs_per_batch, data.frame_range) == (600_000, 28, 100)
    assert data.positive_share == 0.8


def test_data_model_and_tracker_have_one_geometry(data_root: Path) -> None:
    recipe = tiny("model.geometry.search_size=223", "model.geometry.anchor_scale=4")
    (batch, *_) = recipe.training_source(data_root).batches(seed=0, epoch=0, places=[0])
    assert batch.searches.shape[-1] == 223
    model = recipe.build_model()
    tracker = recipe.new_tracker(model)
    side = recipe.model.geometry.response_size
    assert side == 21
    anchors = model.anchors(side, side, CPU)
    # The model counts from the region's corner, the tracker from its centre.
    assert torch.equal(anchors, tracker._anchors + 223 // 2)
    losses = model.train()(batch)
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("data.search_size=223", "is now called 'model.geometry.search_size'"),
        ("model.scale=8", "is now called 'model.geometry.anchor_scale'"),
        ("tracker.exemplar_size=127", "is now called 'model.geometry.template_size'"),
        ("model.geometry.search_size=399", "search_size=399, crop_size=383"),
        ("model.backbone.strides=1,2,2,1", r"backbone.strides=\(1, 2, 2, 1\), .* 8 pixels apart"),
    ],
)
def test_a_geometry_that_does_not_fit_names_the_fields(setting: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        tiny(setting)


def test_otb100_alone_has_training_data_of_its_own() -> None:
    lasot, otb = load_recipe(LASOT).data, load_recipe("siamese_rpn_r50_20e_otb100").data
    assert otb == replace(lasot, grey_probability=0.2, pairs_per_batch=16)
    assert load_recipe("siamese_rpn_r50_20e_uav123").data == lasot


def test_fp16_has_the_published_scale_and_two_names() -> None:
    recipe = load_recipe("siamese_rpn_r50_fp16_20e_lasot")
    assert recipe.precision.loss_scale == 512.0
    assert load_recipe("siamese_rpn_r50_fp16_1x_lasot") == recipe


@pytest.mark.parametrize(("benchmark", "lr"), [("otb100", 0.4), ("uav123", 0.5), ("vot2018", 0.33)])
def test_each_benchmark_has_its_own_tracker(benchmark: str, lr: float) -> None:
    recipe = load_recipe(f"siamese_rpn_r50_20e_{benchmark}")
    assert recipe.benchmark.lower() == benchmark
    assert recipe.tracker.lr == lr
    assert recipe.data.grey_probability == (0.2 if benchmark == "otb100" else 0.0)


def test_its_backbone_has_no_torchvision_weights() -> None:
    with pytest.raises(ValueError, match=r"no ImageNet weights for R-50 \(SOT\): give a file"):
        prepare_model(load_recipe(LASOT))


def test_a_run_across_the_thaw_trains_scores_and_resumes_exactly(tmp_path: Path) -> None:
    write_synthetic(
        tmp_path / "data", SyntheticVideo(layout="sot", train_videos=2, val_videos=1, frames=8)
    )
    recipe = load_recipe("siamese_rpn_tiny_sample").with_precision("fp16")
    thaw = "training.phases=({'first_epoch': 0, 'trainable': ('neck.*', 'head.*')},"
    thaw += " {'first_epoch': 1, 'trainable': ('*',)})"
    short = ("epochs=2", "milestones=()", "workers=0", "evaluate_every=2")
    recipe = override(recipe, [thaw, *(f"training.{each}" for each in short)])
    recipe = override(recipe, ["data.pairs_per_epoch=4", "data.pairs_per_batch=2"])
    whole = train(recipe, data_root=tmp_path / "data", out=tmp_path / "whole")
    assert (whole.steps, whole.interrupted) == (4, None)
    assert 0.0 <= whole.metrics["success"] <= 100.0

    resumed = tmp_path / "resumed"
    resumed.mkdir()
    train(recipe, data_root=tmp_path / "data", out=resumed)
    (resumed / "step_4.pth").unlink()
    train(recipe, data_root=tmp_path / "data", out=resumed)
    ends = [
        torch.load(folder / "step_4.pth")["state_dict"] for folder in (tmp_path / "whole", resumed)
    ]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])

    best = tmp_path / "whole" / "best.pth"
    scored = evaluate(recipe, data_root=tmp_path / "data", checkpoint=best)
    assert isinstance(scored, SingleObjectEvaluation)
    assert scored.frames == 8
    ((name, boxes),) = scored.results.items()
    assert boxes.shape == (8, 4)
    assert np.isfinite(boxes).all()
    assert scored.flat()["success"] == pytest.approx(whole.metrics["success"])
    folder = next((tmp_path / "data/LaSOTBenchmark").glob(f"*/{name}"))
    first = boxes[0].tolist()
    found = [
        tracks for _, tracks in track(recipe, folder / "img", init_box_xyxy=first, checkpoint=best)
    ]
    assert np.allclose(np.stack([t.boxes_xyxy[0].numpy() for t in found]), boxes, atol=1e-3)
    tracked = track_video(recipe, folder / "img", tmp_path, init_box=first, checkpoint=best)
    assert (tracked.frames, tracked.tracks) == (8, 1)
    with pytest.raises(ValueError, match="needs the first box of its object"):
        track_video(recipe, folder / "img", tmp_path, checkpoint=best)
    row = published_row(recipe, scored, memory_mb=None, checkpoint=best)
    assert {"Method", "Success", "Norm precision"} <= set(row)
    assert name in str(scored.tables()["By sequence"])


def test_result_files_score_as_the_tracks_they_are_of(data_root: Path, tmp_path: Path) -> None:
    scored = evaluate(tiny(), data_root=data_root, checkpoint=None)
    assert isinstance(scored, SingleObjectEvaluation)
    assert list(scored.metrics) == ["mmtracking", "official"]
    assert {name: len(each) for name, each in scored.frame_seconds.items()} == dict.fromkeys(
        scored.results, 8
    )
    assert all((each > 0).all() for each in scored.frame_seconds.values())
    assert scored.seconds == pytest.approx(sum(map(np.sum, scored.frame_seconds.values())))
    for name, boxes_xyxy in scored.results.items():
        write_boxes(tmp_path / f"{name}.txt", boxes_xyxy)
    again = score_results(tiny("rule=official"), tmp_path, data_root=data_root)
    assert isinstance(again, SingleObjectEvaluation)
    assert list(again.metrics) == ["official", "mmtracking"]
    assert again.flat() == again.metrics["official"].flat()
    assert again.numbers()["mmtracking"] == pytest.approx(scored.flat(), abs=1e-3)
    assert [row["Rule"] for row in again.tables()["By rule"]] == ["official", "mmtracking"]
    assert (again.frames, again.seconds, again.skipped) == (16, 0.0, ())
    (tmp_path / "notes.md").touch()
    noted = score_results(tiny(), tmp_path, data_root=data_root)
    assert noted.skipped == ("not read, as no sequence has this name: notes.md",)
    (tmp_path / f"{name}.txt").unlink()
    with pytest.raises(ValueError, match=rf"has no {name}.txt; there are"):
        score_results(tiny(), tmp_path, data_root=data_root)


@pytest.mark.parametrize("how", ["standing still", "as tracked"])
def test_corners_in_result_files_are_refused(how: str, data_root: Path, tmp_path: Path) -> None:
    for each in read_sot(data_root, "LaSOT"):
        boxes = np.tile(each.first_box_xyxy, (len(each), 1))
        if how == "as tracked":
            boxes += np.arange(len(each))[:, None]
        write_boxes(tmp_path / f"{each.name}.txt", boxes)
    assert score_results(tiny(), tmp_path, data_root=data_root).frames == 16
    text = "".join(",".join(f"{value:.4f}" for value in row) + "\n" for row in boxes.tolist())
    (tmp_path / f"{each.name}.txt").write_text(text)
    with pytest.raises(DataError, match=rf"{each.name}.txt: its boxes, .* look like x1, y1, x2"):
        score_results(tiny(), tmp_path, data_root=data_root)


def test_attributes_are_scored_where_their_folder_is_named(data_root: Path, tmp_path: Path) -> None:
    names = (data_root / "LaSOTBenchmark/testing_set.txt").read_text().split()
    for name, flag in zip(names, "01", strict=True):
        (tmp_path / f"{name}.txt").write_text(f"{flag},1" + ",0" * 12)
    recipe = tiny(f"attributes={tmp_path}")
    scored = evaluate(recipe, data_root=data_root, checkpoint=None)
    rows = scored.tables()["By attribute"]
    assert [(row["Attribute"], row["Sequences"]) for row in rows] == [("IV", 1), ("POC", 2)]
    assert set(scored.numbers()["by_attribute"]) == {"IV", "POC"}


def test_a_split_without_truth_gives_tracks_and_no_scores(
    trackingnet: Path, data_root: Path, tmp_path: Path
) -> None:
    recipe = tiny("benchmark=TrackingNet")
    scored = evaluate(recipe, data_root=data_root, checkpoint=None)
    assert isinstance(scored, SingleObjectEvaluation)
    assert scored.flat() == scored.numbers() == scored.tables() == scored.metrics == {}
    assert {boxes_xyxy.shape for boxes_xyxy in scored.results.values()} == {(8, 4)}
    row = published_row(recipe, scored, memory_mb=None, checkpoint=None)
    assert "Success" not in row
    # Only the way in differs: what is tracked is the same.
    known = evaluate(tiny(), data_root=data_root, checkpoint=None)
    assert isinstance(known, SingleObjectEvaluation)
    for name, boxes_xyxy in known.results.items():
        np.testing.assert_array_equal(scored.results[name], boxes_xyxy)
    with pytest.raises(ValueError, match=r"benchmark='TrackingNet', split='test': only the first"):
        score_results(recipe, tmp_path, data_root=data_root)


def test_training_goes_unscored_where_only_first_boxes_are_published(
    trackingnet: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ("training.workers=0", "data.pairs_per_epoch=2", "data.pairs_per_batch=2")
    epochs = ("training.epochs=1", "training.milestones=()")
    recipe = tiny("benchmark=TrackingNet", *short, *epochs)
    result = train(recipe, data_root=data_root, out=tmp_path / "run")
    assert (result.steps, result.metrics) == (1, {})
    assert "is not scored while it trains" in capsys.readouterr().out
    assert not (tmp_path / "run/best.pth").exists()
    scored = evaluate(recipe, data_root=data_root, checkpoint=tmp_path / "run/step_1.pth")
    assert scored.frames == 2 * 8


def test_truth_of_some_sequences_only_is_an_error_before_anything_runs(
    trackingnet: Path, data_root: Path
) -> None:
    first = min((trackingnet / "anno").iterdir())
    first.write_text(first.read_text() * 8)
    with pytest.raises(DataError, match="only its first box is here, though other"):
        tiny("benchmark=TrackingNet").scorer(data_root, CPU)
