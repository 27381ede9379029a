"""Fields of a recipe set from texts, and recipes as plain values."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from halftrack.bounds import OutOfBoundsError, described, shown
from halftrack.errors import UserError
from halftrack.precision import Precision
from halftrack.recipes.kinds.renamed import field_paths, new_name, now_called

if TYPE_CHECKING:
    from halftrack.data.mot.config import MotDetectionConfig, ReIDDataConfig

__all__ = [
    "FieldError",
    "check_classes",
    "check_names",
    "first_difference",
    "first_error",
    "named_classes",
    "override",
    "plain",
    "with_a_scale",
]

RecipeT = TypeVar("RecipeT")

_DEEPEST = 16  # groups of fields within each other, many more than any recipe has
_LONGEST = 100  # characters of a path that is compared with the fields there are


class FieldError(UserError):
    """A value that a recipe's field does not take."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        """Dotted path of the field, or of the group that it is in."""

    def __reduce__(self) -> tuple[type[FieldError], tuple[str, str]]:
        return type(self), (self.field, str(self))


def override(recipe: RecipeT, changes: Sequence[str] | Mapping[str, Any]) -> RecipeT:
    """The recipe with other values in some of its fields, each named by its dotted path.

    In Python ``{"training.lr": 0.02}``; groups may be given as plain values. Or texts, as
    ``--set`` takes them, ``["training.lr=0.02"]``: values are Python literals (numbers, True,
    None, tuples), and anything else is taken as text. There a tuple needs no brackets:
    ``data.training_sets=vid,det``, ``precision.keep_fp32=neck``.

    Raises:
        ValueError: for a field that does not exist (its new name or else the nearest field is
            named) or a value of the wrong type.
    """
    if isinstance(recipe, str):
        raise UserError(f"{shown(recipe)} is a name; expected the recipe, load_recipe({recipe!r})")
    values = dataclasses.asdict(recipe)  # type: ignore[call-overload]
    if isinstance(changes, Mapping):
        for path, value in changes.items():
            group, last = _place_of(values, path)
            group[last] = plain(value)
    else:
        _assign_texts(values, [changes] if isinstance(changes, str) else changes)
    if isinstance(name := values.get("precision"), str):
        reason = f"recipe field precision={shown(name)}: expected a group of fields"
        by_name = "a precision is chosen with --precision, in Python with recipe.with_precision"
        raise FieldError("precision", f"{reason}; {by_name}")
    made: RecipeT = _made(type(recipe), values)
    return made


def _assign_texts(values: dict[str, Any], assignments: Sequence[str]) -> None:
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise UserError(f"--set {shown(assignment)}: expected FIELD=VALUE")
        if not _is_text(assignment):
            raise UserError(f"--set {shown(assignment)}: expected UTF-8 text without NUL")
        group, last = _place_of(values, path.strip())
        is_tuple = isinstance(group[last], tuple)
        group[last] = _items(text.strip()) if is_tuple else _literal(text.strip())


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    try:
        changed = _adapter(kind).validate_python(values)
    except ValidationError as error:
        field, _ = _place(kind, error.errors(include_url=False)[0]["loc"])
        raise FieldError(field, f"recipe field {first_error(error, kind)}") from error
    if unknown := next(_unknown(values, plain(changed)), None):
        raise UserError(f"no recipe field {unknown}")
    return changed


def _unknown(given: Any, taken: Any, path: str = "") -> Iterator[str]:
    """Fields that are in the values given and not in the recipe made of them: they do nothing."""
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        for name, value in given.items():
            inside = f"{path}.{name}" if path else str(name)
            if name not in taken:
                yield _cut(inside)
            else:
                yield from _unknown(value, taken[name], inside)
    elif isinstance(given, tuple | list) and isinstance(taken, tuple | list):
        for index, pair in enumerate(zip(given, taken, strict=False)):
            yield from _unknown(*pair, f"{path}[{index}]")


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _is_text(text: str) -> bool:
    """True of what a file can hold: halves of characters come from arguments in another code."""
    return not any(0xD800 <= ord(letter) <= 0xDFFF or letter == "\0" for letter in text)


