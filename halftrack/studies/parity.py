"""Is a precision as good as fp32, or as tf32? Paired runs of a recipe, and what they show.

Runs of one seed share weights, order of clips and every random draw: they differ in arithmetic
alone. Margin and number of seeds belong to the question and are stated before the runs; to add
seeds until the answer pleases is no test.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from halftrack.errors import UserError
from halftrack.evaluation import Equivalence, paired_equivalence
from halftrack.recipes import Recipe, TrainedRecipe, choose_device, train
from halftrack.report.curves import plot_curves
from halftrack.report.tables import render_table, write_csv
from halftrack.studies.finished import FinishedRun, read_finished
from halftrack.training.files.checkpoint import code_versions

__all__ = ["BASELINES", "Parity", "run_parity"]

BASELINES = ("fp32", "tf32")
"""The precisions that others are compared with."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Result of paired runs in two precisions; differences are in points, the baseline subtracted.

    A point is a hundredth of a metric that lies in 0 to 1, and 1 of a metric in percent.
    """

    recipe: TrainedRecipe
    """The recipe that was run, in the baseline's precision."""
    precision: str
    """The precision that is tried."""
    margin: float
    """Largest mean difference, either way, that counts as none."""
    pairs: tuple[tuple[FinishedRun, FinishedRun], ...] = ()
    """Runs of each seed: of the baseline, and of the precision that is tried."""
    interrupted: int | None = None
    """The signal that ended a run early, None if all ran to their end."""

    @property
    def metric(self) -> str:
        """The metric that is compared: the one that the recipe's best weights are chosen by."""
        return self.recipe.training.best_metric

    @property
    def baseline(self) -> str:
        """The precision that is compared with."""
        return self.recipe.precision.name

    @property
    def point(self) -> float:
        """A point, in the metric's own unit."""
        return self.recipe.metric_point

    @property
    def equivalence(self) -> Equivalence | None:
        """The test; None for fewer than two pairs, of which nothing can be said."""
        if len(self.pairs) < 2:
            return None
        baseline, tried = zip(*map(self._points, self.pairs), strict=True)
        return paired_equivalence(baseline, tried, margin=self.margin)

    @property
    def verdict(self) -> str:
        """The answer in words, with the figures that it rests on."""
        margin = f"{self.margin} point{'' if self.margin == 1 else 's'}"
        if not self.pairs:
            return "nothing can be said: no pair of runs came to its end"
        found = self.equivalence
        if found is None:
            baseline, tried = self._points(self.pairs[0])
            return (
                f"nothing can be said of one pair: {self.precision} minus {self.baseline} is "
                f"{tried - baseline:+.2f} points, and runs differ by chance; two seeds are the "
                "least"
            )
        low, high = found.interval
        figures = (
            f"mean difference {found.mean:+.2f} ({100 * (1 - 2 * found.alpha):.0f}% interval "
            f"{low:+.2f} to {high:+.2f}"
        )
        if found.equivalent:
            chance = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
            figures = f"{figures}, {chance}, {found.pairs} seeds)"
            return f"{self.precision} is as good as {self.baseline} within {margin}: {figures}"
        figures = f"{figures}, {found.pairs} seeds)"
        if found.different:
            word = "worse" if found.mean < 0 else "better"
            by = f"by more than {margin}: {figures}"
            return f"{self.precision} is {word} than {self.baseline} {by}"
        more = f"about {found.pairs_needed} seeds would show it if there is no difference"
        if found.pairs_needed <= found.pairs:
            more = "as many as these would mostly have shown it if there were no difference"
        return (
            f"not shown that {self.precision} is as good as {self.baseline} within {margin}: "
            f"{figures}; {more}"
        )

    def rows(self) -> list[dict[str, object]]:
        """A row a seed, as it is shown: the metric in points."""
        rows: list[dict[str, object]] = []
        for pair in self.pairs:
            baseline, tried = self._points(pair)
            rows.append(
                {
                    "seed": pair[0].seed,
                    self.baseline: f"{baseline:.2f}",
                    self.precision: f"{tried:.2f}",
                    "difference": f"{tried - baseline:+.2f}",
                    "skipped": f"{pair[1].skipped} of {pair[1].steps}",
                }
            )
        return rows

    def notes(self) -> list[str]:
        """Notes on what is compared, and on what differs between the runs beside the arithmetic."""
        lines = [
            f"{self.metric} at the end of training, in points of {self.point:g}; margin "
            f"{self.margin:g} either way"
        ]
        runs = [run for pair in self.pairs for run in pair]
        for what in ("versions", "device"):
            found = {json.dumps(getattr(run, what)) for run in runs}
            if len(found) > 1:
                lines.append(f"the runs differ in {what}: {'; '.join(sorted(found))}")
        return lines

    def numbers(self) -> dict[str, Any]:
        """Everything, as JSON takes it; metrics in their own units, the test in points."""
        found = self.equivalence
        return {
            "recipe": self.recipe.to_dict(),
            "baseline": self.baseline,
            "precision": self.precision,
            "metric": self.metric,
            "point": self.point,
            "margin": self.margin,
            "verdict": self.verdict,
            "equivalence": None if found is None else dataclasses.asdict(found),
            "runs": [
                dataclasses.asdict(run) | {"log": str(run.log)}
                for pair in self.pairs
                for run in pair
            ],
            "versions": code_versions(),
        }

    def write(self, out: Path) -> None:
        """Write ``parity.json``, ``parity.csv`` and ``parity.png``, the curves overlaid."""
        numbers = json.dumps(self.numbers(), indent=2, allow_nan=False)
        (out / "parity.json").write_text(numbers, encoding="utf-8")
        rows = [
            {"seed": baseline.seed, "metric": self.metric}
            | {run.precision: run.score for run in (baseline, tried)}
            | {"difference": tried.score - baseline.score}
            | {"skipped": tried.skipped, "steps": tried.steps}
            for baseline, tried in self.pairs
        ]
        write_csv(out / "parity.csv", rows)
        columns = zip(*self.pairs, strict=True)
        logs = {runs[0].precision: [run.log for run in runs] for runs in columns}
        plot_curves(out / "parity.png", logs)

    def _points(self, pair: tuple[FinishedRun, FinishedRun]) -> tuple[float, float]:
        baseline, tried = (run.score / self.point for run in pair)
        return baseline, tried


