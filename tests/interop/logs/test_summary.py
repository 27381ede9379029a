"""Final values, step times and overflows of a log."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from halftrack.interop.logs.read import Line, TrainingLog
from halftrack.interop.logs.summary import default_keys, final_values, overflows, seconds_a_step


def log(*rows: tuple[int, int, dict[str, float]], training: bool = True) -> TrainingLog:
    lines = (
        Line(
            training=training, epoch=epoch, iteration=at, step=100 * (epoch - 1) + at, values=values
        )
        for epoch, at, values in rows
    )
    return TrainingLog(file=Path("a"), lines=tuple(lines))


def test_overflows_are_told_with_place_and_rate() -> None:
    found = overflows(
        log(
            (1, 50, {"loss": 1.0, "grad_norm": 3.0, "lr": 0.004}),
            (1, 100, {"loss": 1.0, "grad_norm": math.inf, "lr": 0.01}),
            (2, 50, {"loss": math.nan, "grad_norm": math.nan, "lr": 0.01}),
            (2, 100, {"loss": -math.inf, "lr": 0.001}),
        )
    )
    assert [str(each) for each in found] == [
        "epoch 1, iteration 100: grad_norm is inf at learning rate 0.01, up from 0.004",
        "epoch 2, iteration 50: loss is nan at learning rate 0.01",
        "epoch 2, iteration 100: loss is -inf at learning rate 0.001, down from 0.01",
    ]


def test_a_first_line_and_one_without_rate_are_told_too() -> None:
    first, second = overflows(
        log((1, 1, {"loss": math.nan, "lr": 0.1}), (1, 2, {"loss": math.nan}))
    )
    assert str(first) == "epoch 1, iteration 1: loss is nan at learning rate 0.1"
    assert str(second) == "epoch 1, iteration 2: loss is nan"


def test_an_evaluation_does_not_overflow() -> None:
    assert overflows(log((1, 1, {"loss": math.nan}), training=False)) == []


def test_the_first_line_of_an_epoch_does_not_count_for_the_time() -> None:
    times = [(1, 50, 9.0), (1, 100, 1.0), (1, 150, 2.0), (2, 50, 9.0), (2, 100, 3.0)]
    assert seconds_a_step(log(*((epoch, at, {"time": t}) for epoch, at, t in times))) == 2.0


def test_where_epochs_have_one_line_all_of_them_count() -> None:
    assert seconds_a_step(log((1, 9, {"time": 1.0}), (2, 9, {"time": 3.0}))) == 2.0
    assert seconds_a_step(log((1, 9, {"loss": 1.0}))) is None


def test_the_last_values_are_shown() -> None:
    given = log((1, 1, {"loss": 3.0, "lr": 0.1}), (1, 2, {"loss": 1.23456789}))
    assert final_values(given, ["loss", "lr", "mAP"]) == {"loss": "1.2346", "lr": "0.1", "mAP": "-"}
    assert final_values(log((1, 1, {"loss_scale": 2.0**20})), ["loss_scale"]) == {
        "loss_scale": "1048576"
    }


def test_usual_fields_are_drawn_where_they_are_there() -> None:
    logs = [
        log((1, 1, {"loss_cls": 1.0, "loss": 3.0})),
        log((1, 1, {"bbox_mAP_50": 1.0, "lr": 1.0})),
    ]
    assert default_keys(logs) == ["loss", "lr", "bbox_mAP_50"]


def test_the_metric_that_a_recipe_is_judged_by_is_drawn_too() -> None:
    given = log((1, 1, {"loss": 3.0, "hota": 0.5, "idf1": 0.5}))
    meta = {"mode": "meta", "recipe": {"training": {"best_metric": "hota"}}}
    assert default_keys([replace(given, records=(meta,))]) == ["loss", "hota"]
    unknown = {"mode": "meta", "recipe": None}
    assert default_keys([replace(given, records=(unknown,))]) == ["loss"]
