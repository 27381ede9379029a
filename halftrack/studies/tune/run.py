"""Search for the settings of a tracker that score best, a trial after the other.

MMTracking's tools/analysis/mot/mot_param_search.py does it for a grid, and runs the networks anew
for each point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from halftrack.data import Progress
from halftrack.errors import naming_file
from halftrack.interop import nearest_listed, recipe_text
from halftrack.recipes import Evaluation, Recipe, choose_device, open_model, override
from halftrack.report.tables import write_csv
from halftrack.report.trial_curves import draw_trials
from halftrack.studies.tune.plan import TRIALS, SearchPlan
from halftrack.studies.tune.samplers import Sampler
from halftrack.studies.tune.trials_file import Trial, TrialsFile
from halftrack.training.files.run_folder import own_folder

__all__ = ["BEST", "Tuned", "run_tuning"]

BEST = "best_recipe.py"
"""Name of the file of the best recipe in a search's folder."""


@contextmanager
def _untold(_: str) -> Iterator[Progress]:
    """Shows nothing."""
    yield lambda done, total: None


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Result of a search."""

    recipe: Recipe
    """The recipe as it was given."""
    metric: str
    """The score that was raised."""
    trials: tuple[Trial, ...]
    """All trials, the recipe's own settings first."""
    frames: int
    """Frames that each trial was scored on."""

    @property
    def best(self) -> Trial:
        """The trial with the best score, of equals the first."""
        return max(self.trials, key=lambda trial: trial.scores[self.metric])

    @property
    def tuned(self) -> Recipe:
        """The recipe with the best settings."""
        return replace(
            override(self.recipe, self.best.settings),
            name=f"{self.recipe.name}_tuned",
            text="",
        )

    @property
    def base(self) -> Recipe | None:
        """The built-in recipe that the file of the best one builds on; None of a kind of one's own.

        Of such a kind no file is written.
        """
        return nearest_listed(self.recipe)

    @property
    def settings(self) -> list[str]:
        """The best settings, as ``--set`` takes them."""
        return [f"--set {path}={value}" for path, value in self.best.settings.items()]

    def rows(self) -> list[dict[str, object]]:
        """A row a trial: settings, all scores and the time."""
        return [
            {"trial": each.number, **each.settings, **each.scores, "seconds": each.seconds}
            for each in self.trials
        ]

    def top(self, count: int = 10) -> list[dict[str, object]]:
        """The best trials and the recipe's own settings, as they are shown."""
        ranked = sorted(self.trials, key=lambda trial: -trial.scores[self.metric])[:count]
        if self.trials[0] not in ranked:
            ranked.append(self.trials[0])
        names = [self.metric, *(n for n in ("mota", "idf1", "hota") if n != self.metric)]
        return [
            {
                "trial": "recipe's own" if each.number == 0 else each.number,
                **{path.partition(".")[2]: value for path, value in each.settings.items()},
                **{name: f"{each.scores[name]:.4f}" for name in names if name in each.scores},
            }
            for each in ranked
        ]

    def write(self, out: Path) -> list[str]:
        """Write the table of trials, their picture and the best recipe; returns lines on them."""
        write_csv(out / "trials.csv", self.rows())
        settings = [each.settings for each in self.trials]
        scores = [each.scores[self.metric] for each in self.trials]
        draw_trials(out / "trials.png", settings, scores, metric=self.metric)
        base = self.base
        if base is None:
            return [
                f"written to {out}: {TRIALS}, trials.csv, trials.png; no recipe, as its kind is "
                "your own: --set takes the best settings"
            ]
        best = self.best
        origin = f"{self.recipe.name} with the tracker settings that halftrack tune found."
        looked = (
            f"{self.metric} {best.scores[self.metric]:.4f} on {self.recipe.test_set}, where the "
            f"settings were chosen: trial {best.number} of {len(self.trials)}."
        )
        text = recipe_text(self.tuned, base, origin=origin, notes=[looked])
        with naming_file(out / BEST):
            (out / BEST).write_text(text, encoding="utf-8")
        return [f"written to {out}: {TRIALS}, trials.csv, trials.png, {BEST}"]

    def notes(self) -> list[str]:
        """Lines on what was gained, and on which data."""
        own, best = (each.scores[self.metric] for each in (self.trials[0], self.best))
        return [
            f"{self.metric} {own:.4f} with the recipe's own settings, {best:.4f} with the best of "
            f"{len(self.trials)} trials",
            f"looked at: {self.recipe.test_set}, {self.frames} frames; its scores flatter settings "
            "that were chosen on it, so score them on other data",
        ]


