"""Times are told by part, with their spread, as words and as numbers."""

from __future__ import annotations

import json

from halftrack.studies.bench.result import Benchmark, Spread, spreads

ROUNDS = [{"data": 0.1, "all": 0.5}, {"data": 0.3, "all": 1.0}, {"data": 0.2, "all": 4.0}]


def benchmark(inference: dict[str, Spread], **told: int) -> Benchmark:
    return Benchmark(
        recipe="a",
        computation="computes on cpu in fp32",
        image=(192, 320),
        samples=4,
        frames=2 if inference else 0,
        **{"references": 0, "epoch": 0, "skipped": 0, **told},
        warm_up=1,
        training=spreads(ROUNDS),
        inference=inference,
    )


def test_a_spread_has_median_least_and_greatest() -> None:
    assert Spread((3.0, 1.0, 2.0)).numbers() == {"median": 2.0, "least": 1.0, "greatest": 3.0}


def test_a_part_that_a_round_has_not_took_no_time() -> None:
    assert spreads([{"all": 1.0}, {"neck": 0.5, "all": 1.0}])["neck"].seconds == (0.0, 0.5)


def test_samples_and_frames_a_second_are_of_the_median() -> None:
    found = benchmark(spreads([{"backbone": 0.2, "all": 0.5}]))
    assert found.rates() == {"training": 4.0, "inference": 4.0}
    assert list(found.tables()) == ["training: 4 samples/s", "inference: 4 frames/s"]
    rows = found.tables()["training: 4 samples/s"]
    assert [row["part"] for row in rows] == ["data", "all"]
    assert rows[0] == {
        "part": "data",
        "median": "200.0 ms",
        "least": "100.0 ms",
        "greatest": "300.0 ms",
        "share": "20%",
    }


def test_inference_that_is_not_known_is_left_out() -> None:
    found = benchmark({})
    assert found.rates() == {"training": 4.0}
    assert list(found.tables()) == ["training: 4 samples/s"]


def test_what_was_timed_is_told_where_it_is_not_plain() -> None:
    assert len(benchmark({}).notes()) == 2
    assert benchmark({}, epoch=10, skipped=2, references=14).notes()[2:] == [
        "steps as from epoch 11 on, where the last phase begins",
        "2 of 3 steps skipped: a gradient was not finite",
        "a frame is seen with 14 references, embedded before",
    ]


def test_numbers_are_json_in_seconds() -> None:
    numbers = json.loads(json.dumps(benchmark({}).numbers()))
    assert numbers["training"]["all"] == {"median": 1.0, "least": 0.5, "greatest": 4.0}
    assert numbers["rounds"] == 3
    assert numbers["per_second"] == {"training": 4.0}
    assert numbers["image"] == [192, 320]
