"""The recipe a command was asked for, by name or file: its fields set, its parts exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from halftrack.bounds import shown
from halftrack.cli.checks import check_name, check_weights
from halftrack.errors import MissingFileError, UserError
from halftrack.recipes.names import find_entry

if TYPE_CHECKING:
    from halftrack.recipes import Recipe, TrainedRecipe

__all__ = [
    "PRECISIONS",
    "RecipeSource",
    "check_parts",
    "choose_recipe",
    "choose_trained",
    "find_recipe",
    "start_weights",
    "with_classes",
    "with_native_half",
    "with_parts",
]

RecipeT = TypeVar("RecipeT", bound="Recipe")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


class RecipeSource(Protocol):
    """Source of a command's recipe: a name in the list, or a file."""

    @property
    def init(self) -> str | None:
        """File of the weights that training starts from, if it names one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines to tell on it."""

    def load(self) -> Recipe:
        """The recipe."""


@dataclass(frozen=True)
class _Listed:
    """A recipe of the list, by its name."""

    name: str
    init: str | None = None
    notes: tuple[str, ...] = ()

    def load(self) -> Recipe:
        from halftrack.recipes import load_recipe

        return load_recipe(self.name)


def find_recipe(name: str, precision: str | None, settings: Sequence[str] | None) -> RecipeSource:
    """Refuse a recipe, a precision or a setting that cannot be, without building a recipe."""
    source: RecipeSource = _Listed(name)
    if name.endswith(".py"):
        from halftrack.interop import open_recipe_file

        source = open_recipe_file(name)
    else:
        find_entry(name)
    check_name("--precision", precision, PRECISIONS)
    for setting in settings or ():
        if "=" not in setting:
            raise UserError(f"--set {shown(setting)}: expected FIELD=VALUE")
    return source


def start_weights(source: RecipeSource, init: str | None) -> str | None:
    """The file that training starts from: ``--init``, or else the one that a recipe's file names.

    Raises:
        MissingFileError: if there is no such file.
        ValueError: if it cannot be a file of weights.
    """
    if init is not None:
        check_weights("--init", None if init == "none" else init)
        return init
    if source.init is not None and not Path(source.init).is_file():
        raise MissingFileError(
            f"{source} starts from {source.init}, and there is no such file: give it with --init, "
            "or --init none for random weights"
        )
    check_weights("init", source.init)
    return source.init


def choose_recipe(
    source: RecipeSource, precision: str | None, settings: Sequence[str] | None
) -> Recipe:
    """The recipe of that source in that precision with these fields set."""
    from halftrack.recipes import override

    recipe = source.load()
    if precision is not None:
        recipe = recipe.with_precision(precision)
    return override(recipe, settings) if settings else recipe


def choose_trained(
    source: RecipeSource, precision: str | None, settings: Sequence[str] | None
) -> TrainedRecipe:
    """The same, of a recipe that has a training step, and as right as can be known without data."""
    recipe = choose_recipe(source, precision, settings).for_training()
    recipe.check_before_data()
    return recipe


def check_parts(checkpoint: Path | None, detector: str | None, reid: str | None) -> None:
    """Refuse weights files that contradict each other or do not exist."""
    if checkpoint is not None and (detector is not None or reid is not None):
        raise UserError("--checkpoint holds both parts: leave out --detector and --reid")
    for option, file in (("--checkpoint", checkpoint), ("--detector", detector), ("--reid", reid)):
        check_weights(option, file)


def with_classes(recipe: RecipeT, classes: str | None, data_root: Path | None = None) -> RecipeT:
    """A recipe for other classes: those named or, with ``from-data``, those of its training data.

    Raises:
        UserError: for a recipe that tells no classes apart, names that cannot be, no data to look
            into.
    """
    if classes is None:
        return recipe
    if classes == "from-data" and data_root is None:
        raise UserError(
            "--classes from-data: there are no data to look into; give --data-root, or name the "
            "classes, e.g. --classes car,bus"
        )
    names = () if classes == "from-data" else tuple(name.strip() for name in classes.split(","))
    return recipe.with_classes(names, data_root)


def with_parts(recipe: Recipe, detector: str | None, reid: str | None) -> Recipe:
    """A tracking recipe with other files for its detector and ReID model."""
    if detector is None and reid is None:
        return recipe
    return recipe.with_parts(detector=detector, reid=reid)


def with_native_half(
    recipe: Recipe, wanted: bool, *, precision: str | None, device: str | None
) -> Recipe:
    """The recipe in the CPU's own bf16, where that is wanted.

    Raises:
        ValueError: beside another precision, and for a device that has no such arithmetic.
    """
    if not wanted:
        return recipe
    if precision not in (None, "bf16"):
        raise UserError(f"--native-half computes in bf16: leave out --precision {precision}")
    from halftrack.precision.native import NativeHalf
    from halftrack.recipes import choose_device

    native = NativeHalf("bf16", keep_fp32=recipe.precision.keep_fp32)
    native.check_device(choose_device(device))
    return replace(recipe, precision=native)
