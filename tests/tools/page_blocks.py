"""Finds what a reader of a page can copy: commands, Python, and options, in blocks and in lines."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from typer.main import get_command

from halftrack.cli.app import app
from halftrack.recipes import load_recipe, override
from halftrack.recipes.names import RECIPES

__all__ = ["PAGES", "ROOT", "Piece", "check_command", "check_option", "is_mention", "pieces"]

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))))

_PROGRAMS = ("halftrack", "torchrun", "pip", "make", "source", "python", "pytest", "srun")
_BLOCK = re.compile(
    r"^```(\w*)\n((?:.*\n)*?)```$|(?<=\n\n)((?:    .*\n)(?:(?:    .*)?\n)*)", re.MULTILINE
)
_IN_LINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_OF_A_SHELL = re.compile(rf"(?:#SBATCH|[A-Z_]+=\S|(?:{'|'.join(_PROGRAMS)}) )")


@dataclass(frozen=True)
class Piece:
    """Something on a page that a reader may run."""

    page: str
    kind: Literal["command", "inline", "python", "option", "text"]
    """A command in a block or in a sentence, Python, an option that is spoken of; ``text`` is a
    block that is nothing of these: what a command prints, a drawing."""
    text: str
    """A command on one line; a whole block of Python or text."""

    @property
    def words(self) -> list[str]:
        """The words of a command, as a shell splits them."""
        return shlex.split(self.text, comments=True)


def pieces(page: str) -> Iterator[Piece]:
    """All of a page from top to bottom; what stands there twice, once."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: list[tuple[int, Piece]] = []
    for block in _BLOCK.finditer(text):
        found += [(block.start(), Piece(page, *each)) for each in _of_block(block)]  # type: ignore[arg-type]
    prose = _BLOCK.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
    for span in _IN_LINE.finditer(prose):
        words = " ".join(span[1].split())
        if words.startswith("--"):
            found.append((span.start(), Piece(page, "option", words)))
        elif words.split()[0] in _PROGRAMS and len(words.split()) > 1:
            found.append((span.start(), Piece(page, "inline", words)))
    found.sort(key=lambda pair: pair[0])
    yield from dict.fromkeys(piece for _, piece in found)


def _of_block(block: re.Match[str]) -> Iterator[tuple[str, str]]:
    language, fenced, indented = block.groups()
    text: str = fenced or indented or ""
    lines = re.sub(r"\\\n\s*", "", text).strip("\n").splitlines()
    if language == "python":
        yield "python", text
    elif any(_OF_A_SHELL.match(line.strip()) for line in lines):
        yield from (("command", line.strip()) for line in lines if line.strip())
    elif text.strip():
        text = "\n".join(line.removeprefix("    ") for line in lines)
        yield ("python" if _is_python(text) else "text"), text


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def is_mention(words: Sequence[str]) -> bool:
    """A command is spoken of, without all that it cannot run without."""
    command, rest = _command(words)
    if hasattr(command, "commands"):
        return True
    given = command.make_context("", rest, resilient_parsing=True).params
    return "..." in words or any(
        each.required and not given.get(each.name) for each in command.params
    )


def check_command(words: Sequence[str], *, whole: bool) -> None:
    """Fail unless the command, its options, its recipe and the recipe's fields exist.

    Args:
        words: from ``halftrack`` on.
        whole: values of options are looked at too, and what may not be missing.

    Raises:
        Exception: LookupError, typer's or a UserError, with what is wrong.
    """
    command, rest = _command(words)
    if hasattr(command, "commands") or "--help" in rest:
        return
    words = rest[: rest.index("--")] if "--" in rest else rest
    _require_options(words, frozenset(_names(command)))
    given = command.make_context("", rest, resilient_parsing=not whole).params
    recipe = given.get("recipe") or ""
    if re.fullmatch(r"[a-z][\w-]*_[\w-]+", recipe):
        load_recipe(recipe)
    _check_settings(recipe, given.get("settings") or ())


def _command(words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command of some words, or the group that they stop at, and the rest of the words."""
    command: Any = get_command(app)
    rest = [word for word in words[1:] if word != "..."]
    while rest and hasattr(command, "commands"):
        if rest[0] not in command.commands:
            raise LookupError(f"no command {rest[0]}")
        command = command.commands[rest.pop(0)]
    return command, rest


def check_option(words: Sequence[str]) -> None:
    """Fail unless some command takes these options, and some recipe these settings."""
    _require_options(words, _all_options())
    settings = [after for word, after in pairwise(words) if word == "--set"]
    _check_settings("", [each for each in settings if each != "FIELD=VALUE"])


def _require_options(words: Sequence[str], known: Collection[str]) -> None:
    """Fail for a word that begins with ``--`` and is none of the options."""
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    missing = options - set(known) - {"--help"}
    if missing:
        raise LookupError(f"no command takes {', '.join(sorted(missing))}")


@functools.cache
def _all_options() -> frozenset[str]:
    """Options of all commands."""
    return frozenset(name for each in _commands(get_command(app)) for name in _names(each))


def _commands(command: Any) -> Iterator[Any]:
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from _commands(each)


def _names(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)


def _check_settings(recipe: str, settings: Sequence[str]) -> None:
    """Fail unless this recipe, or any one where it is none, takes the settings."""
    names = (recipe,) if recipe in RECIPES else sorted(RECIPES, key=_is_published)
    for name in names:
        try:
            override(load_recipe(name), settings)
            return
        except ValueError as error:
            refused = error
    raise LookupError(f"no recipe takes --set {settings}: {refused}")


def _is_published(name: str) -> bool:
    return not name.endswith("tiny_sample")
