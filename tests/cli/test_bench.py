"""``halftrack bench`` prints tables, or numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from halftrack.studies.bench import run

ARGUMENTS = ("bench", "reid_tiny_sample", "--steps", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "FILM_SIZE", (192, 320))


def test_speed_is_told_by_part(
    halftrack: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert halftrack(*ARGUMENTS) == 0
    told = capsys.readouterr().out
    for word in ("training:", "samples/s", "optimizer", "inference:", "frames/s", "backbone"):
        assert word in told
    assert "random weights" in told
    assert "1 rounds after 1 to warm up" in told


def test_numbers_are_all_that_is_printed(
    halftrack: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert halftrack(*ARGUMENTS, "--json") == 0
    told = capsys.readouterr()
    assert set(json.loads(told.out)["per_second"]) == {"training", "inference"}
    assert not told.err


def test_a_tracker_has_no_step(
    halftrack: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert halftrack("bench", "tracktor_tiny_sample") == 2
    assert "has no training step" in capsys.readouterr().err