def run_parity(
    recipe: Recipe,
    *,
    data_root: str | Path,
    out: Path,
    seeds: int,
    precision: str = "fp16",
    baseline: str = "fp32",
    margin: float = 1.0,
    init: str | Path | None = None,
    device: torch.device | str | None = None,
    trust: bool = False,
    console: Console,
) -> Parity:
    """Train a recipe in two precisions from the same seeds, and compare.

    A run goes to ``out/seed_<seed>_<precision>``. Nothing is lost: what has finished there is read,
    what was interrupted goes on. After each pair the table so far is shown and written.

    Args:
        recipe: in any precision; in half it keeps its own loss scale.
        data_root: where the data lie.
        out: the folder of the runs and of ``parity.json``, ``parity.csv`` and ``parity.png``.
        seeds: pairs of runs, of the seeds 0, 1, ...
        precision: what is tried: tf32, bf16 or fp16.
        baseline: what it is compared with: fp32, or tf32, which torch calls fp32 on a GPU.
        margin: largest mean difference that counts as none, in points.
        init: the weights all runs start from, as ``halftrack.recipes.train`` takes them.
        device: where they train.
        trust: unpickle arbitrary objects in ``init``.
        console: where the tables go.

    Raises:
        ValueError: for a recipe that is not trained or not scored, fewer than one seed, a margin
            that is none, the baseline itself, and a folder that holds runs of another recipe.
        NonFiniteGradientError: a gradient that no smaller loss scale can mend.
    """
    _check_question(seeds=seeds, precision=precision, baseline=baseline, margin=margin)
    trained = recipe.for_training().settled(data_root)
    before, tried = trained.with_precision(baseline), trained.with_precision(precision)
    if trained.validator(data_root, choose_device(device)) is None:
        raise UserError(f"{recipe.name} is not scored while it trains: nothing to compare")
    parity = Parity(recipe=before, precision=precision, margin=float(margin))
    for seed in range(seeds):
        pair = []
        for chosen in (before, tried):
            folder = out / f"seed_{seed}_{chosen.precision.name}"
            run = read_finished(folder / "log.jsonl", chosen, seed=seed)
            if run is None:
                console.rule(f"seed {seed}, {chosen.precision.name}")
                result = train(
                    chosen,
                    data_root=data_root,
                    out=folder,
                    seed=seed,
                    init=init,
                    device=device,
                    trust=trust,
                )
                if result.interrupted is not None:
                    return replace(parity, interrupted=result.interrupted)
                run = read_finished(folder / "log.jsonl", chosen, seed=seed)
                assert run is not None, "a run that ends is evaluated"
            pair.append(run)
        parity = replace(parity, pairs=(*parity.pairs, (pair[0], pair[1])))
        title = f"{recipe.name}, {seed + 1} of {seeds} seeds"
        console.print(render_table(parity.rows(), title=title))
        parity.write(out)
    return parity


def _check_question(*, seeds: int, precision: str, baseline: str, margin: float) -> None:
    """Refuse a comparison that cannot be."""
    if seeds < 1:
        raise UserError(f"seeds={seeds}: expected at least 1")
    if not 0 < margin < math.inf:
        raise UserError(f"margin={margin}: expected points above 0")
    if baseline not in BASELINES:
        raise UserError(f"baseline {baseline!r} is not one of {', '.join(BASELINES)}")
    tried = [name for name in ("tf32", "bf16", "fp16") if name != baseline]
    if precision in ("fp32", baseline):
        raise UserError(
            f"precision {precision!r} cannot be compared with {baseline}; choose "
            f"{', '.join(tried[:-1])} or {tried[-1]}"
        )
