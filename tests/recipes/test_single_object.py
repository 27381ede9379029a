"""SiamRPN++'s recipes: published settings, and from pairs to one-pass scores on sample video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from halftrack.data import SampleSettings, write_sample
from halftrack.recipes import (
    SingleObjectEvaluation,
    evaluate,
    follow,
    load_recipe,
    override,
    prepare_model,
    train,
)
from halftrack.report import published_row
from halftrack.report.track_video import track_video

LASOT = "siamese_rpn_r50_20e_lasot"


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
    write_sample(
        tmp_path / "data", SampleSettings(layout="sot", train_videos=2, val_videos=1, frames=8)
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
    train(recipe, data_root=tmp_path / "data", out=resumed, resume=True)
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
    found = [tracks for _, tracks in follow(recipe, folder / "img", first, checkpoint=best)]
    assert np.allclose(np.stack([t.boxes_xyxy[0].numpy() for t in found]), boxes, atol=1e-3)
    tracked = track_video(recipe, folder / "img", tmp_path, init_box=first, checkpoint=best)
    assert (tracked.frames, tracked.tracks) == (8, 1)
    with pytest.raises(ValueError, match="needs the first box of its object"):
        track_video(recipe, folder / "img", tmp_path, checkpoint=best)
    row = published_row(recipe, scored, memory_mb=None, checkpoint=best)
    assert {"Method", "Success", "Norm precision"} <= set(row)
    assert name in str(scored.tables()["By sequence"])
