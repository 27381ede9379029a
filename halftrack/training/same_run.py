"""Checks that a folder is free for a new run, and that a checkpoint is of the run at hand.

A field of a recipe on which no weight depends is marked where it is defined, with
``field(default=..., metadata={"free": True})``, and may change when a run is resumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from halftrack.errors import UserError

__all__ = ["check_same_run", "check_unused", "free_fields", "leaves"]


def check_unused(out: Path) -> None:
    """Make sure that no run has left checkpoints in a folder.

    Raises:
        ValueError: if there are some, or if it is no folder.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: choose a folder for the run")
    if any(out.glob("step_*.pth")):
        raise UserError(f"{out} already holds a run: resume it (--resume) or choose another folder")


def check_same_run(
    path: Path,
    meta: Mapping[str, Any],
    *,
    recipe: Mapping[str, Any],
    seed: int,
    free: Collection[str],
) -> None:
    """Make sure that a checkpoint or log is of the run at hand.

    Args:
        path: the checkpoint or log, for the error.
        meta: what it says of its run.
        recipe: plain values that say what is run now.
        seed: of the run now.
        free: dotted paths of the recipe's fields that may differ, see ``free_fields``.

    Raises:
        ValueError: if it is of another recipe or seed; names the first field that differs.
    """
    if meta["seed"] != seed:
        raise UserError(f"{path} was trained with seed {meta['seed']}, this run has {seed}")
    was, now = dict(leaves(meta["recipe"])), dict(leaves(recipe))
    for name in sorted((set(was) | set(now)) - set(free)):
        if was.get(name) != now.get(name):
            raise UserError(
                f"{path} is of another recipe: {name} was {was.get(name)!r}, now {now.get(name)!r}"
            )


def free_fields(recipe: Any, prefix: str = "") -> frozenset[str]:
    """Dotted paths of the fields that a resumed run may change.

    Args:
        recipe: a dataclass whose fields may be dataclasses in turn; a field is free if it, or one
            it is part of, is marked with the metadata ``{"free": True}``.
        prefix: goes before every path.
    """
    found: set[str] = set()
    for each in dataclasses.fields(recipe):
        value = getattr(recipe, each.name)
        if each.metadata.get("free"):
            found.add(prefix + each.name)
        elif dataclasses.is_dataclass(value):
            found |= free_fields(value, f"{prefix}{each.name}.")
    return frozenset(found)


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a recipe that is no group of others, with its dotted path.

    Args:
        values: plain values, as checkpoints keep them.
        prefix: goes before every path.
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
