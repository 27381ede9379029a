"""Recipes as Python that a person would have written: a published one, with what differs."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from halftrack.recipes import Recipe

__all__ = ["nearest_listed", "recipe_text"]

_WIDTH = 100
_INDENT = 4


def recipe_text(
    recipe: Recipe,
    base: Recipe,
    *,
    origin: str,
    notes: Sequence[str] = (),
    init: str | None = None,
) -> str:
    """The text of a Python file that defines a recipe.

    Args:
        recipe: what the file's name ``recipe`` is to be.
        base: a listed recipe of the same kind, from which it differs in little.
        origin: one line on where the recipe is from, for the file's docstring.
        notes: lines for comments.
        init: file of the weights that a training starts from.
    """
    writer = _Writer()
    expression = writer.changed(recipe, base, "base")
    imports = sorted(f"from {module} import {name}" for module, name in writer.imports)
    replaced = ["from dataclasses import replace", ""] if isinstance(expression, _Call) else []
    loaded = f'load_recipe("{base.name}")'
    assigned = (
        [f"base = {loaded}", f"recipe = {expression.shown(len('recipe = '), 0)}"]
        if isinstance(expression, _Call)
        else [f"recipe = {loaded}"]
    )
    imports = sorted(["from halftrack.recipes import load_recipe", *imports])
    comments = [f"# {line}" for note in notes for line in _lines(note)]
    started = [] if init is None else [f"init = {_quoted(init)}"]
    lines = [f'"""{origin}"""', "", *replaced, *imports, "", *comments, *assigned, *started]
    return "\n".join(lines) + "\n"


def nearest_listed(recipe: Recipe) -> Recipe | None:
    """The listed recipe of the same kind that differs in the fewest fields; None for other kinds.

    Args:
        recipe: of equals, the one that has its name is taken.
    """
    from halftrack.recipes import RECIPES, load_recipe
    from halftrack.training.same_run import leaves

    wanted = dict(leaves(recipe.to_dict()))
    names = sorted(RECIPES, key=lambda name: name != recipe.name)
    listed = [each for each in map(load_recipe, names) if each.to_dict()["kind"] == wanted["kind"]]

    def differing(other: Recipe) -> int:
        return len(set(map(repr, wanted.items())) ^ set(map(repr, leaves(other.to_dict()))))

    return min(listed, key=differing, default=None)


def _lines(note: str) -> list[str]:
    return wrap(note, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)


@dataclass
class _Call:
    """An expression with brackets, which is broken into lines where it is long."""

    opening: str
    items: list[tuple[str, Any]]
    """The words before each value (``name=``) and the value: a text, or a call."""
    closing: str = ")"

    def shown(self, before: int, indent: int) -> str:
        """The text; ``before`` is what its line holds already, ``indent`` where that begins."""
        inside = ", ".join(f"{name}{_flat(value)}" for name, value in self.items)
        single = "," if self.opening == "(" and len(self.items) == 1 else ""
        flat = f"{self.opening}{inside}{single}{self.closing}"
        if before + len(flat) + 1 <= _WIDTH:
            return flat
        deeper = indent + _INDENT
        lines = []
        for name, value in self.items:
            text = value
            if isinstance(value, _Call):
                text = value.shown(deeper + len(name), deeper)
            lines.append(f"{' ' * deeper}{name}{text},")
        return "\n".join([self.opening, *lines, f"{' ' * indent}{self.closing}"])


def _flat(value: str | _Call) -> str:
    return value.shown(-(10**9), 0) if isinstance(value, _Call) else value


@dataclass
class _Writer:
    """Writes expressions and remembers the names that they need."""

    imports: set[tuple[str, str]] = field(default_factory=set)

    def changed(self, now: Any, was: Any, name: str) -> str | _Call:
        """The expression of a value, as far as it goes by that of another, which has a name."""
        if now == was and type(now) is type(was):
            return name
        if not dataclasses.is_dataclass(now) or type(now) is not type(was):
            return self.value(now)
        differing = [
            (f"{each}=", self.changed(new, old, f"{name}.{each}"))
            for each, new, old in _pairs(now, was)
            if new != old or type(new) is not type(old)
        ]
        return _Call("replace(", [("", name), *differing])

    def value(self, value: Any) -> str | _Call:
        """The expression of a value by itself."""
        if dataclasses.is_dataclass(value):
            kind = type(value)
            self.imports.add((_public_module(kind), kind.__name__))
            given = [
                (f"{each.name}=", self.value(getattr(value, each.name)))
                for each in dataclasses.fields(value)
                if getattr(value, each.name) != _default(each)
            ]
            return _Call(f"{kind.__name__}(", given)
        if isinstance(value, tuple):
            return _Call("(", [("", self.value(item)) for item in value])
        return _quoted(value) if isinstance(value, str) else repr(value)


def _pairs(now: Any, was: Any) -> Iterator[tuple[str, Any, Any]]:
    for each in dataclasses.fields(now):
        if each.compare:
            yield each.name, getattr(now, each.name), getattr(was, each.name)


def _default(each: dataclasses.Field[Any]) -> Any:
    if each.default_factory is not dataclasses.MISSING:
        return each.default_factory()
    return each.default


def _quoted(text: str) -> str:
    """The literal of a text, in double quotes where it holds none."""
    plain = repr(text)
    if plain[0] == "'" and '"' not in plain:
        return f'"{plain[1:-1]}"'
    return plain


def _public_module(kind: type) -> str:
    """The outermost package that shows a class."""
    parts = kind.__module__.split(".")
    for length in range(2, len(parts)):
        package = ".".join(parts[:length])
        if kind.__name__ in getattr(importlib.import_module(package), "__all__", ()):
            return package
    return kind.__module__
