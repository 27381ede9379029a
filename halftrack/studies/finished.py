"""Reads from its log how a training run ended, if it came to its end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from halftrack.errors import UserError
from halftrack.recipes import TrainedRecipe
from halftrack.recipes.kinds.renamed import field_paths, refuse_old_names
from halftrack.training.files.log_file import read_log
from halftrack.training.same_run import check_same_run, free_fields

__all__ = ["FinishedRun", "read_finished"]


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run that came to its end, as its log tells it."""

    log: Path
    """The run's ``log.jsonl``."""
    seed: int
    """Origin of its randomness."""
    precision: str
    """The precision's name."""
    score: float
    """The recipe's ``best_metric`` at its end; its best may be an earlier one, picked by chance."""
    metrics: dict[str, float | None]
    """All of the evaluation at its end; None for what was not finite."""
    steps: int
    """Attempted steps."""
    skipped: int
    """Attempts that were skipped because a gradient was not finite."""
    device: str
    """Device that the run computed on."""
    versions: dict[str, str | None]
    """Versions of the code and libraries."""


def read_finished(log: Path, recipe: TrainedRecipe, *, seed: int) -> FinishedRun | None:
    """The run of a ``log.jsonl``; None if there is none, or it was not evaluated at its end.

    Args:
        log: the file.
        recipe: what the run must be of; settled, so that it is what training logs.
        seed: of the run.

    Raises:
        ValueError: if it is of another recipe or seed, its score is not finite, or the file is
            malformed.
    """
    records = read_log(log) if log.exists() else []
    scored = [r for r in records if r["mode"] == "val" and r["epoch"] == recipe.training.epochs]
    if not scored:
        return None
    meta, last = records[0], scored[-1]
    present = set(field_paths(recipe.to_dict()))
    refuse_old_names(meta["recipe"], str(log), present=present)
    check_same_run(log, meta, recipe=recipe.to_dict(), seed=seed, free=free_fields(recipe))
    place = ("mode", "epoch", "iter", "step")
    # The log writes "inf" and "nan" as text: JSON has no such numbers.
    values = {name: float(value) for name, value in last.items() if name not in place}
    score = values[recipe.training.best_metric]
    if not math.isfinite(score):
        raise UserError(f"{log}: {recipe.training.best_metric} is {score} at the end of the run")
    return FinishedRun(
        log=log,
        seed=seed,
        precision=recipe.precision.name,
        score=score,
        metrics={name: v if math.isfinite(v) else None for name, v in values.items()},
        steps=last["step"],
        skipped=sum(r.get("skipped") is True for r in records),
        device=meta["device"],
        versions=meta["versions"],
    )
