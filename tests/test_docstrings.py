"""Plain English: a public docstring opens with a noun or a verb that one would search for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import halftrack

PACKAGE = Path(halftrack.__file__).parent
ROOMS = sorted({path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")})
NO_OPENING = {"what", "how", "where", "which", "its", "of", "whether", "whose", "who", "whom"}


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every public docstring: module, class, function, method and field."""
    tree = ast.parse(source)
    yield 1, ast.get_docstring(tree) or ""
    yield from _inside(tree.body)


def _inside(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    for before, node in zip([None, *body], body, strict=False):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            if not node.name.startswith("_"):
                yield node.lineno, ast.get_docstring(node) or ""
            if node.name == "__init__" or (isinstance(node, ast.ClassDef) and node.name[0] != "_"):
                yield from _inside(node.body)
        if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(node, ast.Expr):
            target = before.targets[0] if isinstance(before, ast.Assign) else before.target
            private = ast.unparse(target).removeprefix("self.").startswith("_")
            if isinstance(node.value, ast.Constant) and not private:
                yield node.lineno, str(node.value.value)


def opens_badly(docstring: str) -> bool:
    return (docstring.split() or [""])[0].strip(",.:?").lower() in NO_OPENING


@pytest.mark.parametrize("room", ROOMS)
def test_no_public_docstring_opens_with_a_bare_question_word(room: str) -> None:
    path = PACKAGE / room
    bad = [
        f"{file.relative_to(PACKAGE)}:{line}: {text.splitlines()[0]}"
        for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))
        for line, text in docstrings(file.read_text(encoding="utf-8"))
        if opens_badly(text)
    ]
    assert not bad, "\n".join(bad)


def test_every_kind_of_public_docstring_is_read_and_no_private_one() -> None:
    source = '''
"""What a module is."""
LIMIT = 3
"""Of a constant."""
_HIDDEN = 4
"""Of nobody's concern."""
class Public:
    """How a class is."""
    field: int = 0
    """Its field."""
    def __init__(self):
        self.attribute = 1
        """Where an attribute is."""
    def method(self):
        """Whether, a method."""
    def _helper(self):
        """Which nobody reads."""
def function():
    """Who calls."""
class _Private:
    """Whose."""
    def method(self):
        """Whom."""
'''
    assert sorted(text.split()[0] for _, text in docstrings(source) if opens_badly(text)) == sorted(
        ["What", "Of", "How", "Its", "Where", "Whether,", "Who"]
    )
    assert not opens_badly("The data set's configuration.")
