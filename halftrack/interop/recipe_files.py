"""Recipes in files of the user's own: Python that defines ``recipe``, or a config of MMTracking.

The two are told apart by the names that a file assigns. A config is read and never executed; a
recipe is the user's own program and is run.
"""

from __future__ import annotations

import ast
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from halftrack.bounds import shown
from halftrack.errors import UserError
from halftrack.interop.configs.files import read_text
from halftrack.interop.configs.literals import parse
from halftrack.interop.configs.sections import ConfigError, Place
from halftrack.interop.mapping.imported import import_config

if TYPE_CHECKING:
    from halftrack.recipes import Recipe

__all__ = ["RecipeFile", "is_own_recipe", "open_recipe_file"]

_OF_CONFIGS = ("_base_", "model", "data")


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """A file that a recipe can be had from, read once; one's own is run once, when it is asked."""

    path: Path
    """The file."""
    text: str
    """The file's text, and that of all files which a config inherits from."""
    contents: Callable[[], tuple[Recipe, str | None]]
    """Makes the recipe and finds the weights to start from, the first time; then keeps both."""
    notes: tuple[str, ...] = ()
    """Lines on what of a config is not needed here or means something else."""

    def __str__(self) -> str:
        return str(self.path)

    def load(self) -> Recipe:
        """The recipe.

        Raises:
            ConfigError: for whatever goes wrong in the file; names the line.
        """
        return self.contents()[0]

    @property
    def init(self) -> str | None:
        """Weights that training starts from: a config's ``load_from``, a file's own ``init``.

        Raises:
            ConfigError: as ``load`` does, and for an ``init`` that is no path.
        """
        return self.contents()[1]


def is_own_recipe(path: str | os.PathLike[str]) -> bool:
    """True of a file that assigns ``recipe``; executes nothing.

    Raises:
        UserError: for a file that cannot be read.
    """
    return "recipe" in _assigned(parse(read_text(Path(path)), str(path)))


def open_recipe_file(path: str | os.PathLike[str], options: Sequence[str] = ()) -> RecipeFile:
    """Read a file and find out what it is; imports no torch and executes nothing.

    A file that assigns ``recipe`` at its top level is a recipe of the user's own; one that assigns
    ``_base_``, ``model`` or ``data`` is a config of MMTracking.

    Args:
        path: the file.
        options: ``key=value`` texts as ``--cfg-options`` takes them; for configs alone.

    Raises:
        ConfigError: for a file that is neither or could be both, and mistakes in a config.
        MissingFileError: if there is no such file.
    """
    path = Path(path)
    text = read_text(path)
    names = _assigned(parse(text, str(path)))
    config = [name for name in _OF_CONFIGS if name in names]
    if "recipe" in names and config:
        raise ConfigError(
            Place(str(path)),
            f"it assigns recipe, as a recipe of your own, and {', '.join(config)}, as a config of "
            "MMTracking: give one of them another name",
        )
    if "recipe" in names:
        if options:
            raise ConfigError(
                Place(str(path)),
                "--cfg-options changes a config of MMTracking; change a recipe with --set",
            )
        return RecipeFile(path=path, text=text, contents=cache(lambda: _run(path, text)))
    if not config:
        raise ConfigError(
            Place(str(path)),
            "expected a file that assigns recipe (a recipe of your own) or "
            f"{', '.join(_OF_CONFIGS)} (a config of MMTracking)",
        )
    imported = import_config(path, options)
    text = imported.config.text
    return RecipeFile(
        path=path,
        text=text,
        contents=cache(lambda: (replace(imported.recipe(), text=text), imported.init)),
        notes=tuple(imported.notes()),
    )


def _assigned(tree: ast.Module) -> set[str]:
    """Names that a file assigns at its top level: they tell what it is before it is run."""
    names: set[str] = set()
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=targets):
                pass
            case ast.AnnAssign(target=target):
                targets = [target]
            case _:
                continue
        names |= {each.id for each in targets if isinstance(each, ast.Name)}
    return names


def _run(path: Path, text: str) -> tuple[Recipe, str | None]:
    """The recipe and the start weights that a file of the user's own defines.

    Raises:
        ConfigError: for whatever goes wrong in it; names the line.
    """
    name = f"halftrack_recipe_{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # or what the file defines could not go to other processes
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file beside it must not hide another package
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__)
                 if each.filename == str(path)]  # fmt: skip
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        place = Place(str(path), lines[-1] if lines else None)
        raise ConfigError(place, f"{kind}{error}") from error
    recipe = replace(_checked(path, module.__dict__.get("recipe")), text=text)
    return recipe, _start_weights(path, module.__dict__.get("init"))


def _start_weights(path: Path, init: Any) -> str | None:
    """The path that a file calls ``init``."""
    if init is None:
        return None
    if not isinstance(init, str | os.PathLike):
        raise ConfigError(
            Place(str(path)), f"init={shown(init)}: expected the path of a file of weights, or None"
        )
    return os.fspath(init)


def _checked(path: Path, recipe: Any) -> Recipe:
    """Make sure that what a file calls ``recipe`` answers as one; it is asked, not identified."""
    asked = ("to_dict", "build_model")
    if isinstance(recipe, type) or not all(hasattr(recipe, name) for name in asked):
        raise ConfigError(
            Place(str(path)),
            f"recipe={shown(recipe)}: expected a recipe, e.g. load_recipe(NAME) with fields "
            "changed by dataclasses.replace",
        )
    found: Recipe = recipe
    return found
