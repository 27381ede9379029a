"""Fields that a search changes, with the values it may give them: ``tracker.reid_distance=1:4``."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from halftrack.bounds import shown
from halftrack.errors import UserError

if TYPE_CHECKING:
    from halftrack.recipes import Recipe

__all__ = ["Listed", "Span", "TunedField", "grid_of", "parse_fields"]

_GROUP = "tracker."
_MOST_POINTS = 100_000
_EXPECTED = "expected FIELD=LOW:HIGH, FIELD=LOW:HIGH:STEP or FIELD=A,B,C"
_EXAMPLE = "e.g. tracker.reid_distance=1:4"


@dataclass(frozen=True)
class Span:
    """All numbers from one to another, both included; whole ones if both are."""

    low: int | float
    high: int | float

    @property
    def whole(self) -> bool:
        """True for whole numbers alone."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def spread(self, count: int) -> Listed:
        """So many values at equal distances, fewer where there are no more whole numbers."""
        share = (self.high - self.low) / (count - 1)
        inner = (self.at(self.low + place * share) for place in range(1, count - 1))
        return Listed(tuple(dict.fromkeys((self.low, *inner, self.high))))

    def at(self, value: float) -> int | float:
        """A number of the span near a value, short enough to be typed: thousands are in a span."""
        if self.whole:
            return round(value)
        digits = 4 - math.ceil(math.log10(self.high - self.low))
        return min(max(round(value, digits), self.low), self.high)


@dataclass(frozen=True)
class Listed:
    """Some values."""

    values: tuple[Any, ...]

    @property
    def ordered(self) -> bool:
        """True for numbers that go up, of which neighbours are alike."""
        if any(isinstance(each, bool) or not isinstance(each, int | float) for each in self.values):
            return False
        return list(self.values) == sorted(set(self.values))


TunedField = Span | Listed
"""Values that a search may give a field."""


def parse_fields(recipe: Recipe, texts: Sequence[str]) -> dict[str, TunedField]:
    """The fields that a search changes, by their paths.

    Args:
        recipe: the recipe that is tuned.
        texts: ``path=low:high``, ``path=low:high:step`` or ``path=a,b,c``, each value as ``--set``
            takes it; without any the recipe's own grid.

    Raises:
        UserError: for a field that is none of the tracker's, values that it does not take, a range
            that is empty; quotes the text.
    """
    if not texts:
        grid = recipe.tuning().grid
        if not grid:
            raise UserError(
                f"--field is missing: {recipe.name} brings no grid of its own, say which settings "
                f"to search over, {_EXAMPLE}"
            )
        return {path: _own(recipe, path, values) for path, values in grid}
    found: dict[str, TunedField] = {}
    for text in texts:
        path, separator, values = (part.strip() for part in text.partition("="))
        if not separator:
            raise UserError(f"--field {shown(text)}: {_EXPECTED}, {_EXAMPLE}")
        if path in found:
            raise UserError(f"--field {path} is given twice: give it once")
        found[path] = _parsed(recipe, text, path, values)
    return found


def grid_of(
    fields: Mapping[str, TunedField], most: int | None
) -> tuple[dict[str, Listed], list[dict[str, Any]]]:
    """The values of each field in a grid, and all its points.

    Args:
        fields: a ``Span`` is replaced by as many values as the bound allows, at least two.
        most: bound of the number of points; None for a grid of lists alone, of any size.

    Raises:
        UserError: if the grid has more points.
    """
    spans = {path: field for path, field in fields.items() if isinstance(field, Span)}
    if spans and most is None:
        raise UserError(
            f"--trials is missing: {next(iter(spans))} is a range without steps; say how many "
            "trials, or give a step, LOW:HIGH:STEP"
        )
    bound = _MOST_POINTS if most is None else most
    longest = max((_most_values(span, bound) for span in spans.values()), default=0)
    # The size grows with the count; the most values that fit, and two at the least.
    counts = range(3, longest + 1)
    more = bisect.bisect_right(counts, bound, key=lambda count: _size(_listed(fields, count)))
    listed = _listed(fields, 2 + more)
    if _size(listed) > bound:
        raise UserError(
            f"the grid has {_size(listed)} points, --trials leaves {bound} beside the recipe's own "
            "settings: allow more trials, search over fewer values, or let Optuna choose "
            "(--sampler optuna)"
        )
    points = itertools.product(*(each.values for each in listed.values()))
    return listed, [dict(zip(listed, point, strict=True)) for point in points]


