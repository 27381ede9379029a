"""Outside recipes/ a recipe is asked, never identified by its type."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import halftrack

PACKAGE = Path(halftrack.__file__).parent
ROOT = PACKAGE.parent
FILES = [
    path
    for path in sorted([*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")])
    if PACKAGE / "recipes" not in path.parents
]


def names_a_recipe(node: ast.AST) -> bool:
    """Whether a recipe type is among what an expression names."""
    names = {getattr(each, "id", getattr(each, "attr", "")) for each in ast.walk(node)}
    return any(name.endswith("Recipe") for name in names)


def identified(tree: ast.AST) -> Iterator[int]:
    """Lines that decide by the type of a recipe."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
                if names_a_recipe(kinds):
                    yield node.lineno
            case ast.Call(func=ast.Name(id="type"), args=[ast.Name(id=name)]):
                if name in ("recipe", "chosen", "trained", "tiny"):
                    yield node.lineno
            case ast.Attribute(value=ast.Name(id="recipe" | "chosen"), attr="__class__" | "kind"):
                yield node.lineno
            case ast.MatchClass(cls=kind) if names_a_recipe(kind):
                yield node.lineno
            case ast.Dict(keys=keys) if any(
                key is not None and names_a_recipe(key) for key in keys
            ):
                yield node.lineno


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(recipe, kinds.SingleObjectRecipe | ReIDRecipe)",
        "METHODS = {ReIDRecipe: 'ReID'}",
        "type(recipe)",
        "match recipe:\n    case ReIDRecipe():\n        pass",
    ],
)
def test_what_is_counted(line: str) -> None:
    assert list(identified(ast.parse(line)))


def test_no_recipe_is_identified_outside_recipes() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in FILES
        for line in identified(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []
