"""Pipelines as sections of steps by type."""

from __future__ import annotations

import pytest

from halftrack.errors import UserError
from halftrack.interop.configs.literals import Budget, Evaluator
from halftrack.interop.configs.sections import ConfigError, Section
from halftrack.interop.mapping.pipelines import by_step, pair_of, path_parts


def steps(source: str) -> Section:
    values = Evaluator(f"data = dict(pipeline={source})", "mine.py", Budget()).run()
    inside: Section = by_step(values)["data"]["pipeline"]
    return inside


def test_steps_are_named_by_type_without_seq() -> None:
    found = steps("[dict(type='SeqResize', img_scale=(8, 4)), dict(type='Load')]")
    assert found == {"Resize": {"img_scale": (8, 4)}, "Load": {}}


def test_steps_of_a_group_stand_beside_it() -> None:
    found = steps("[dict(type='MultiScaleFlipAug', flip=False, transforms=[dict(type='Pad')])]")
    assert found == {"Pad": {}, "MultiScaleFlipAug": {"flip": False}}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("[dict(type='Pad'), dict(type='SeqPad')]", "Pad is there a second time"),
        ("[dict(a=1)]", "expected a list of dict"),
        ("[3]", "expected a list of dict"),
        ("[dict(type=[])]", "expected a list of dict"),
    ],
)
def test_a_pipeline_that_is_none_is_refused(source: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        steps(source)


def test_a_pair_is_two_numbers_or_one_twice() -> None:
    assert pair_of([8, 4]) == (8, 4)
    assert pair_of(3) == (3, 3)
    with pytest.raises(UserError, match="one scale"):
        pair_of([(1, 2)])


def test_a_path_is_parted_at_slashes_of_both_kinds() -> None:
    assert path_parts("./data//a\\b.json") == ("data", "a", "b.json")
    with pytest.raises(UserError, match="expected a path"):
        path_parts(None)
