"""Numbers of a configuration: what is out of bounds is refused, by name and with the bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from halftrack.bounds import Bounds, Share, check_bounds, described, shown
from halftrack.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: Annotated[float, Bounds(above=0, most=10)] = 1.0
    decay: Annotated[float | None, Bounds(least=0, below=1)] = None
    size: Annotated[tuple[int, int], Bounds(least=1, most=100)] = (3, 4)
    share: Share = 0.5

    def __post_init__(self) -> None:
        check_bounds(self)


REFUSED = [
    ("rate", 0, "rate=0: expected a number above 0, at most 10"),
    ("rate", 11, "rate=11: expected a number above 0, at most 10"),
    ("rate", math.nan, "rate=nan: expected a number above 0"),
    ("rate", math.inf, "rate=inf: expected"),
    ("rate", True, "rate=True: expected a number"),
    ("decay", 1.0, "decay=1.0: expected a number at least 0, below 1, or None"),
    ("size", (3, 0), "size=(3, 0): expected 2 whole numbers at least 1, at most 100"),
    ("size", (True, 4), "size=(True, 4): expected"),
    ("share", -0.1, "share=-0.1: expected a number at least 0, at most 1"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_what_is_out_of_bounds_is_named_where_a_value_is_made(
    name: str, value: Any, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        Settings(**{name: value})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_and_where_it_is_read_from_plain_values(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Settings).validate_python({name: value})
    (error,) = caught.value.errors()
    assert error["loc"] == (name,)
    assert f"{name}={error['ctx']['error']}".startswith(message)


@pytest.mark.parametrize("text", ["nan", "abc", "1e400", "-3"])
def test_text_is_no_way_around_the_bounds(text: str) -> None:
    with pytest.raises(ValidationError, match="expected a number above 0, at most 10"):
        TypeAdapter(Settings).validate_python({"rate": text})


def test_what_is_within_the_bounds_is_taken_as_it_is() -> None:
    values = {"rate": 10, "decay": 0.0, "size": (1, 100), "share": 1.0}
    assert TypeAdapter(Settings).validate_python(values) == Settings(**values)


def test_a_long_value_is_quoted_in_part() -> None:
    assert shown("x" * 1000) == "'" + "x" * 79 + "..."
    assert shown(10**9000) == "<int too long to show>"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (bool, "True or False"),
        (str | None, "text or None"),
        (Literal["batch", "group"], "one of 'batch', 'group'"),
        (tuple[Literal["vid", "det"], ...], "some of 'vid', 'det'"),
        (tuple[str, ...], "texts"),
        (tuple[int, int], "2 whole numbers"),
        (tuple[tuple[str, float], ...], "groups of text and a number"),
        (Settings, "a group of fields: rate, decay, size, share"),
        (tuple[Settings, ...], "groups of fields: rate, decay, size, share"),
        (Share, "a number"),
        (float | Literal["dynamic"] | None, "a number or one of 'dynamic' or None"),
    ],
)
def test_a_type_is_described_in_words(kind: Any, words: str) -> None:
    assert described(kind) == words