def _place_of(values: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The group that holds a field, and the field's name in it."""
    *parents, last = path.split(".", _DEEPEST)
    place: Any = values
    for part in parents:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        known = list(field_paths(values))
        if new_name(path) in known:
            raise UserError(f"recipe field {path!r} is now called {now_called(path)}")
        alike = path[:_LONGEST].replace("learning_rate", "lr")
        near = difflib.get_close_matches(alike, known, n=3, cutoff=0.0)
        raise UserError(f"no recipe field {shown(path)}; the nearest are {', '.join(near)}")
    return place, last


def _literal(text: str) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python's grammar: "\\d", "1if"
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _items(text: str) -> Any:
    value = _literal(text)
    if value == text:  # words
        return tuple(_literal(word.strip()) for word in text.split(","))
    return value if value is None or isinstance(value, tuple | list) else (value,)


def plain(value: Any) -> Any:
    """Dataclasses as dicts and tuples as lists, at any depth."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(inside) for name, inside in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def first_error(error: ValidationError, kind: Any) -> str:
    """The first field of a recipe of that kind that pydantic refused, and what it takes."""
    first = error.errors(include_url=False)[0]
    field, hint = _place(kind, first["loc"])
    if first["type"] == "value_error":  # our own, which quotes what it was given
        own = first["ctx"]["error"]
        return f"{field}{'=' if isinstance(own, OutOfBoundsError) else ': '}{own}"
    if first["type"] == "missing":
        return f"{field} is missing: expected {described(hint)}"
    if first["type"] == "unexpected_keyword_argument":
        return f"{field} does not exist"
    return f"{field}={shown(first['input'])}: expected {described(hint)}"


def _place(kind: Any, steps: Sequence[str | int]) -> tuple[str, Any]:
    """The dotted path of a field, an item of a tuple in brackets, and its type."""
    path, hint = "", kind
    for step in steps:
        inside = [hint, *get_args(hint)]
        if isinstance(step, int):
            items = next((get_args(each) for each in inside if get_origin(each) is tuple), (Any,))
            path += f"[{step}]"
            hint = items[step] if step < len(items) and ... not in items else items[0]
            continue
        owner = next((each for each in inside if dataclasses.is_dataclass(each)), None)
        if owner is not None:
            path += f"{'.' if path else ''}{_cut(step)}"
            hint = get_type_hints(owner, include_extras=True).get(step, Any)
        # Else it is no step into the value: pydantic names here which type of several it tried.
    return path, hint


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."


def first_difference(was: Any, now: Any, path: str = "") -> str | None:
    """The first field in which plain values differ, in words; None if they are equal."""
    if not (isinstance(was, Mapping) and isinstance(now, Mapping)):
        return None if was == now else f"{path} was {was!r}, now {now!r}"
    for name in (*was, *now):
        inside = f"{path}.{name}" if path else name
        if name not in was or name not in now:
            return f"it had no {inside}" if name in now else f"there is no {inside} now"
        if found := first_difference(was[name], now[name], inside):
            return found
    return None


def with_a_scale(precision: Any) -> Any:
    """A precision's fields as they are: pydantic alone would take the loss scale True for 1."""
    if isinstance(precision, Mapping) and precision.get("loss_scale") is not None:
        Precision("fp16", precision["loss_scale"])  # refuses what is none
    return precision


def named_classes(
    names: Sequence[str], config: MotDetectionConfig | ReIDDataConfig, data_root: str | Path | None
) -> tuple[str, ...]:
    """The classes that a user names, or else those of MOTChallenge's training sequences.

    Args:
        names: as given; empty to take those of the data.
        config: which sequences; its own classes do not matter.
        data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.

    Raises:
        DataError: if the sequences or the CocoVID file are not there.
        ValueError: if there is no class, or one comes twice.
    """
    if not names and data_root is not None:
        from halftrack.data.own.settings import mot_classes

        names = mot_classes(config, data_root)
    return check_names(names)


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of classes, which must be there, each once.

    Raises:
        ValueError: if there is none, or one comes twice.
    """
    again = next((name for name in names if list(names).count(name) > 1), None)
    if not all(names):
        raise UserError("--classes: expected names of classes, one is empty")
    if not names or again is not None:
        told = "there is none" if again is None else f"{shown(again)} comes twice"
        raise UserError(f"--classes: expected names of classes, {told}")
    return tuple(names)


def check_classes(num_classes: int, class_names: Sequence[str]) -> None:
    """Make sure that a detector learns as many classes as its data name.

    Raises:
        ValueError: if there are more or fewer; names the fields.
    """
    if num_classes != len(class_names):
        raise UserError(
            f"model.roi_head.num_classes={num_classes}, but the data have {len(class_names)} "
            f"classes ({', '.join(class_names[:5])}{', ...' * (len(class_names) > 5)}): set it to "
            f"{len(class_names)}"
        )
