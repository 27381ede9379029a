"""Samplers: a grid in its order, Optuna's suggestions the same after a restart."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from halftrack.errors import UserError
from halftrack.studies.tune.fields import Listed, Span
from halftrack.studies.tune.samplers import GridSampler, OptunaSampler, check_optuna

FIELDS = {
    "distance": Span(1.0, 4.0),
    "frames": Span(5, 50),
    "iou": Listed((0.1, 0.2, 0.5)),
    "momentum": Listed((None, 0.5)),
}
INSTALLED = importlib.util.find_spec("optuna") is not None


class _Study:
    """Draws at random from the sampler's seed and the number of trials it knows."""

    def __init__(self, *, direction: str, sampler: Any) -> None:
        assert direction == "maximize"
        self.trials: list[Any] = []
        self.sampler = sampler

    def add_trial(self, trial: Any) -> None:
        for name, value in trial.params.items():
            assert trial.distributions[name].holds(value)
        self.trials.append(trial)

    def ask(self, distributions: Mapping[str, Any]) -> Any:
        draws = random.Random(f"{self.sampler.seed} {[each.value for each in self.trials]}")
        return SimpleNamespace(params={k: each.draw(draws) for k, each in distributions.items()})


class _Number:
    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def draw(self, draws: random.Random) -> float:
        return draws.uniform(self.low, self.high)


class _Whole(_Number):
    def draw(self, draws: random.Random) -> int:
        return draws.randint(int(self.low), int(self.high))


class _Category:
    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def holds(self, value: Any) -> bool:
        return value in self.values

    def draw(self, draws: random.Random) -> Any:
        return draws.choice(self.values)


def _stand_in() -> ModuleType:
    """The part of Optuna that is used, for machines without it."""
    optuna: Any = ModuleType("optuna")
    optuna.__spec__ = ModuleSpec("optuna", None)
    optuna.logging = SimpleNamespace(ERROR=40, set_verbosity=lambda _: None)
    optuna.create_study = _Study
    optuna.trial = SimpleNamespace(create_trial=SimpleNamespace)
    optuna.samplers = SimpleNamespace(TPESampler=SimpleNamespace)
    optuna.distributions = SimpleNamespace(
        IntDistribution=_Whole, FloatDistribution=_Number, CategoricalDistribution=_Category
    )
    return optuna


@pytest.fixture(params=["stand-in", "optuna"] if INSTALLED else ["stand-in"])
def _optuna(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "optuna", _stand_in())


def score(settings: Mapping[str, Any]) -> float:
    return -abs(float(settings["distance"]) - 2.5)


def test_a_grid_is_tried_in_order_without_what_was_tried() -> None:
    points = [{"a": 1, "b": None}, {"a": 2, "b": 0.5}]
    sampler = GridSampler(points)
    assert sampler.ask([]) == points[0]
    assert sampler.ask([(points[1], 0.1)]) == points[0]
    assert sampler.ask([(points[0], 0.1), (points[1], 0.1)]) is None
    # A search may go on with its fields in another order.
    assert sampler.ask([({"b": None, "a": 1}, 0.1)]) == points[1]


@pytest.mark.usefixtures("_optuna")
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been() -> None:
    # The recipe's own settings may lie outside of all ranges.
    own = {"distance": 9.0, "frames": 10, "iou": 0.2, "momentum": None}
    done: list[tuple[Mapping[str, Any], float]] = [(own, score(own))]
    sampler = OptunaSampler(FIELDS, seed=1)
    for _ in range(14):
        settings = sampler.ask(done)
        assert settings is not None
        assert 1 <= settings["distance"] <= 4
        assert settings["frames"] in range(5, 51)
        assert settings["iou"] in (0.1, 0.2, 0.5)
        assert settings["momentum"] in (None, 0.5)
        done.append((settings, score(settings)))
    for stopped in (1, 7, 14):
        assert OptunaSampler(FIELDS, seed=1).ask(done[:stopped]) == done[stopped][0]
    assert OptunaSampler(FIELDS, seed=2).ask(done[:7]) != done[7][0]


@pytest.mark.usefixtures("_optuna")
def test_optuna_that_is_there_is_taken() -> None:
    check_optuna()


def test_optuna_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install halftrack\[tune\]"):
        check_optuna()
