"""Merging of sections, as mmcv 1.7 does it, and places that survive it."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from halftrack.interop.configs.literals import Budget, Evaluator
from halftrack.interop.configs.sections import ConfigError, Place, Section, merged


def section(source: str, file: str = "mine.py") -> Section:
    return Evaluator(source, file, Budget()).run()


MERGED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a key is replaced": ("a = 1", "a = 2\nb = 3", {"a": 1, "b": 3}),
    "sections are merged": ("a = dict(c=1)", "a = dict(b=2)", {"a": {"b": 2, "c": 1}}),
    "a list is replaced": ("a = [1]", "a = [2, 3]", {"a": [1]}),
    "a section replaces": ("a = dict(_delete_=True, c=1)", "a = dict(b=2)", {"a": {"c": 1}}),
    "and is not deleted": ("a = dict(_delete_=False)", "a = dict(b=2)", {"a": {"b": 2}}),
    "a value replaces a section": ("a = None", "a = dict(b=2)", {"a": None}),
    "deleted where nothing is": ("a = dict(_delete_=True)", "", {"a": {"_delete_": True}}),
}


@pytest.mark.parametrize("story", MERGED)
def test_sections_merge_as_mmcv_merges_them(story: str) -> None:
    child, base, expected = MERGED[story]
    assert merged(section(child), section(base)) == expected


def test_the_base_stays_as_it_is() -> None:
    base = section("a = dict(b=2)")
    merged(section("a = dict(b=3)"), base)
    assert base == {"a": {"b": 2}}


def test_a_section_cannot_inherit_from_a_value() -> None:
    with pytest.raises(ConfigError, match=r"mine\.py, line 2: a is dict.*_delete_=True"):
        merged(section("\na = dict(b=1)"), section("a = 3", "base.py"))


def test_each_key_keeps_the_place_where_it_was_written() -> None:
    both = merged(section("a = dict(\n  c=1)"), section("a = dict(b=2)", "base.py"))
    assert str(both["a"].places["b"]) == "base.py, line 1"
    assert str(both["a"].places["c"]) == "mine.py, line 2"
    assert str(both.places["a"]) == "mine.py, line 1"


def test_an_error_survives_its_way_out_of_a_process() -> None:
    error = pickle.loads(pickle.dumps(ConfigError(Place("mine.py", 3), "no")))
    assert str(error) == "mine.py, line 3: no"
    assert error.place == Place("mine.py", 3)
