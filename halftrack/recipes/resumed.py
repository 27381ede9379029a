"""The run that a folder holds already: training goes on with it, or refuses to touch it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from halftrack.errors import UserError
from halftrack.recipes.kinds.renamed import field_paths, refuse_old_names
from halftrack.recipes.kinds.trained import TrainedRecipe
from halftrack.training.files.checkpoint import NewestCheckpoint, newest_checkpoint
from halftrack.training.files.run_folder import holds_asked_run, holds_run, try_to_own
from halftrack.training.ranks import ALONE, Ranks
from halftrack.training.same_run import (
    check_parts,
    check_same_run,
    check_same_start,
    free_fields,
    leaves,
)

__all__ = ["held_run", "take_folder"]


def take_folder(out: Path, *, may_begin: bool, until: ExitStack) -> OSError | None:
    """Own the folder of a run as ``try_to_own`` does.

    Args:
        out: the folder.
        may_begin: False for a command without data, which needs a run that is there.
        until: leaves the folder.

    Raises:
        ValueError: if another process trains there, or there is no run and none may begin.
        OSError: if the folder holds no run and cannot be created or written to.
    """
    if not may_begin and not holds_run(out):
        raise UserError("a new run needs its data: --data-root")
    return try_to_own(out, until=until)


def held_run(
    recipe: TrainedRecipe,
    out: Path,
    *,
    seed: int,
    init: str | Path | None,
    asked: str | None,
    ranks: Ranks = ALONE,
) -> NewestCheckpoint | None:
    """Newest checkpoint of the run of this recipe that a folder holds; None if it holds no run.

    That it is the same run is checked as far as that is known without the data.

    Args:
        recipe: what is trained.
        out: the folder.
        seed: of the run.
        init: the weights that the run is to begin with; None where they were left out.
        asked: the option that asks for a run to go on with; None if one may begin there.
        ranks: the processes that share the run.

    Raises:
        FileNotFoundError: if a run is asked for and there is none, or none of its files is intact.
        ValueError: if it is a run of another recipe, seed or first weights; names what differs.
    """
    if not ranks.first_does(lambda: holds_asked_run(out, asked)):
        return None
    newest = newest_checkpoint(out, ranks)
    ranks.first_does(lambda: _check_same(newest, recipe, seed=seed, init=init))
    return newest


def _check_same(
    newest: NewestCheckpoint, recipe: TrainedRecipe, *, seed: int, init: str | Path | None
) -> None:
    """Refuse a checkpoint of another run, as far as that is known without the data."""
    path, state, _ = newest
    check_parts(path, state)
    values, ample = recipe.to_dict(), dict(leaves(recipe.without_data().to_dict()))
    refuse_old_names(state["meta"]["recipe"], str(path), present=set(field_paths(values)))
    open_fields = {name for name, value in leaves(values) if value != ample[name]}
    free = free_fields(recipe)
    free = free._replace(always=free.always | open_fields)
    check_same_run(path, state["meta"], recipe=values, seed=seed, free=free)
    check_same_start(path, state["meta"], init)
