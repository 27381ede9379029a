"""ARCHITECTURE.md names rooms and files that exist, all rooms, and the files of a step's walk."""

from __future__ import annotations

import re
from pathlib import Path

import halftrack

PACKAGE = Path(halftrack.__file__).parent
ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_every_path_it_names_exists() -> None:
    named = set(re.findall(r"`([\w./-]+(?:\.py|\.md|\.toml|/))`", TEXT))
    named |= set(re.findall(r"\]\(([\w./-]+)\)", TEXT))
    rooms = [PACKAGE, *(PACKAGE / room for room in ("recipes/kinds", "studies", "recipes")), ROOT]
    missing = [
        name
        for name in sorted(named)
        if name != "halftrack/" and not any((room / name).exists() for room in rooms)
    ]
    assert len(named) > 40
    assert not missing


def test_every_room_has_its_line() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| `")]
    table = " ".join(line.split("|")[1] for line in lines)
    rooms = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")}
    rooms -= {"__init__.py", "__main__.py"}
    assert not [room for room in sorted(rooms) if f"`{room.removesuffix('/')}" not in table]


def test_pages_that_are_read_first_stay_short() -> None:
    lengths = {
        name: len((ROOT / name).read_text(encoding="utf-8").splitlines())
        for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/glossary.md")
    }
    assert lengths["ARCHITECTURE.md"] <= 150
    assert lengths["CONTRIBUTING.md"] <= 60
    assert lengths["docs/glossary.md"] <= 40
