"""The documentation's site holds every page of docs/, and its reference names what exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NAMES = re.findall(r"^::: (.+)$", (DOCS / "api.md").read_text(), re.MULTILINE)


def test_every_page_stands_in_the_menu_once() -> None:
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    pages = re.findall(r"[\w/]+\.md", menu)
    assert len(pages) == len(set(pages))
    there = {page.name for page in DOCS.glob("*.md")}
    elsewhere = {page for page in pages if not (DOCS / page).exists()}
    assert set(pages) - elsewhere == there
    assert all((ROOT / page).exists() for page in elsewhere)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_names_what_exists(name: str) -> None:
    module, _, member = name.rpartition(".")
    assert hasattr(importlib.import_module(module), member)


def test_the_reference_names_all_that_halftrack_offers() -> None:
    import halftrack

    named = {name.rpartition(".")[2] for name in NAMES}
    assert named >= set(halftrack.__all__) - {"__version__"}
