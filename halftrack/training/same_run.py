"""Checks that a folder is free for a new run, and that a checkpoint is of the run at hand.

A field of a recipe on which no weight depends is marked where it is defined, with
``field(default=..., metadata={"free": True})``, and may change when a run is resumed.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from halftrack.bounds import shown
from halftrack.errors import UserError
from halftrack.training.files.run_folder import holds_run

__all__ = [
    "ALL_FIXED",
    "EPOCH",
    "SCORED",
    "DataFacts",
    "FreeFields",
    "batches_done",
    "check_parts",
    "check_same_data",
    "check_same_run",
    "check_same_start",
    "check_unused",
    "free_fields",
    "leaves",
]

DataFacts = Mapping[str, Mapping[str, int | str]]
"""Facts of what a run learns from, by data set: amounts, and hashes of what no amount tells."""

EPOCH = "an epoch"
"""The entry among the data's facts that holds the epoch's length."""

SCORED = "validation on "
"""The beginning of the names of sets that the run is scored on."""


class FreeFields(NamedTuple):
    """Dotted paths of the fields of a recipe in which a resumed run may differ from its record."""

    always: frozenset[str] = frozenset()
    """Fields on which no weight depends."""
    unset: frozenset[str] = frozenset()
    """Fields with their default: an earlier version, which did not know them, recorded none."""


ALL_FIXED = FreeFields()
"""Nothing may differ."""

_OTHERWISE = "choose another folder for this one (--out)"

_PARTS = ("meta", "position", "log", "state_dict", "optimizer", "schedule", "loss_scale", "average")
_COUNTS = ("epochs_finished", "steps", "skipped")


def check_unused(out: Path) -> None:
    """Make sure that no run has left checkpoints in a folder.

    Raises:
        ValueError: if there are some, or if it is no folder.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: choose a folder for the run")
    if holds_run(out):
        raise UserError(
            f"{out} already holds a run: go on with it (resume=True) or choose another folder"
        )


def check_parts(path: Path, state: Mapping[str, Any]) -> None:
    """Make sure that a file is a checkpoint of a run: only its weights may be another program's.

    Raises:
        ValueError: if it is none; names the first part that is missing or of another kind.
    """
    missing = [part for part in _PARTS if part not in state]
    if missing:
        raise UserError(f"{path} is no checkpoint of a run, it has no {missing[0]!r}: move it away")
    meta, position = state["meta"], state["position"]
    kinds: tuple[tuple[str, Any, type | tuple[type, ...]], ...] = (
        ("meta", meta, Mapping),
        ("meta.recipe", _part(meta, "recipe"), Mapping),
        ("meta.seed", _part(meta, "seed"), int),
        ("meta.init", _part(meta, "init", ""), str),
        ("meta.data", _part(meta, "data", {}), Mapping),
        *((f"meta.data.{name}", facts, Mapping) for name, facts in _items(meta, "data")),
        ("position", position, Mapping),
        *((f"position.{name}", _part(position, name), int) for name in _COUNTS),
        ("position.metrics", _part(position, "metrics"), Mapping),
        ("position.best", _part(position, "best", ""), (int, float, type(None))),
        ("loss_scale", state["loss_scale"], Mapping),
        (
            "position.batches_done",
            _part(position, "batches_done", _part(position, "clips_done")),
            int,
        ),
    )
    for name, value, kind in kinds:
        if not isinstance(value, kind):
            raise UserError(
                f"{path} is no checkpoint of a run, its {name!r} is {shown(value)}: move it away"
            )


def _items(values: Any, name: str) -> Iterable[tuple[Any, Any]]:
    found = _part(values, name)
    return found.items() if isinstance(found, Mapping) else ()


def _part(values: Any, name: str, default: Any = None) -> Any:
    return values.get(name, default) if isinstance(values, Mapping) else None


def check_same_run(
    path: Path,
    meta: Mapping[str, Any],
    *,
    recipe: Mapping[str, Any],
    seed: int,
    free: FreeFields,
) -> None:
    """Make sure that a checkpoint or log is of the run at hand.

    Args:
        path: the checkpoint or log, for the error.
        meta: what it says of its run.
        recipe: plain values that say what is run now.
        seed: of the run now.
        free: the recipe's fields that may differ.

    Raises:
        ValueError: if it is of another recipe or seed; names the first fields that differ.
    """
    if meta["seed"] != seed:
        raise UserError(
            f"{path} was trained with seed {shown(meta['seed'])}, this run has {seed}: {_OTHERWISE}"
        )
    was, now = dict(leaves(meta["recipe"])), dict(leaves(recipe))
    names = sorted((set(was) | set(now)) - free.always - (free.unset - set(was)))
    told = [
        f"{name} was {shown(was.get(name))}, now {shown(now.get(name))}"
        for name in names
        if was.get(name) != now.get(name)
    ]
    if told:
        more = f", and {len(told) - 3} more" if len(told) > 3 else ""
        raise UserError(
            f"{path} is of another recipe: {'; '.join(told[:3])}{more}: {_OTHERWISE}; --init FILE "
            "starts it from weights of that run"
        )


