"""The language of configs, and what is no part of it: refused with its line, nothing executed."""

from __future__ import annotations

import pytest

from halftrack.interop.configs.literals import Budget, Evaluator
from halftrack.interop.configs.sections import ConfigError


def evaluated(source: str) -> dict[str, object]:
    return dict(Evaluator(source, "mine.py", Budget()).run())


READ = {
    "a number": ("x = 0.02", 0.02),
    "a negative number": ("x = -1", -1),
    "arithmetic": ("x = 1.0 / 3 + 2**3 - 7 // 2 * (5 % 3)", 1 / 3 + 8 - 6),
    "a text in two parts": ("x = 'half' 'track'", "halftrack"),
    "joined texts": ("root = 'data/'\nx = root + 'MOT17'", "data/MOT17"),
    "a repeated list": ("x = [0.0] * 4", [0.0] * 4),
    "joined lists": ("a = [1]\nx = a + [2] + [*a, 3]", [1, 2, 1, 3]),
    "a tuple": ("x = (1000, 600)", (1000, 600)),
    "a dictionary": ("x = dict(type='SGD', lr=0.1)", {"type": "SGD", "lr": 0.1}),
    "a dictionary in braces": ("x = {'a': {'b': None}}", {"a": {"b": None}}),
    "two stars": ("a = dict(m=[1])\nx = dict(type='N', **a)", {"type": "N", "m": [1]}),
    "two stars in braces": ("a = dict(m=1)\nx = {'m': 0, **a}", {"m": 1}),
    "an f-string": ("s = 'test'\nn = 2\nx = f'{s}_{n}.json'", "test_2.json"),
    "a key of a name": ("a = dict(b=[3, 4])\nx = a['b'][1]", 4),
    "two names at once": ("y = x = True", True),
    "a docstring and pass": ("'''text'''\npass\nx = 1", 1),
}


@pytest.mark.parametrize("story", READ)
def test_the_language_of_configs_is_read(story: str) -> None:
    source, value = READ[story]
    assert evaluated(source)["x"] == value


def test_a_name_is_copied_so_that_nothing_is_shared() -> None:
    names = evaluated("a = [dict(b=1)]\nx = [a, a]")
    first, second = names["x"]  # type: ignore[misc]
    assert first == second
    assert first[0] is not second[0]


def test_keys_remember_their_lines_through_two_stars() -> None:
    source = "norm = dict(\n    mean=1)\nx = dict(\n    type='N', **norm)"
    section = Evaluator(source, "mine.py", Budget()).run()
    assert str(section.places["x"]) == "mine.py, line 3"
    assert section["x"].places["type"].line == 4
    assert section["x"].places["mean"].line == 2


REFUSED = {
    "import": ("import os", 1, "import os"),
    "import from": ("a = 1\nfrom os import system", 2, "expected NAME = VALUE"),
    "call": ("x = print('hello')", 1, "never executed"),
    "method": ("x = 'a'.upper()", 1, "never executed"),
    "class tricks": ("x = ().__class__.__bases__", 1, "never executed"),
    "class tricks in a format": ("x = f'{().__class__}'", 1, "never executed"),
    "format of a name": ("n = 1\nx = f'{n:>1000000000}'", 2, "no format"),
    "percent": ("x = '%1000000000d' % 1", 1, "cannot be computed"),
    "lambda": ("x = lambda: 1", 1, "never executed"),
    "comprehension": ("x = [i for i in (1, 2)]", 1, "never executed"),
    "walrus": ("x = (y := 1)", 1, "never executed"),
    "function": ("def f():\n    pass", 1, "expected NAME = VALUE"),
    "loop": ("while True:\n    pass", 1, "expected NAME = VALUE"),
    "condition": ("x = 1 if True else 2", 1, "never executed"),
    "attribute": ("a = dict()\na.b = 1", 2, "expected NAME = VALUE"),
    "item": ("a = dict()\na['b'] = 1", 2, "expected NAME = VALUE"),
    "dict of a list": ("x = dict([('a', 1)])", 1, "never executed"),
    "dict redefined": ("dict = 1\nx = dict(a=dict)['b']", 2, "there is no 'b'"),
    "a name of elsewhere": ("x = base", 1, "{{_base_.base}}"),
    "a set": ("x = {1, 2}", 1, "never executed"),
    "bytes": ("x = b'a'", 1, "allowed are numbers"),
    "an ellipsis": ("x = ...", 1, "allowed are numbers"),
    "a complex number": ("x = (-1) ** 0.5", 1, "real number"),
    "a key that is no text": ("x = {1: 2}", 1, "expected a text"),
    "a key twice": ("a = dict(b=1)\nx = dict(b=2, **a)", 2, "given twice"),
    "stars of a number": ("x = [*3]", 1, "behind *"),
    "two stars of a list": ("x = dict(**[])", 1, "behind **"),
    "divided by nothing": ("x = 1 / 0", 1, "division by zero"),
    "texts subtracted": ("x = 'a' - 'b'", 1, "str and str"),
    "a huge power": ("x = 9**9**9", 1, "below 2**64"),
    "a huge power of a float": ("x = 9.0**9**9", 1, "out of range"),
    "a huge number": (f"x = 0x{'f' * 100_000}", 1, "below 2**64"),
    "a huge decimal": (f"x = {'9' * 100_000}", 1, "no Python"),
    "a huge text": ("x = 'a' * 10**9", 1, "more values than"),
    "a huge list": ("x = 10**9 * [0]", 1, "more values than"),
    "doubled texts": ("x = 'a'\n" + "x = x + x\n" * 64, None, "more values than"),
    "doubled lists": ("x = [1]\n" + "x = [x, x]\n" * 64, None, "more values than"),
    "names within names": ("x = [1]\n" + "x = [x]\n" * 5000, None, "within each other"),
    "minus signs": (f"x = {'-' * 90}1", 1, "within each other"),
    "no Python": ("x = (1", 1, "no Python"),
    "a NUL": ("x = 1\0", None, "no Python"),
}


@pytest.mark.parametrize("story", REFUSED)
def test_anything_else_is_refused_with_its_line(story: str) -> None:
    source, line, words = REFUSED[story]
    with pytest.raises(ConfigError) as caught:
        evaluated(source)
    assert words in caught.value.reason
    assert caught.value.place.file == "mine.py"
    assert line is None or caught.value.place.line == line
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000, "[" * 150, "-" * 100_000 + "1", "a" + ".a" * 50_000, "1" + "+1" * 50_000],
)
def test_deep_nesting_ends_in_an_error_of_ours(text: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.py"):
        evaluated(f"x = {text}")