def run_tuning(
    plan: SearchPlan,
    *,
    data_root: str | Path,
    checkpoint: str | Path | None,
    out: Path,
    cache_bytes: int,
    device: torch.device | str | None = None,
    trust: bool = False,
    say: Callable[[str], None] = print,
    bar: Callable[[str], AbstractContextManager[Progress]] = _untold,
) -> Tuned:
    """Score the recipe's own settings, then what the plan's sampler asks for.

    ``out/trials.jsonl`` holds the trials; a search that was stopped goes on from it.

    Args:
        plan: of the search.
        data_root: the folder that holds the data sets as downloaded.
        checkpoint: the weights; None for the files that a tracking recipe names.
        out: the folder of the search.
        cache_bytes: bound of what ``out/cache`` holds.
        device: where to compute.
        trust: unpickle arbitrary objects in a weights file.
        say: told about the cache and about trials that were there already.
        bar: shows the progress of the frames that are kept first, and then of the trials; called
            with the word for them.

    Raises:
        DataError: if the data are not there or not readable.
        ValueError: for data without ground truth, and a folder that holds another search.
    """
    recipe = plan.recipe
    with own_folder(out):
        file = TrialsFile(out / TRIALS)
        file.check(plan.question())
        device = choose_device(device)
        model = open_model(recipe, checkpoint, device, trust=trust)
        scored = recipe.tuning().open(
            model, data_root, device, cache=out / "cache", most_bytes=cache_bytes, say=say
        )
        question = {**plan.question(), "inputs": scored.inputs}
        file.check(question)
        file.begin(question)
        if file.trials:
            say(f"{len(file.trials)} trials are in {file.path} already: the search goes on")
        with bar("frames") as told:
            scored.prepare(told)
        with bar("trials") as told:
            _try(plan, file, scored.score, told)
    return Tuned(recipe=recipe, metric=plan.metric, trials=tuple(file.trials), frames=scored.frames)


def _try(
    plan: SearchPlan, file: TrialsFile, score: Callable[[Recipe], Evaluation], progress: Progress
) -> None:
    """Try what the sampler asks for until there are as many trials as planned."""
    sampler = plan.new_sampler()
    while len(file.trials) < plan.trials:
        settings = _next(plan, sampler, file.trials)
        if settings is None:
            return
        start = time.perf_counter()
        scores = _known(file.trials, settings)
        if scores is None:
            scores = score(override(plan.recipe, settings)).flat()
        seconds = round(time.perf_counter() - start, 3)
        number = len(file.trials)
        file.add(Trial(number=number, settings=settings, scores=scores, seconds=seconds))
        progress(number + 1, plan.trials)


def _next(plan: SearchPlan, sampler: Sampler, done: Sequence[Trial]) -> dict[str, Any] | None:
    """The settings of the next trial; the recipe's own come first."""
    if not done:
        return {path: attrgetter(path)(plan.recipe) for path in plan.fields}
    return sampler.ask([(each.settings, each.scores[plan.metric]) for each in done])


def _known(done: Sequence[Trial], settings: Mapping[str, Any]) -> dict[str, float] | None:
    """The scores of settings that were tried before, as samplers repeat themselves."""
    return next((each.scores for each in done if each.settings == settings), None)
