"""Trials of Tracktor's settings: what is kept gives exactly what the models give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from untrained_tracker import write_tracker

from halftrack.errors import UserError
from halftrack.models import FasterRCNN, ReID
from halftrack.recipes import TrackingRecipe, evaluate, open_model, override
from halftrack.recipes.scoring.tracktor_trials import TracktorTrials
from halftrack.tracking import EccMotion

CPU = torch.device("cpu")
SETTINGS = (
    (),
    (
        "tracker.new_track_iou=0.6", "tracker.regression_score=0.11", "tracker.reid_distance=0.05",
        "tracker.num_frames_retain=2", "tracker.compatible=True",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrackingRecipe, Path]:
    return write_tracker(tmp_path_factory.mktemp("tracker"))


def opened(
    recipe: TrackingRecipe, data_root: Path, cache: Path, most_bytes: int = 10**9, **given: Any
) -> TracktorTrials:
    model = open_model(recipe, None, CPU)
    say = given.get("say", print)
    return TracktorTrials(
        recipe, model, data_root, CPU, cache=cache, most_bytes=most_bytes, say=say
    )


@pytest.mark.parametrize(
    ("change", "most_bytes", "motion"),
    [
        ("data.test_batch=1", 10**9, EccMotion(levels=2)),
        ("data.test_batch=1", 3_000_000, None),
        ("data.test_batch=3", 10**9, None),
        ("reid=None", 1, None),
    ],
)
def test_a_trial_gives_the_tracks_and_scores_of_an_evaluation(
    tracker: tuple[TrackingRecipe, Path],
    tmp_path: Path,
    change: str,
    most_bytes: int,
    motion: EccMotion | None,
) -> None:
    recipe = replace(override(tracker[0], [change]), camera_motion=motion)
    data_root = tracker[1]
    trials = opened(recipe, data_root, tmp_path / "cache", most_bytes)
    trials.prepare()
    for settings in SETTINGS:
        changed = override(recipe, list(settings))
        expected = evaluate(changed, data_root=data_root, checkpoint=None, device=CPU)
        for _ in range(2):  # the second time all is answered from what was kept
            found = trials.score(changed)
            assert found.flat() == expected.flat()
        for name, rows in expected.results.items():  # type: ignore[attr-defined]
            assert len(rows)
            assert np.array_equal(found.results[name].ids, rows.ids)
            assert np.array_equal(found.results[name].boxes_xyxy, rows.boxes_xyxy)


def test_frames_of_a_pass_are_not_computed_again_one_by_one(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path
) -> None:
    recipe = override(tracker[0], ["data.test_batch=3"])
    with pytest.raises(UserError, match=r"--set data.test_batch=1"):
        opened(recipe, tracker[1], tmp_path / "cache", 3_000_000).prepare()


def test_nor_where_only_later_frames_find_no_room(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = override(tracker[0], ["data.test_batch=3"])
    trials = opened(recipe, tracker[1], tmp_path / "cache", 3_000_000)
    monkeypatch.setattr(trials, "_estimate", lambda *_: None)  # as of a small first sequence
    trials.prepare()
    with pytest.raises(UserError, match=r"/img1/000003: its features are more than --cache-size"):
        trials.score(recipe)


def test_half_precision_is_kept_as_it_is(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path
) -> None:
    recipe, data_root = tracker[0].with_precision("bf16"), tracker[1]
    trials = opened(recipe, data_root, tmp_path / "cache")
    trials.prepare()
    expected = evaluate(recipe, data_root=data_root, checkpoint=None, device=CPU)
    assert trials.score(recipe).flat() == expected.flat()


def test_models_are_asked_once(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data_root = tracker
    asked: list[str] = []

    def counted(kind: type, name: str) -> None:
        method = getattr(kind, name)

        def call(*args: Any) -> Any:
            asked.append(name)
            return method(*args)

        monkeypatch.setattr(kind, name, call)

    counted(FasterRCNN, "features")
    counted(FasterRCNN, "regress_on")
    counted(ReID, "embed")
    trials = opened(recipe, data_root, tmp_path / "cache")
    trials.prepare()
    assert asked == ["features"] * 8
    trials.score(recipe)
    first = len(asked)
    assert "features" not in asked[8:]
    trials.score(override(recipe, ["tracker.reid_iou=0.9"]))
    again = opened(recipe, data_root, tmp_path / "cache")  # of another process
    again.prepare()
    again.score(recipe)
    assert len(asked) == first


def test_answers_of_other_weights_data_or_parts_are_not_used(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path
) -> None:
    recipe, data_root = tracker
    told: list[str] = []
    opened(recipe, data_root, tmp_path / "cache").prepare()
    kept = sorted((tmp_path / "cache").rglob("*.safetensors"))
    larger = override(recipe, ["detector.roi_head.max_detections=9"])
    trials = opened(larger, data_root, tmp_path / "cache", say=told.append)
    trials.prepare()
    assert told[0] == f"{tmp_path / 'cache'} is of other recipe: it is filled anew"
    assert sorted((tmp_path / "cache").rglob("*.safetensors")) == kept
    expected = evaluate(larger, data_root=data_root, checkpoint=None, device=CPU)
    assert trials.score(larger).flat() == expected.flat()
    renamed = replace(larger, name="mine", tracker=replace(larger.tracker, reid_iou=0.7))
    assert opened(renamed, data_root, tmp_path / "cache").inputs == trials.inputs


def test_the_size_is_told_before_it_is_filled(
    tracker: tuple[TrackingRecipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data_root = tracker
    told: list[str] = []
    opened(recipe, data_root, tmp_path / "cache", 3_000_000, say=told.append).prepare()
    (line,) = told
    assert "1.5 MB a frame, 12.0 MB for 8; --cache-size allows 3.0 MB" in line
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5_000_000})())
    with pytest.raises(UserError, match=r"5.0 MB left on the disk: make room"):
        opened(recipe, data_root, tmp_path / "full").prepare()


def test_without_ground_truth_there_is_nothing_to_tune(tmp_path: Path) -> None:
    recipe, data_root = write_tracker(tmp_path)
    for file in data_root.rglob("gt.txt"):
        file.unlink()
    with pytest.raises(UserError, match="no ground truth"):
        opened(recipe, data_root, tmp_path / "cache")
