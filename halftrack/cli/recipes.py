"""``halftrack recipes`` and ``halftrack show``."""

from __future__ import annotations

import json

from rich.padding import Padding

from halftrack.cli.console import console
from halftrack.cli.options import PrecisionName, RecipeName, Settings
from halftrack.cli.recipe import choose_recipe, find_recipe
from halftrack.recipes.names import RECIPES

__all__ = ["recipes", "show"]


def recipes() -> None:
    """List all recipes with precision and summary."""
    for name, entry in RECIPES.items():
        # A name is there to be copied: on a line of its own, however narrow the terminal.
        console.print(f"[bold]{name}[/bold]  {entry.precision}", soft_wrap=True)
        console.print(Padding(entry.summary, (0, 0, 0, 4), expand=False))


def show(recipe: RecipeName, precision: PrecisionName = None, settings: Settings = None) -> None:
    """Print every field of a recipe as JSON.

    Each field but kind can be changed with --set, here and in the other commands.
    """
    source = find_recipe(recipe, precision, settings)
    console.print_json(json.dumps(choose_recipe(source, precision, settings).to_dict()))
