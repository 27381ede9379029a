"""Plan of a search: fields, sampler and number of trials, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftrack.errors import UserError
from halftrack.studies.tune.fields import Listed, TunedField, grid_of, parse_fields
from halftrack.studies.tune.samplers import (
    GridSampler,
    OptunaSampler,
    Sampler,
    check_optuna,
    has_optuna,
)
from halftrack.studies.tune.trials_file import TrialsFile

if TYPE_CHECKING:
    from halftrack.recipes import Recipe

__all__ = ["TRIALS", "SearchPlan", "plan_search"]

TRIALS = "trials.jsonl"
"""Name of the file of trials in a search's folder."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """Fields, sampler and length of a search."""

    recipe: Recipe
    """The recipe that is tuned."""
    fields: Mapping[str, TunedField]
    """The values that each field may be given."""
    points: tuple[dict[str, Any], ...]
    """Settings that a grid tries; empty where Optuna chooses."""
    trials: int
    """Number of trials, the recipe's own settings included."""
    metric: str
    """The score that is raised."""
    seed: int
    """Origin of Optuna's draws."""

    @property
    def sampler_name(self) -> str:
        """``grid`` or ``optuna``."""
        return "grid" if self.points else "optuna"

    def new_sampler(self) -> Sampler:
        """The sampler, which has seen no trial yet."""
        if self.points:
            return GridSampler(self.points)
        return OptunaSampler(self.fields, seed=self.seed)

    def question(self) -> dict[str, Any]:
        """Plain values that tell this search from others."""
        return {
            "metric": self.metric,
            "sampler": self.sampler_name,
            "seed": None if self.points else self.seed,  # a grid draws nothing
            "fields": {
                path: list(field.values) if isinstance(field, Listed) else [field.low, field.high]
                for path, field in self.fields.items()
            },
            "recipe": {**self.recipe.to_dict(), "text": ""},
        }

    def check_folder(self, out: Path) -> None:
        """Make sure that a folder holds no other search.

        Raises:
            UserError: if it does; says what differs.
        """
        TrialsFile(out / TRIALS).check(self.question())

    def notes(self) -> list[str]:
        """Lines on what is going to be done."""
        fields = ", ".join(self.fields)
        return [
            f"{self.trials} trials by {self.sampler_name} over {fields}, scored by {self.metric} "
            f"on {self.recipe.test_set}",
            self.recipe.tuning().shared,
        ]


def plan_search(
    recipe: Recipe,
    texts: Sequence[str],
    trials: int | None,
    *,
    metric: str,
    sampler: str | None = None,
    seed: int = 0,
) -> SearchPlan:
    """A search's plan, made of what the command line says.

    Args:
        recipe: the recipe that is tuned.
        texts: fields with their ranges; none for the recipe's own grid.
        trials: how many settings are tried, the recipe's own first; None for a whole grid.
        metric: the score that is raised.
        sampler: ``grid`` or ``optuna``; None for Optuna where it is installed and the number of
            trials is given.
        seed: origin of Optuna's draws.

    Raises:
        UserError: for fields and ranges that cannot be, a grid of too many points, and Optuna where
            it is not installed.
    """
    fields = parse_fields(recipe, texts)
    if sampler is None:
        sampler = "optuna" if trials is not None and has_optuna() else "grid"
    points: list[dict[str, Any]] = []
    if sampler == "optuna":
        check_optuna()
        if trials is None:
            raise UserError("--trials is missing: Optuna goes on for as long as it is asked")
    else:
        listed, points = grid_of(fields, None if trials is None else trials - 1)
        fields = dict(listed)
        trials = len(points) + 1
    return SearchPlan(
        recipe=recipe,
        fields=fields,
        points=tuple(points),
        trials=trials,
        metric=metric,
        seed=seed,
    )
