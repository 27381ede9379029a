"""A safe reader of Python configs: evaluates literals, names and arithmetic, and executes nothing.

The language is that of MMTracking's configs (mmcv 1.7). Every value is paid for from a budget, so a
short text cannot ask for a long computation or for much memory.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from halftrack.bounds import shown
from halftrack.interop.configs.sections import ConfigError, Place, Section

__all__ = ["ALLOWED", "Budget", "Evaluator", "parse"]

ALLOWED = (
    "allowed are numbers, texts, True, False, None, lists, tuples, dict(...), **name, names "
    "defined above, name['key'], + - * / // % ** and f-strings of names"
)
"""The language in words, for errors."""

_DEEPEST = 60  # values within each other
_MOST_BITS = 64  # of a whole number
_LETTERS = 16  # letters of a text that cost as much as an item of a list
_QUOTED = 60  # characters of the source that an error quotes
_Number = int | float
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class Budget:
    """Number of values that reading a config may make, all its files together."""

    def __init__(self, values: int = 300_000) -> None:
        self._left = values

    def spend(self, values: int, place: Place) -> None:
        """Pay for so many values.

        Raises:
            ConfigError: if the config asks for more than any config needs.
        """
        self._left -= values
        if self._left < 0:
            raise ConfigError(place, "this asks for more values than any config needs")


def parse(source: str, file: str) -> ast.Module:
    """The syntax tree of a Python file, which is not executed.

    Raises:
        ConfigError: if it is no Python.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python's grammar: "\\d", "1if"
            return ast.parse(source)
    except SyntaxError as error:
        raise ConfigError(Place(file, error.lineno), f"no Python: {error.msg}") from error
    except ValueError as error:  # a NUL
        raise ConfigError(Place(file), f"no Python: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise ConfigError(Place(file), "no config: its brackets are nested too deep") from error


class Evaluator:
    """Evaluates the assignments of one file.

    Args:
        source: the text of the file.
        file: its path, for errors.
        budget: what the values are paid from.
    """

    def __init__(self, source: str, file: str, budget: Budget) -> None:
        self.used: set[str] = set()
        """Names that an expression of the file refers to."""
        self._source, self._file, self._budget = source, file, budget
        self._names = Section(Place(file))

    def run(self) -> Section:
        """The names that the file defines, with their values.

        Raises:
            ConfigError: for anything but assignments in the language of configs.
        """
        for statement in parse(self._source, self._file).body:
            match statement:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        if not isinstance(target, ast.Name):
                            raise self._refused(statement, "expected NAME = VALUE")
                        place = self._place(statement)
                        self._names.put(target.id, self._value(value, 0), place)
                case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                    pass
                case _:
                    raise self._refused(statement, f"expected NAME = VALUE; {ALLOWED}")
        return self._names

    def _value(self, node: ast.expr, depth: int) -> Any:
        self._budget.spend(1, self._place(node))
        if depth > _DEEPEST:
            raise self._refused(node, f"expected at most {_DEEPEST} values within each other")
        match node:
            case ast.Constant(value=value):
                return self._scalar(value, node)
            case ast.Name(id=name):
                return self._named(name, node, depth)
            case ast.List(elts=items):
                return self._items(items, depth)
            case ast.Tuple(elts=items):
                return tuple(self._items(items, depth))
            case ast.Dict(keys=keys, values=values):
                return self._section(node, list(zip(keys, values, strict=True)), depth)
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
                pairs = [(each.arg, each.value) for each in keywords]
                return self._section(node, pairs, depth)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                sides = self._value(left, depth + 1), self._value(right, depth + 1)
                return self._computed(node, type(op), *sides)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                number = self._value(operand, depth + 1)
                if isinstance(number, _Number):
                    return -number if isinstance(op, ast.USub) else +number
            case ast.JoinedStr(values=parts):
                return "".join([self._formatted(part, depth) for part in parts])
            case ast.Subscript(value=value, slice=ast.Constant(value=key)):
                return self._inside(node, self._value(value, depth + 1), key)
        raise self._refused(node, f"a config is read, never executed; {ALLOWED}")

    def _scalar(self, value: Any, node: ast.expr) -> Any:
        """A number, a text, True, False or None that a config can hold."""
        if isinstance(value, str):
            self._budget.spend(len(value) // _LETTERS, self._place(node))
        elif isinstance(value, int):
            if value.bit_length() > _MOST_BITS:
                raise self._refused(node, f"expected whole numbers below 2**{_MOST_BITS}")
        elif not isinstance(value, float | None):
            raise self._refused(node, ALLOWED)
        return value

    def _named(self, name: str, node: ast.expr, depth: int) -> Any:
        self.used.add(name)
        if name not in self._names:
            raise self._refused(
                node,
                "not defined above in this file; a name of a base file is written "
                f"{{{{_base_.{name}}}}}",
            )
        return self._copied(self._names[name], node, depth)

    def _copied(self, value: Any, node: ast.expr, depth: int) -> Any:
        """The value with containers of its own, each of their items paid for."""
        if depth > _DEEPEST:
            raise self._refused(node, f"expected at most {_DEEPEST} values within each other")
        if isinstance(value, str):
            return self._scalar(value, node)
        if isinstance(value, list | tuple):
            self._budget.spend(len(value), self._place(node))
            return type(value)(self._copied(item, node, depth + 1) for item in value)
        if isinstance(value, Section):
            self._budget.spend(len(value), self._place(node))
            other = value.shallow()
            for key, item in value.items():
                other[key] = self._copied(item, node, depth + 1)
            return other
        return value

    def _items(self, nodes: Sequence[ast.expr], depth: int) -> list[Any]:
        items: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                inside = self._value(node.value, depth + 1)
                if not isinstance(inside, list | tuple):
                    raise self._refused(node, "expected a list or a tuple behind *")
                items += inside
            else:
                items.append(self._value(node, depth + 1))
        return items

    def _section(
        self, node: ast.expr, pairs: Sequence[tuple[Any, ast.expr]], depth: int
    ) -> Section:
        """A dictionary of (key, value): the key a text, an expression, or None for ``**``."""
        section = Section(self._place(node))
        called = isinstance(node, ast.Call)
        for key, expression in pairs:
            value = self._value(expression, depth + 1)
            if key is None:
                if not isinstance(value, Section):
                    raise self._refused(expression, "expected a dictionary behind **")
                twice = next((name for name in value if called and name in section), None)
                for name, item in value.items():
                    section.put(name, item, value.places[name])
            else:
                name = self._value(key, depth + 1) if isinstance(key, ast.expr) else key
                if not isinstance(name, str):
                    raise self._refused(node, f"key {shown(name)}: expected a text")
                twice = name if called and name in section else None
                section.put(name, value, self._place(expression))
            if twice is not None:
                raise self._refused(node, f"key {twice!r} is given twice")
        return section

    def _computed(self, node: ast.expr, op: type[ast.operator], left: Any, right: Any) -> Any:
        """Arithmetic of numbers; texts and lists are joined and repeated, within the budget."""
        place = self._place(node)
        if isinstance(left, _Number) and isinstance(right, _Number):
            return self._arithmetic(node, op, left, right)
        if op is ast.Add and type(left) is type(right) and isinstance(left, str | list | tuple):
            self._budget.spend(_cost(left) + _cost(right), place)
            return left + right
        if op is ast.Mult:
            times, many = (left, right) if isinstance(left, int) else (right, left)
            if isinstance(times, int) and isinstance(many, str | list | tuple):
                times = max(times, 0)
                self._budget.spend(times * _cost(many), place)
                if isinstance(many, str):
                    return many * times
                repeated = (item for _ in range(times) for item in many)
                return type(many)(self._copied(item, node, 0) for item in repeated)
        kinds = f"{type(left).__name__} and {type(right).__name__}"
        raise self._refused(node, f"cannot be computed of {kinds}")

    def _arithmetic(
        self, node: ast.expr, op: type[ast.operator], left: _Number, right: _Number
    ) -> _Number:
        whole = isinstance(left, int) and isinstance(right, int)
        # Before it is computed: 9**9**9 has 370 million digits.
        if whole and op is ast.Pow and int(left).bit_length() * right > 2 * _MOST_BITS:
            raise self._refused(node, f"expected whole numbers below 2**{_MOST_BITS}")
        try:
            answer = _OPERATORS[op](left, right)
        except (ArithmeticError, ValueError) as error:
            raise self._refused(node, str(error.args[-1])) from error
        if not isinstance(answer, _Number):
            raise self._refused(node, "expected a real number")
        self._scalar(answer, node)
        return answer

    def _formatted(self, part: ast.expr, depth: int) -> str:
        if isinstance(part, ast.FormattedValue):
            if part.conversion == -1 and part.format_spec is None:
                value = self._value(part.value, depth + 1)
                if isinstance(value, str | _Number | None):
                    return str(value)
            raise self._refused(part, "expected a name of a text or a number in braces, no format")
        return str(self._value(part, depth + 1))

    def _inside(self, node: ast.expr, value: Any, key: Any) -> Any:
        if isinstance(value, Section) and isinstance(key, str) and key in value:
            return value[key]
        if isinstance(value, list | tuple) and type(key) is int and key < len(value):
            return value[key]
        raise self._refused(node, f"there is no {shown(key)} in it")

    def _place(self, node: ast.stmt | ast.expr) -> Place:
        return Place(self._file, node.lineno)

    def _refused(self, node: ast.stmt | ast.expr, reason: str) -> ConfigError:
        text = ast.get_source_segment(self._source, node) or type(node).__name__
        line = text.splitlines()[0] if text else ""
        cut = line if line == text and len(line) <= _QUOTED else f"{line[:_QUOTED]}..."
        return ConfigError(self._place(node), f"{cut}: {reason}")


def _cost(value: str | list[Any] | tuple[Any, ...]) -> int:
    return 1 + (len(value) // _LETTERS if isinstance(value, str) else len(value))
