"""What an evaluation leaves on disk: numbers, tables, curves, results, packages for servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from halftrack.evaluation import pack_got10k, pack_trackingnet, write_boxes, write_results
from halftrack.recipes import (
    Evaluation,
    Recipe,
    SingleObjectEvaluation,
    SingleObjectRecipe,
    TrackingEvaluation,
)
from halftrack.report.ope_curves import OPE_PICTURES, plot_ope_curves
from halftrack.report.tables import Row, write_csv

__all__ = ["write_evaluation"]

_TABLES = {"By sequence": "sequences.csv", "By attribute": "attributes.csv"}
_SERVERS = {"GOT-10k": 180, "TrackingNet": 511}  # test sequences, all of which are to be uploaded
ResultT = TypeVar("ResultT")


def write_evaluation(
    out: Path, recipe: Recipe, evaluation: Evaluation, *, row: Row, scored: Path | None = None
) -> list[str]:
    """Write everything of an evaluation into a folder, which is made where it does not exist.

    ``eval.json`` has the scores in full and ``eval.csv`` the published row. A tracker's scores by
    sequence are in ``sequences.csv``, by attribute in ``attributes.csv``, its tracks in
    ``results/<sequence>.txt``; of one object there are success and precision curves as pictures,
    and a zip file where a server scores the split.

    Args:
        out: the folder.
        recipe: what was run.
        evaluation: how it scored.
        row: its published row.
        scored: the folder of result files that was scored; its results are not written again. None
            where the recipe's own model tracked.

    Returns:
        Lines on what was written.
    """
    out.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(evaluation.numbers(), indent=2, allow_nan=False)
    (out / "eval.json").write_text(numbers, encoding="utf-8")
    write_csv(out / "eval.csv", [row])
    files, lines = ["eval.json", "eval.csv"], []
    tables = evaluation.tables()
    for title, name in _TABLES.items():
        if title in tables:
            write_csv(out / name, tables[title])
            files.append(name)
    if isinstance(evaluation, TrackingEvaluation) and scored is None:
        lines += _write_each(out / "results", evaluation.results, write_results)
    if isinstance(recipe, SingleObjectRecipe):
        assert isinstance(evaluation, SingleObjectEvaluation)
        files += _draw(out, recipe, evaluation, str(scored or recipe.name))
        if scored is None:
            lines += _write_each(out / "results", evaluation.results, write_boxes)
            lines += _pack(out, recipe, evaluation)
    optional = (*_TABLES.values(), *OPE_PICTURES)
    others = [name for name in optional if name not in files and (out / name).exists()]
    return [f"written to {out}: {', '.join(files)}", *_left(others), *lines]


def _draw(
    out: Path, recipe: SingleObjectRecipe, evaluation: SingleObjectEvaluation, label: str
) -> list[str]:
    """The curves by the recipe's rule, if there are scores; returns the names of the pictures."""
    if not evaluation.metrics:
        return []
    scores = evaluation.metrics[recipe.rule].mean
    title = f"{recipe.benchmark} {recipe.split}, rule {recipe.rule}"
    plot_ope_curves(out, {label: scores}, title=title)
    return list(OPE_PICTURES)


def _write_each(
    folder: Path, results: Mapping[str, ResultT], write: Callable[[Path, ResultT], None]
) -> list[str]:
    """A file for each sequence, as benchmarks and their kits take them."""
    folder.mkdir(exist_ok=True)
    others = sorted({file.stem for file in folder.glob("*.txt")} - set(results))
    for name, result in results.items():
        write(folder / f"{name}.txt", result)
    return [f"tracks in {folder}, one file a sequence", *_left(others)]


def _left(names: Sequence[str]) -> list[str]:
    """A line on files that would be taken for this evaluation's, if there are any."""
    return [f"of another run, and still there: {', '.join(names)}"] if names else []


def _pack(out: Path, recipe: SingleObjectRecipe, evaluation: SingleObjectEvaluation) -> list[str]:
    """The zip file that the benchmark's server takes, if it has one that scores the split."""
    if recipe.split != "test" or recipe.benchmark not in _SERVERS:
        return []
    file = out / f"{recipe.benchmark}_{recipe.split}.zip"
    if recipe.benchmark == "GOT-10k":
        pack_got10k(file, evaluation.results, evaluation.frame_seconds)
    else:
        pack_trackingnet(file, evaluation.results)
    packed, expected = len(evaluation.results), _SERVERS[recipe.benchmark]
    lines = [f"{file} is ready for {recipe.benchmark}'s server"]
    if packed != expected:
        lines = [f"{file} has {packed} sequences, {recipe.benchmark}'s server scores {expected}"]
    return lines
