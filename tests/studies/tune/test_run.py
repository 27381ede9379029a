"""A search from its plan to the best recipe: resumed, told, and equal to a plain evaluation."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from untrained_tracker import write_tracker

from halftrack.errors import UserError
from halftrack.interop import open_recipe_file
from halftrack.recipes import TrackingRecipe, evaluate, override
from halftrack.studies.tune.plan import plan_search
from halftrack.studies.tune.run import BEST, Tuned, run_tuning
from halftrack.studies.tune.trials_file import TrialsFile

FIELDS = ["tracker.new_track_iou=0.1,0.9", "tracker.detection_score=0.1:0.3:0.2"]


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrackingRecipe, Path]:
    return write_tracker(tmp_path_factory.mktemp("tracker"))


def run(tracker: tuple[TrackingRecipe, Path], out: Path, **given: Any) -> Tuned:
    recipe, data_root = tracker
    plan = plan_search(recipe, given.pop("fields", FIELDS), None, metric="idf1", sampler="grid")
    return run_tuning(
        plan, data_root=data_root, checkpoint=None, out=out, cache_bytes=10**9, **given
    )


def test_the_best_settings_score_what_a_plain_evaluation_gives(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path
) -> None:
    recipe, data_root = tracker
    found = run(tracker, tmp_path / "search")
    assert len(found.trials) == 5
    assert found.trials[0].settings["tracker.detection_score"] == 0.0  # the recipe's own
    assert len({trial.scores["idf1"] for trial in found.trials}) > 1
    assert found.best.scores["idf1"] == max(trial.scores["idf1"] for trial in found.trials)
    set_by_hand = override(recipe, [text.removeprefix("--set ") for text in found.settings])
    told = found.write(tmp_path / "search")
    assert told == [
        f"written to {tmp_path / 'search'}: trials.jsonl, trials.csv, trials.png, best_recipe.py"
    ]
    loaded = open_recipe_file(tmp_path / "search" / BEST).load()
    assert loaded == found.tuned
    for changed in (set_by_hand, loaded):
        scored = evaluate(changed, data_root=data_root, checkpoint=None, device="cpu")
        assert scored.flat() == found.best.scores
    with (tmp_path / "search" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["idf1"]) for row in rows] == [each.scores["idf1"] for each in found.trials]


def test_a_search_that_was_stopped_goes_on(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path
) -> None:
    whole = run(tracker, tmp_path / "whole")
    out, told = tmp_path / "stopped", []
    run(tracker, out)
    file = out / "trials.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:4])[:-20])
    again = run(tracker, out, say=told.append)
    assert told == [f"2 trials are in {file} already: the search goes on"]
    assert [t.scores for t in again.trials] == [t.scores for t in whole.trials]
    assert len(TrialsFile(file).trials) == 5
    run(tracker, out)
    assert len(TrialsFile(file).trials) == 5


def test_other_weights_or_fields_are_another_search(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path
) -> None:
    run(tracker, tmp_path, fields=["tracker.reid_iou=0,1"])
    with pytest.raises(UserError, match=r"there is no fields.tracker.reid_iou now"):
        run(tracker, tmp_path)
    file = tmp_path / "trials.jsonl"
    weights = TrialsFile(file).question["inputs"]["weights"]
    file.write_text(file.read_text().replace(weights, "other"))
    with pytest.raises(UserError, match=r"inputs.weights was 'other'"):
        run(tracker, tmp_path, fields=["tracker.reid_iou=0,1"])


def test_what_is_shown_names_the_split_and_the_recipes_own_settings(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path
) -> None:
    found = run(tracker, tmp_path)
    own, looked = found.notes()
    assert "with the recipe's own settings" in own
    assert looked.startswith("looked at: MOT17 test, 8 frames")
    shown = found.top(2)
    assert "recipe's own" in [row["trial"] for row in shown]
    assert list(shown[0]) == ["trial", "new_track_iou", "detection_score", "idf1", "mota", "hota"]
