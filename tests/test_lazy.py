"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import halftrack
import halftrack.recipes
from halftrack.lazy import lazy_names

PACKAGES = [
    each.name for each in pkgutil.walk_packages(halftrack.__path__, "halftrack.") if each.ispkg
]


def test_a_name_is_imported_from_its_file() -> None:
    get, names = lazy_names("os", {"path": ("join", "sep")})
    assert get("join")("a", "b") == f"a{get('sep')}b"
    assert names() == ["join", "sep"]


def test_a_module_is_imported_too() -> None:
    get, names = lazy_names("xml", {}, modules=("dom",))
    assert get("dom").__name__ == "xml.dom"
    assert names() == []


def test_an_unknown_name_is_an_attribute_error_that_lists_the_names() -> None:
    with pytest.raises(AttributeError, match="os has no 'jion'; it has join, sep"):
        lazy_names("os", {"path": ("join", "sep")})[0]("jion")


def test_the_recipes_names_are_shown_to_editors() -> None:
    assert set(halftrack.recipes.__all__) == set(dir(halftrack.recipes))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_name_of_a_package_is_one_of_its_files(package: str) -> None:
    # Once the file is imported, its module would stand in the name's place.
    module = importlib.import_module(package)
    files = {each.name for each in pkgutil.iter_modules(module.__path__)}
    lazy = set(getattr(module, "__all__", ())) if hasattr(module, "__getattr__") else set()
    assert not lazy & files
