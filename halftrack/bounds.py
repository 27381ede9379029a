"""Bounds of a configuration's numbers: stated in the field's type, checked when a value is made."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from halftrack.errors import UserError

__all__ = ["Bounds", "OutOfBoundsError", "Share", "check_bounds", "described", "shown"]

_SHOWN = 80  # characters of a value that an error quotes
_WORDS: dict[Any, tuple[str, str]] = {
    bool: ("True or False", "True or False each"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    type(None): ("None", "None"),
    Any: ("any value", "any values"),
}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of a number, or of each number of a tuple: ``Annotated[float, Bounds(...)]``.

    NaN, infinity and truth values are never within them; None and text are left to the type.
    """

    above: float | None = None
    """A limit that the number must exceed."""
    least: float | None = None
    """The smallest number allowed."""
    most: float | None = None
    """The greatest number allowed."""
    below: float | None = None
    """A limit that the number must stay under."""

    def admits(self, value: Any) -> bool:
        """True unless a number in ``value``, at any depth, is out of bounds."""
        return all(self._holds(number) for number in _numbers(value))

    def _holds(self, number: Any) -> bool:
        if isinstance(number, bool) or number - number != 0:  # NaN and infinity
            return False
        return (
            (self.above is None or number > self.above)
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def expected(self, kind: Any) -> str:
        """The end of an error: what a field of this type takes."""
        limits = [
            f"{word} {limit:.12g}"
            for word in ("above", "least", "most", "below")
            if (limit := getattr(self, word)) is not None
        ]
        ends = ", ".join(limits).replace("least", "at least").replace("most", "at most")
        value, or_none, _ = described(kind).partition(" or None")
        return f"expected {value} {ends}{or_none and ', or None'}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Checks what a text or a file gives before it is converted: True would become 1."""
        from pydantic_core import ValidationError, core_schema

        def checked(value: Any, convert: Any) -> Any:
            with suppress(ValidationError, OverflowError):
                if self.admits(value) and self.admits(converted := convert(value)):
                    return converted  # admitted twice: the text "nan" becomes a number
            raise OutOfBoundsError(f"{shown(value)}: {self.expected(source)}")

        return core_schema.no_info_wrap_validator_function(checked, handler(source))


class OutOfBoundsError(UserError):
    """A value that its field does not take; begins with the value, the caller names the field."""


Share = Annotated[float, Bounds(least=0, most=1)]
"""A number from 0 to 1."""


def check_bounds(config: Any) -> None:
    """Make sure that every number of a dataclass is within the bounds of its field's type.

    Raises:
        UserError: names the field, what was given and what is allowed.
    """
    for name, hint, bounds in _bounded_fields(config.__class__):
        value = getattr(config, name)
        if not bounds.admits(value):
            raise UserError(f"{name}={shown(value)}: {bounds.expected(hint)}")


def shown(value: Any) -> str:
    """The value as an error quotes it, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of too many digits
        return f"<{type(value).__name__} too long to show>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def described(kind: Any) -> str:
    """The values that a field's type takes, in words: ``a whole number or None``."""
    return _in_words(kind, many=False)


def _in_words(kind: Any, *, many: bool) -> str:
    inside, origin = get_args(kind), get_origin(kind)
    if origin is Annotated:
        return _in_words(inside[0], many=many)
    if origin is Literal:
        return f"{'some' if many else 'one'} of {', '.join(map(repr, inside))}"
    if origin in (Union, UnionType):
        return " or ".join(_in_words(each, many=many) for each in inside)
    if origin is tuple and inside[-1] is ...:
        return _in_words(inside[0], many=True)
    if origin is tuple and len(set(inside)) == 1:
        return f"{len(inside)} {_in_words(inside[0], many=True)}{' each' * many}"
    if origin is tuple:
        words = " and ".join(_in_words(each, many=False) for each in inside)
        return f"{'groups' if many else 'a group'} of {words}"
    if is_dataclass(kind):
        names = ", ".join(field.name for field in fields(kind))
        return f"{'groups' if many else 'a group'} of fields: {names}"
    one, several = _WORDS.get(kind, (f"a {getattr(kind, '__name__', kind)}", "values"))
    return several if many else one


@functools.cache
def _bounded_fields(kind: type) -> tuple[tuple[str, Any, Bounds], ...]:
    return tuple(
        (name, hint, bounds)
        for name, hint in get_type_hints(kind, include_extras=True).items()
        for bounds in get_args(hint)[1:]
        if isinstance(bounds, Bounds)
    )


def _numbers(value: Any) -> Iterator[Any]:
    """The numbers in a value, those of tuples and lists in it included."""
    if isinstance(value, numbers.Real):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _numbers(item)
