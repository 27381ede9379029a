"""Recipes that can use a user's data, and the commands to paste."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from halftrack.data.check.report import DataReport
from halftrack.data.own.layouts import OwnData
from halftrack.data.own.settings import Use
from halftrack.recipes.kinds.recipe import Recipe
from halftrack.recipes.names import RECIPES, load_recipe

__all__ = ["lines_on_uses"]

_PARTS = "--detector DETECTOR.pth --reid REID.pth"


def lines_on_uses(data: OwnData, report: DataReport) -> Iterator[str]:
    """Text for people: for each method two commands to paste, of a tiny recipe and a published one.

    Args:
        data: as recognised.
        report: the findings of a look at them.
    """
    methods: dict[str, list[tuple[Recipe, Use]]] = {}
    for name in RECIPES:
        recipe = load_recipe(name)
        use = recipe.use_of(data, report)
        if use is not None:
            methods.setdefault(recipe.method, []).append((recipe, use))
    for method, usable in methods.items():
        usable.sort(key=lambda pair: ("tiny" not in pair[0].name, len(_changes(*pair))))
        yield f"  {method}:"
        for recipe, use in usable[:2]:
            yield f"    {_command(recipe, use, data)}"
        if len(usable) > 2:
            yield f"    and {len(usable) - 2} more, such as {usable[-1][0].name}"


def _command(recipe: Recipe, use: Use, data: OwnData) -> str:
    """The command as a shell takes it, with the fields that differ from the recipe's own."""
    words = ["halftrack", use.command, recipe.name, "--data-root", shlex.quote(str(data.root))]
    if use.classes is not None:
        words.append(f"--classes {shlex.quote(use.classes)}")
    for path, value in _changes(recipe, use).items():
        words.append(f"--set {shlex.quote(f'{path}={_text(value)}')}")
    if use.command == "eval":
        words.append("--checkpoint FILE" if recipe.needs_checkpoint else _PARTS)
    return " ".join(words)


def _changes(recipe: Recipe, use: Use) -> dict[str, Any]:
    """The fields of a use that differ from the recipe's own."""
    fields = use.fields.items()
    return {path: value for path, value in fields if attrgetter(path)(recipe) != value}


def _text(value: Any) -> str:
    """A value as ``--set`` takes it: a tuple of words without brackets."""
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    return str(value)
