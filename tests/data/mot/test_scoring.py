"""Scores need ground truth: a tracker's in all sequences or in none, a detector's in any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from halftrack.data import DataError
from halftrack.data.check import check
from halftrack.data.mot import MotDetectionConfig, read_mot
from halftrack.data.mot.scoring import nothing_to_detect, unscorable
from halftrack.recipes import load_recipe
from halftrack.synthetic import SyntheticVideo, write_synthetic

NOBODY = "1,1,5,5,20,20,0,8,1\n"
CONFIG = MotDetectionConfig(training_split="train", test_split="test")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    settings = SyntheticVideo(layout="mot", train_videos=1, val_videos=2, frames=8, size=(72, 120))
    return write_synthetic(tmp_path / "films", settings)


def truths(films: Path) -> list[Path]:
    return sorted(films.glob("MOT17/test/*/gt/gt.txt"))


def test_a_sequence_without_people_stops_a_tracker_alone(films: Path) -> None:
    truths(films)[0].write_text(NOBODY)
    sequences = read_mot(films, "test")
    assert nothing_to_detect(sequences, flag_zero=False) is None
    assert [problem.reason[:20] for problem in unscorable(sequences, "MOT17").values()] == [
        "none of its 1 rows i"
    ]
    assert check(films, CONFIG).ok
    (problem,) = check(films, CONFIG, tracked=True).problems
    assert "expected some with class 1" in problem.reason


def test_nobody_in_any_sequence_stops_a_detector(films: Path) -> None:
    for file in truths(films):
        file.write_text(NOBODY)
    (problem,) = check(films, CONFIG).problems
    assert problem.reason == "no pedestrian inside the frames that are tested to score with"
    recipe = load_recipe("faster-rcnn_tiny_sample")
    with pytest.raises(DataError, match="no pedestrian inside the frames"):
        replace(recipe, data=CONFIG).scorer(films, torch.device("cpu"))


def test_a_test_set_without_truth_stops_a_detector_alone(films: Path) -> None:
    for file in truths(films):
        file.unlink()
    assert check(films, CONFIG, tracked=True).ok
    reasons = {problem.reason for problem in check(films, CONFIG).problems}
    assert reasons == {"ground truth is missing"}
