"""Options that change a config, as ``--cfg-options`` takes them."""

from __future__ import annotations

from typing import Any

import pytest

from halftrack.interop.configs.literals import Budget, Evaluator
from halftrack.interop.configs.options import option_value, with_options
from halftrack.interop.configs.sections import ConfigError, Place, Section

SOURCE = """
optimizer = dict(type='SGD', lr=0.02)
data = dict(train=[dict(type='A', n=1), dict(type='B')])
"""


def changed(*options: str) -> Section:
    return with_options(Evaluator(SOURCE, "mine.py", Budget()).run(), options)


VALUES: dict[str, Any] = {
    "3": 3,
    "1e-3": 0.001,
    "true": True,
    "False": False,
    "None": None,
    "none": "none",
    "data/MOT17": "data/MOT17",
    "'quoted'": "quoted",
    "1,2": [1, 2],
    "[bbox, track]": ["bbox", "track"],
    "(1000, 600)": (1000, 600),
    "[(1333,800),(1333,640)]": [(1333, 800), (1333, 640)],
    "1,": [1],
    "[]": [],
}


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_read_as_theirs(text: str) -> None:
    value = option_value(text, Place("option"))
    assert value == VALUES[text]
    assert type(value) is type(VALUES[text])


def test_a_dotted_key_leads_into_sections_and_lists() -> None:
    values = changed("optimizer.lr=0.005", "data.train.1.n=7", "fp16.loss_scale=512.")
    assert values["optimizer"] == {"type": "SGD", "lr": 0.005}
    assert values["data"]["train"] == [{"type": "A", "n": 1}, {"type": "B", "n": 7}]
    assert values["fp16"] == {"loss_scale": 512.0}
    assert str(values["optimizer"].places["lr"]) == "--cfg-options 'optimizer.lr=0.005'"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("lr", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("a..b=3", "expected KEY=VALUE"),
        ("optimizer.lr.b=3", "lr is dict"),
        ("data.train.2.n=3", "index below 2"),
        ("data.train.x.n=3", "index below 2"),
        ("a=[(1,2]", "brackets"),
        ("a=" + "[" * 300 + ",", "brackets"),
        ("a=" + "(" * 100 + ")" * 100, "brackets"),
        ("a=" + "9" * 2000, "expected KEY=VALUE"),
    ],
)
def test_an_option_that_leads_nowhere_is_refused(option: str, words: str) -> None:
    with pytest.raises(ConfigError, match="--cfg-options") as caught:
        changed(option)
    assert words in str(caught.value)
