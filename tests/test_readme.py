"""README and docs name no command, option, recipe or page that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from halftrack.cli.app import app
from halftrack.recipes.names import RECIPES

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def test_it_is_read_in_five_minutes() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 120] == []


def test_its_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "pictures").glob("*.png"))
    assert pictures
    assert sum(picture.stat().st_size for picture in pictures) <= 300_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(\s*([^)#\s]+)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in re.findall(
        r"^    halftrack (.*)$|`halftrack (.*?)`", page.read_text(), re.MULTILINE
    ):
        words = "".join(line).partition(" -- ")[0].split()
        command = commands.get(words[0])
        if words[0] == "COMMAND":
            continue
        assert command is not None, words
        if hasattr(command, "commands"):
            command = command.commands[words[1]]
        options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        used = {word.strip("[]`()") for word in words if word.startswith(("--", "[--"))}
        assert used <= options, (words, used - options)
        named = [word for word in words[1:] if re.fullmatch(r"[a-z][\w-]+_[\w-]+", word)]
        assert set(named) <= set(RECIPES), words