def _most_values(span: Span, bound: int) -> int:
    return min(int(span.high - span.low) + 1, bound) if span.whole else bound


def _listed(fields: Mapping[str, TunedField], count: int) -> dict[str, Listed]:
    return {
        path: field.spread(count) if isinstance(field, Span) else field
        for path, field in fields.items()
    }


def _size(fields: Mapping[str, Listed]) -> int:
    return math.prod(len(each.values) for each in fields.values())


def _own(recipe: Recipe, path: str, values: Sequence[Any]) -> Listed:
    """The values of a recipe's own grid, as the field takes them."""
    text = f"{path}={','.join(map(str, values))}"
    _check_group(recipe, text, path)
    return Listed(tuple(_value(recipe, text, path, str(value)) for value in values))


def _check_group(recipe: Recipe, text: str, path: str) -> None:
    """Make sure that a field is the tracker's: what others change is computed once for all trials.

    Raises:
        UserError: if it is not; lists those that are.
    """
    if not path.startswith(_GROUP):
        there = ", ".join(_fields_of(recipe))
        raise UserError(
            f"--field {shown(text)}: a search changes the tracker's settings alone, {there}; "
            "change others with --set"
        )


def _parsed(recipe: Recipe, text: str, path: str, values: str) -> TunedField:
    _check_group(recipe, text, path)
    if ":" not in values:
        listed = [_value(recipe, text, path, part) for part in values.split(",")]
        if len(listed) < 2 or len(set(map(repr, listed))) < len(listed):
            raise UserError(f"--field {shown(text)}: {_EXPECTED}, at least two different values")
        return Listed(tuple(listed))
    parts = values.split(":")
    if len(parts) > 3:
        raise UserError(f"--field {shown(text)}: {_EXPECTED}")
    low, high = (_number(recipe, text, path, part) for part in parts[:2])
    if not low < high:
        raise UserError(f"--field {shown(text)}: expected LOW below HIGH")
    span = Span(low, high)
    return span if len(parts) == 2 else _stepped(span, text, parts[2])


def _stepped(span: Span, text: str, step: str) -> Listed:
    try:
        size: float = int(step) if span.whole else float(step)
    except ValueError:
        size = 0
    if not 0 < size <= (span.high - span.low) * (1 + 1e-9):  # 0.3 - 0.1 is below 0.2
        kind = "a whole number" if span.whole else "a number"
        raise UserError(
            f"--field {shown(text)}: expected {kind} above 0 and at most HIGH - LOW as STEP"
        )
    count = int((span.high - span.low) / size + 1e-6) + 1
    if count > _MOST_POINTS:
        raise UserError(f"--field {shown(text)}: {count} values, expected {_MOST_POINTS} at most")
    # Rounded: 0.1 * 3 is 0.30000000000000004.
    values = (min(round(span.low + place * size, 12), span.high) for place in range(count))
    return Listed(tuple(values))


def _number(recipe: Recipe, text: str, path: str, part: str) -> int | float:
    value = _value(recipe, text, path, part)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(
            f"--field {shown(text)}: a range is of numbers; list the values, FIELD=A,B,C"
        )
    return value


def _value(recipe: Recipe, text: str, path: str, part: str) -> Any:
    """The value that the field takes for a text."""
    from halftrack.recipes import override

    try:
        changed = override(recipe, [f"{path}={part.strip()}"])
    except UserError as error:
        raise UserError(f"--field {shown(text)}: {error}") from error
    return attrgetter(path)(changed)


def _fields_of(recipe: Recipe) -> Iterator[str]:
    """Paths of the settings of a recipe's tracker."""
    for name in recipe.to_dict()["tracker"]:
        yield f"{_GROUP}{name}"
