"""Plan of a search: who chooses, how many trials, and when it is another search."""

from __future__ import annotations

from pathlib import Path

import pytest

from halftrack.errors import UserError
from halftrack.recipes import load_recipe, override
from halftrack.studies.tune.plan import TRIALS, SearchPlan, plan_search
from halftrack.studies.tune.trials_file import TrialsFile

RECIPE = load_recipe("tracktor_tiny_sample")


def planned(
    text: str = "tracker.reid_iou=0:1:0.5", trials: int | None = None, sampler: str | None = None
) -> SearchPlan:
    return plan_search(RECIPE, [text], trials, metric="idf1", sampler=sampler)


@pytest.mark.parametrize("there", [True, False])
def test_optuna_is_taken_where_it_is_and_trials_are_counted(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr("halftrack.studies.tune.plan.has_optuna", lambda: there)
    monkeypatch.setattr("halftrack.studies.tune.samplers.has_optuna", lambda: there)
    assert planned().sampler_name == "grid"
    assert planned(trials=9, sampler="grid").sampler_name == "grid"
    assert planned(trials=9).sampler_name == ("optuna" if there else "grid")
    assert planned(trials=9).trials == (9 if there else 4)
    with pytest.raises(UserError, match="--trials is missing" if there else "not installed"):
        planned(sampler="optuna")


def test_the_recipes_own_settings_are_one_of_the_trials() -> None:
    assert planned().trials == 4
    assert planned(trials=4, sampler="grid").trials == 4
    with pytest.raises(UserError, match="3 points, --trials leaves 2"):
        planned(trials=3, sampler="grid")


def test_another_plan_is_another_search(tmp_path: Path) -> None:
    plan = planned()
    plan.check_folder(tmp_path)
    TrialsFile(tmp_path / TRIALS).begin(plan.question())
    plan.check_folder(tmp_path)
    changed = override(RECIPE, ["tracker.reid_distance=3"])
    others = [
        (planned("tracker.reid_iou=0:1:0.25"), "fields.tracker.reid_iou was"),
        (plan_search(changed, ["tracker.reid_iou=0:1:0.5"], None, metric="idf1"), "reid_distance"),
        (plan_search(RECIPE, ["tracker.reid_iou=0:1:0.5"], None, metric="mota"), "metric was"),
    ]
    for other, told in others:
        with pytest.raises(UserError, match=told):
            other.check_folder(tmp_path)


def test_it_says_which_split_it_looks_at() -> None:
    first, second = planned().notes()
    assert "4 trials by grid over tracker.reid_iou, scored by idf1 on MOT17 test" in first
    assert "computed once" in second
