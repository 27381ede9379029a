"""Files of an evaluation: numbers, tables, curves, results, packages for servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from halftrack.recipes import Evaluation, Recipe
from halftrack.report.ope_curves import OPE_PICTURES, plot_ope_curves
from halftrack.report.tables import Row, write_csv

__all__ = ["write_evaluation"]

_TABLES = {"By sequence": "sequences.csv", "By attribute": "attributes.csv"}


def write_evaluation(
    out: Path,
    recipe: Recipe,
    evaluation: Evaluation,
    *,
    row: Row,
    arithmetic: str | None = None,
    scored: Path | None = None,
) -> list[str]:
    """Write all files of an evaluation into a folder, which is made if it does not exist.

    ``eval.json`` has the scores in full, with what a model computed in, and ``eval.csv`` the
    published row. A tracker's scores by sequence are in ``sequences.csv``, by attribute in
    ``attributes.csv``, its tracks in ``results/<sequence>.txt``. Single-object
    tracking adds pictures of the success and precision curves, and a zip file if a server scores
    the split.

    Args:
        out: the folder.
        recipe: the recipe that was run.
        evaluation: the scores and results.
        row: the published row.
        arithmetic: what the model computed in, as ``Precision.in_words`` has it; None if none did.
        scored: the folder of result files that was scored, whose results are not written again;
            None if the recipe's own model tracked.

    Returns:
        Lines that say what was written.
    """
    out.mkdir(parents=True, exist_ok=True)
    told = {} if arithmetic is None else {"arithmetic": arithmetic}
    numbers = json.dumps(told | evaluation.numbers(), indent=2, allow_nan=False)
    (out / "eval.json").write_text(numbers, encoding="utf-8")
    write_csv(out / "eval.csv", [row])
    files, lines = ["eval.json", "eval.csv"], []
    tables = evaluation.tables()
    for title, name in _TABLES.items():
        if title in tables:
            write_csv(out / name, tables[title])
            files.append(name)
    files += _draw(out, recipe, evaluation, str(scored or recipe.name))
    if scored is None:
        lines += _write_each(out / "results", evaluation.result_writers())
        lines += recipe.pack_results(out, evaluation)
    optional = (*_TABLES.values(), *OPE_PICTURES)
    others = [name for name in optional if name not in files and (out / name).exists()]
    return [f"written to {out}: {', '.join(files)}", *_left(others), *lines]


def _draw(out: Path, recipe: Recipe, evaluation: Evaluation, label: str) -> list[str]:
    """Draw the curves, if there are any; return the names of the pictures."""
    curves = evaluation.curves
    if curves is None:
        return []
    title = f"{recipe.test_set}, rule {curves.rule}"
    plot_ope_curves(out, {label: curves.mean}, title=title)
    return list(OPE_PICTURES)


def _write_each(folder: Path, writers: Mapping[str, Callable[[Path], None]]) -> list[str]:
    """Write a file for each sequence, as benchmarks and their kits take them."""
    if not writers:
        return []
    folder.mkdir(exist_ok=True)
    others = sorted({file.stem for file in folder.glob("*.txt")} - set(writers))
    for name, write in writers.items():
        write(folder / f"{name}.txt")
    return [f"tracks in {folder}, one file a sequence", *_left(others)]


def _left(names: Sequence[str]) -> list[str]:
    """A line on old files that one could take for this evaluation's, if there are any."""
    return [f"still there from another run: {', '.join(names)}"] if names else []
