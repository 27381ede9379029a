"""``halftrack import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halftrack.cli.checks import check_new_file
from halftrack.cli.console import tell
from halftrack.errors import UserError

__all__ = ["import_recipe"]


def import_recipe(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG.py", help="A config of MMTracking. It is read, never executed."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write the recipe to this file. Default: print it."
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--cfg-options",
            metavar="KEY=VALUE",
            help="Change a key of the config first, as MMTracking's commands do, e.g. "
            "data.samples_per_gpu=4. Can be given several times.",
        ),
    ] = None,
) -> None:
    """Turn a config of MMTracking into a recipe.

    Writes Python that takes the nearest published recipe and changes what differs. The other
    commands take a config as it is, too: halftrack train CONFIG.py.
    """
    check_new_file("--out", out)
    if out is not None and out.exists():
        raise UserError(f"--out {out}: there is a file already; move it away")
    from halftrack.interop import import_config, recipe_text
    from halftrack.interop.recipe_files import is_own_recipe

    if is_own_recipe(config):
        raise UserError(f"{config} is a recipe already: take it in place of a recipe's name")
    imported = import_config(config, options or ())
    recipe, base = imported.recipe(), imported.base()
    notes = imported.notes()
    origin = f"Imported from {config.name}, a config of MMTracking."
    text = recipe_text(recipe, base, origin=origin, notes=notes, init=imported.init)
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    changed = len(imported.differing(base))
    tell(f"{out}: {base.name} with {changed} field{'s' * (changed != 1)} changed")
    for line in notes:
        tell(line)
    tell(f"not needed here: {', '.join(imported.not_needed())}")
