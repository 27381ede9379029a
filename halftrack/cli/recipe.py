"""The recipe a command was asked for, by name or file: its fields set, its parts exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from halftrack.bounds import shown
from halftrack.cli.checks import check_name, check_weights
from halftrack.errors import MissingFileError, UserError
from halftrack.recipes.names import find_entry

if TYPE_CHECKING:
    from halftrack.interop import RecipeFile
    from halftrack.recipes import Recipe, TrainedRecipe

__all__ = [
    "PRECISIONS",
    "check_parts",
    "check_recipe",
    "choose_recipe",
    "choose_trained",
    "load_named",
    "start_weights",
    "with_parts",
]

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


def check_recipe(
    name: str, precision: str | None, settings: Sequence[str] | None
) -> RecipeFile | None:
    """Refuse a recipe, a precision or a setting that cannot be, without building a recipe.

    Returns:
        The file that the recipe stands in; None for a listed one.
    """
    file = _file(name)
    if file is None:
        find_entry(name)
    check_name("--precision", precision, PRECISIONS)
    for setting in settings or ():
        if "=" not in setting:
            raise UserError(f"--set {shown(setting)}: expected FIELD=VALUE")
    return file


def load_named(name: str) -> Recipe:
    """The listed recipe of that name, or the one in the file of that name."""
    from halftrack.recipes import load_recipe

    file = _file(name)
    return load_recipe(name) if file is None else file.load()


def _file(name: str) -> RecipeFile | None:
    """The file that a name stands for; None for a listed recipe's."""
    if not name.endswith(".py"):
        return None
    from halftrack.interop import open_recipe_file

    return open_recipe_file(name)


def start_weights(file: RecipeFile | None, init: str | None) -> str | None:
    """The file that training starts from: ``--init``, or else the one that a recipe's file names.

    Raises:
        MissingFileError: if there is no such file.
    """
    check_weights("--init", None if init == "none" else init)
    if init is not None or file is None or file.init is None:
        return init
    if not Path(file.init).is_file():
        raise MissingFileError(
            f"{file.path} starts from {file.init}, and there is no such file: give it with --init, "
            "or --init none for random weights"
        )
    return file.init


def choose_recipe(name: str, precision: str | None, settings: Sequence[str] | None) -> Recipe:
    """The recipe of that name or file in that precision with these fields set."""
    from halftrack.recipes import override

    recipe = load_named(name)
    if precision is not None:
        recipe = recipe.with_precision(precision)
    return override(recipe, settings) if settings else recipe


def choose_trained(
    name: str, precision: str | None, settings: Sequence[str] | None
) -> TrainedRecipe:
    """The same, of a recipe that has a training step, and as right as can be known without data."""
    recipe = choose_recipe(name, precision, settings).for_training()
    recipe.check_before_data()
    return recipe


def check_parts(checkpoint: Path | None, detector: str | None, reid: str | None) -> None:
    """Refuse weights files that contradict each other or do not exist."""
    if checkpoint is not None and (detector is not None or reid is not None):
        raise UserError("--checkpoint holds both parts: leave out --detector and --reid")
    for option, file in (("--checkpoint", checkpoint), ("--detector", detector), ("--reid", reid)):
        check_weights(option, file)


def with_parts(recipe: Recipe, detector: str | None, reid: str | None) -> Recipe:
    """A tracking recipe with other files for its detector and ReID model."""
    if detector is None and reid is None:
        return recipe
    return recipe.with_parts(detector=detector, reid=reid)
