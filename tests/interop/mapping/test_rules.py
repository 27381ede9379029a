"""Rules: keys set fields, and each key without one is told with the nearest."""

from __future__ import annotations

import pytest

from halftrack.errors import UserError
from halftrack.interop.configs.literals import Budget, Evaluator
from halftrack.interop.configs.sections import ConfigError
from halftrack.interop.mapping.rules import (
    KEEP,
    Derived,
    Field,
    Fields,
    Fixed,
    Rule,
    Skip,
    apply,
    prefixed,
)


def applied(rules: dict[str, Rule], source: str) -> Fields:
    return apply(rules, Evaluator(source, "mine.py", Budget()).run(), "mine.py")


def test_a_key_sets_its_field_and_a_missing_one_its_default() -> None:
    rules: dict[str, Rule] = {
        "a.b": Field("x", lambda value: value + 1),
        "a.c": Field("y", default=[3]),
        "a.d": Field("z", default=KEEP),
    }
    assert applied(rules, "a = dict(b=1)").values == {"x": 2, "y": (3,)}


def test_a_missing_key_is_told_with_its_field() -> None:
    with pytest.raises(ConfigError, match=r"mine\.py: there is no key a\.b, which sets x here"):
        applied({"a.b": Field("x")}, "a = dict()\n")


def test_a_published_value_leaves_the_field_alone() -> None:
    rules: dict[str, Rule] = {"a": Field("x", published=(380,))}
    assert applied(rules, "a = 380").values == {}
    assert applied(rules, "a = 381").values == {"x": 381}


def test_two_keys_of_one_field_must_agree() -> None:
    rules: dict[str, Rule] = {"a": Field("x"), "b": Field("x")}
    assert applied(rules, "a = [1]\nb = (1,)").values == {"x": (1,)}
    with pytest.raises(ConfigError, match=r"line 2: b=2: differs from a=1 \(mine\.py, line 1\)"):
        applied(rules, "a = 1\nb = 2")


def test_what_a_converter_refuses_is_told_with_the_key() -> None:
    def refuse(_: object) -> None:
        raise UserError("expected a path")

    with pytest.raises(ConfigError, match=r"mine\.py, line 1: a=1: expected a path"):
        applied({"a": Field("x", refuse)}, "a = 1")


def test_a_fixed_key_has_few_values() -> None:
    rules: dict[str, Rule] = {"a": Fixed(1, None), "b": Fixed(2, default=3)}
    applied(rules, "a = None\nb = 2")
    with pytest.raises(ConfigError, match="line 1: a=4: here it is 1 or None"):
        applied(rules, "a = 4\nb = 2")
    with pytest.raises(ConfigError, match=r"mine\.py: b=3: here it is 2"):
        applied(rules, "a = 1")


def test_skipped_and_derived_keys_are_kept_for_later() -> None:
    rule = Derived(lambda recipe: recipe, "x")
    fields = applied(
        {"a": Skip("mind"), "b": rule, "c": Skip("mind")}, "a = dict(z=1)\nb = 2\nc = []"
    )
    assert [key.path for key in fields.skipped] == ["a", "c"]
    assert fields.notes == ["a=dict(...) (mine.py, line 1): mind"]
    assert [(key.path, each) for key, each in fields.derived] == [("b", rule)]


def test_the_nearest_keys_are_those_of_the_same_section() -> None:
    rules: dict[str, Rule] = {"m.depth": Field("d"), "m.width": Field("w"), "depht": Field("q")}
    with pytest.raises(ConfigError, match=r"m\.depht=1: .*nearest are m\.depth \(d\) and m\.width"):
        applied(rules, "m = dict(depht=1)")


def test_a_prefix_goes_before_every_path() -> None:
    rule = Skip()
    assert prefixed("a", {"b": rule}) == {"a.b": rule}
    assert prefixed("", {"b": rule}) == {"b": rule}
