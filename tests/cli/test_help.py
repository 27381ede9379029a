"""Help groups every option, and its examples name what exists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from halftrack.cli.app import app
from halftrack.cli.help import EXAMPLES, GROUPS, Command
from halftrack.recipes.names import RECIPES


def commands() -> Iterator[tuple[str, Any]]:
    """The words that call each command, and the command."""
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for inner, each in getattr(command, "commands", {}).items():
            yield f"{name} {inner}", each
        if not hasattr(command, "commands"):
            yield name, command


COMMANDS = {words: command for words, command in commands() if not command.hidden}


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_stands_in_a_group(words: str) -> None:
    command = COMMANDS[words]
    assert isinstance(command, Command)
    grouped = {name for names in GROUPS.values() for name in names}
    options = [each.name for each in command.params if each.param_type_name == "option"]
    assert set(options) <= grouped


def test_no_group_names_an_option_twice_or_one_that_is_gone() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) <= {each.name for command in COMMANDS.values() for each in command.params}


@pytest.mark.parametrize("words", [each for each in COMMANDS if COMMANDS[each].params])
def test_two_examples_of_each_command_name_what_exists(words: str, halftrack, capsys) -> None:
    command = COMMANDS[words]
    examples = EXAMPLES[words]
    assert len(examples) == 2
    known = {option for each in command.params for option in each.opts}
    for example in examples:
        assert example.startswith(words)
        assert len(f"  halftrack {example}") <= 80
        given = example.removeprefix(words).partition(" -- ")[0].split()
        assert {word for word in given if word.startswith("--")} <= known
        assert {word for word in given if "_" in word and "/" not in word and "=" not in word} <= {
            *RECIPES
        }
    assert halftrack(*words.split(), "--help") == 0
    told = capsys.readouterr().out
    assert told.endswith("\n".join(f"  halftrack {example}" for example in examples) + "\n")
