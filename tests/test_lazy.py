"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import pytest

import halftrack.recipes
from halftrack.lazy import lazy_names


def test_a_name_is_imported_from_its_file() -> None:
    get, names = lazy_names("ours", {"sqrt": "math", "pi": "math"})
    assert get("sqrt")(4) == 2
    assert names() == ["pi", "sqrt"]


def test_an_unknown_name_is_an_attribute_error_that_lists_the_names() -> None:
    with pytest.raises(AttributeError, match="ours has no 'cos'; it has sqrt, pi"):
        lazy_names("ours", {"sqrt": "math", "pi": "math"})[0]("cos")


def test_the_recipes_names_are_shown_to_editors() -> None:
    assert set(halftrack.recipes.__all__) == set(dir(halftrack.recipes))