def check_same_start(path: Path, meta: Mapping[str, Any], init: str | Path | None) -> None:
    """Make sure that a run began with the weights that it is asked for with.

    Args:
        path: the checkpoint, for the error.
        meta: what it says of its run.
        init: the file, or the word ``none``; None where nothing was asked for.

    Raises:
        ValueError: if it began with others; names both.
    """
    was = meta.get("init", "not recorded")
    if init is None or was == "not recorded" or Path(was).resolve() == Path(init).resolve():
        return
    raise UserError(
        f"{path} is of a run that began with the weights {shown(was)}, not {shown(str(init))}: to "
        f"go on with it give --init {shlex.quote(was)}; otherwise {_OTHERWISE}"
    )


def check_same_data(
    path: Path, state: Mapping[str, Any], now: DataFacts, *, may_change: bool
) -> list[str]:
    """Make sure that a run goes on with the data it began with; returns how they differ, if at all.

    Args:
        path: the checkpoint, for the error.
        state: what it holds.
        now: facts of the data at hand.
        may_change: the user wants to go on with other data.

    Raises:
        ValueError: if they differ and may not, or if the file is no checkpoint of a run.
    """
    check_parts(path, state)
    changes = _changes(state["meta"]["data"], now) if "data" in state["meta"] else []
    if "data" not in state["meta"]:  # an earlier version's: its place must at least exist
        length = int(now[EPOCH]["batches"])
        into = batches_done(state["position"]) - state["position"]["epochs_finished"] * length
        if not 0 <= into <= length:
            changes = [f"it stands at batch {into} of an epoch, which has {length} now"]
    if changes and not may_change:
        raise UserError(
            f"{path} was trained on other data: {'; '.join(changes)}. Put the data back, go on "
            "with these from the start of the epoch: --data-changed (data_changed=True), or "
            f"{_OTHERWISE}"
        )
    return changes


def batches_done(position: Mapping[str, Any]) -> int:
    """Batches that a run has learned from, of what its checkpoint says of its place."""
    # Earlier versions called a batch a clip.
    return int(position["batches_done" if "batches_done" in position else "clips_done"])


def _changes(was: DataFacts, now: DataFacts) -> list[str]:
    """Lines on how the data differ from those that a run began with; empty if they do not."""
    if not any(name.startswith(SCORED) for name in was):  # an earlier version's checkpoint
        now = {name: facts for name, facts in now.items() if not name.startswith(SCORED)}
    lines = [f"{name} is gone" for name in was if name not in now]
    lines += [f"{name} is new" for name in now if name not in was]
    for name in was:
        before, after = was[name], now.get(name, was[name])
        fields = [field for field in {**before, **after} if before.get(field) != after.get(field)]
        amounts = [field for field in fields if isinstance(before.get(field, 0), int)]
        told = [
            f"{field} were {shown(before.get(field))}, now {shown(after.get(field))}"
            for field in amounts
        ]
        told += [f"other {field}" for field in fields if field not in amounts]
        if told:
            lines.append(f"{name}: {', '.join(told)}")
    return lines


def free_fields(recipe: Any, prefix: str = "") -> FreeFields:
    """The fields that may differ when a run is resumed.

    Args:
        recipe: a dataclass whose fields may be dataclasses in turn; a field is free if it, or one
            it is part of, is marked with the metadata ``{"free": True}``.
        prefix: goes before every path.
    """
    always: set[str] = set()
    unset: set[str] = set()
    for each in dataclasses.fields(recipe):
        value, default = getattr(recipe, each.name), each.default
        if each.default_factory is not dataclasses.MISSING:
            default = each.default_factory()
        if each.metadata.get("free"):
            always.add(prefix + each.name)
        elif dataclasses.is_dataclass(value):
            below = free_fields(value, f"{prefix}{each.name}.")
            always |= below.always
            unset |= below.unset
        elif value == default:
            unset.add(prefix + each.name)
    return FreeFields(frozenset(always), frozenset(unset))


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
