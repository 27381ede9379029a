"""Choice of the next trial's settings: by a grid, or by Optuna's tree-structured Parzen estimator.

A trial's settings follow from the seed and the trials before it, so that a search that was stopped
goes on as if it had not been.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from halftrack.errors import UserError
from halftrack.studies.tune.fields import Listed, Span, TunedField

__all__ = ["GridSampler", "OptunaSampler", "Sampler", "check_optuna", "has_optuna"]

Scored = tuple[Mapping[str, Any], float]
"""Settings by field, and the score that they had."""


class Sampler(Protocol):
    """Chooses settings, one trial after the other."""

    def ask(self, done: Sequence[Scored]) -> dict[str, Any] | None:
        """The settings of the trial after those done; None if there are no more to try."""


class GridSampler:
    """Tries the points of a grid in their order."""

    def __init__(self, points: Sequence[dict[str, Any]]) -> None:
        self._points = points

    def ask(self, done: Sequence[Scored]) -> dict[str, Any] | None:
        """The first point that was not tried yet."""
        # By name: a search may go on with its fields in another order.
        tried = {frozenset(settings.items()) for settings, _ in done}
        return next((each for each in self._points if frozenset(each.items()) not in tried), None)


class OptunaSampler:
    """Tries what Optuna suggests."""

    def __init__(self, fields: Mapping[str, TunedField], *, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self._fields, self._seed = optuna, fields, seed
        self._distributions = {path: self._distribution(field) for path, field in fields.items()}

    def ask(self, done: Sequence[Scored]) -> dict[str, Any] | None:
        """The suggestion of Optuna's sampler after the trials done.

        Study and sampler are made anew for each trial: what this process asked before, or how often
        it has drawn, counts for nothing.
        """
        sampler = self._optuna.samplers.TPESampler(seed=self._seed + len(done))
        study = self._optuna.create_study(direction="maximize", sampler=sampler)
        for settings, score in done:
            places = {path: _place(self._fields[path], settings[path]) for path in self._fields}
            if None not in places.values():  # the recipe's own settings may lie outside
                study.add_trial(
                    self._optuna.trial.create_trial(
                        params=places, distributions=self._distributions, value=score
                    )
                )
        places = study.ask(self._distributions).params
        return {path: _at(field, places[path]) for path, field in self._fields.items()}

    def _distribution(self, field: TunedField) -> Any:
        kinds = self._optuna.distributions
        if isinstance(field, Listed):
            places = len(field.values)
            if field.ordered:
                return kinds.IntDistribution(0, places - 1)
            return kinds.CategoricalDistribution(tuple(range(places)))
        if field.whole:
            return kinds.IntDistribution(field.low, field.high)
        return kinds.FloatDistribution(field.low, field.high)


def has_optuna() -> bool:
    """True if Optuna is installed; does not import it."""
    return importlib.util.find_spec("optuna") is not None


def check_optuna() -> None:
    """Make sure that Optuna is installed.

    Raises:
        UserError: if it is not; says how to get it.
    """
    if not has_optuna():
        raise UserError(
            "--sampler optuna: Optuna is not installed; install it with `pip install "
            "halftrack[tune]`, or take --sampler grid"
        )


def _place(field: TunedField, value: Any) -> Any:
    """Optuna's parameter for a value: the place in a list, a number itself; None outside."""
    if isinstance(field, Span):
        inside = isinstance(value, int | float) and field.low <= value <= field.high
        return value if inside else None
    return field.values.index(value) if value in field.values else None


def _at(field: TunedField, place: Any) -> Any:
    return field.at(place) if isinstance(field, Span) else field.values[place]
