"""``halftrack tune`` from its arguments to a recipe that ``halftrack eval`` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from untrained_tracker import SETTINGS, write_tracker

from halftrack.studies.tune.trials_file import TrialsFile


def test_the_best_recipe_scores_in_eval_what_it_scored_in_its_trial(
    halftrack: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe, data_root = write_tracker(tmp_path)
    parts = ("--detector", recipe.detector_checkpoint, "--reid", recipe.reid_checkpoint)
    settings = [
        f"--set={each}" for each in (*SETTINGS, "reid.num_identities=3", "camera_motion=None")
    ]
    asked = (
        *("tune", "tracktor_tiny_sample", "--data-root", data_root, *parts, *settings),
        *("--field", "tracker.new_track_iou=0.1,0.9", "--metric", "mota", "--out", "search"),
    )
    assert halftrack(*asked) == 0
    told = capsys.readouterr().out
    assert "3 trials by grid over tracker.new_track_iou, scored by mota on MOT17 test" in told
    assert "search/cache: " in told
    assert "recipe's own" in told
    assert "looked at: MOT17 test, 8 frames" in told
    assert "best settings: --set tracker.new_track_iou=" in told
    assert "halftrack eval search/best_recipe.py --data-root DATA" in told
    trials = TrialsFile(Path("search/trials.jsonl")).trials
    best = max(trials, key=lambda trial: trial.scores["mota"])
    assert halftrack("eval", "search/best_recipe.py", "--data-root", data_root, "--out", "e") == 0
    scored = json.loads(Path("e/eval.json").read_text())["combined"]
    assert {name: scored[name] for name in best.scores} == best.scores
    assert halftrack(*asked[:-3], "idf1", *asked[-2:]) == 2
    assert "holds another search: metric was 'mota', now 'idf1'" in capsys.readouterr().err


def test_siamrpn_is_tuned_too(
    halftrack: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import torch

    from halftrack.recipes import load_recipe
    from halftrack.synthetic import SyntheticVideo, write_synthetic

    films = SyntheticVideo(layout="sot", train_videos=1, val_videos=1, frames=8)
    data_root = write_synthetic(tmp_path / "data", films)
    weights = tmp_path / "weights.pth"
    torch.save(load_recipe("siamese_rpn_tiny_sample").build_model().state_dict(), weights)
    out = tmp_path / "search"
    asked = (
        *("tune", "siamese_rpn_tiny_sample", "--data-root", data_root, "--checkpoint", weights),
        *("--field", "tracker.window_influence=0:0.8:0.8", "--out", out),
    )
    assert halftrack(*asked) == 0
    assert "each trial tracks all videos anew" in capsys.readouterr().out
    trials = TrialsFile(out / "trials.jsonl").trials
    assert [trial.settings["tracker.window_influence"] for trial in trials] == [0.42, 0.0, 0.8]
    given = ("--data-root", data_root, "--checkpoint", weights, "--out", tmp_path / "e")
    assert halftrack("eval", out / "best_recipe.py", *given) == 0
    best = max(trials, key=lambda trial: trial.scores["success"])
    assert json.loads((tmp_path / "e/eval.json").read_text())["mean"] == best.scores
