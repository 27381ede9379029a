"""Fields set from texts: every number of every recipe has bounds, every text an answer."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from halftrack.errors import UserError
from halftrack.precision import Precision
from halftrack.recipes import RECIPES, load_recipe, override
from halftrack.recipes.kinds.renamed import field_paths

NONSENSE = ("float('nan')", "nan", "inf", "1e999", "-1e999", "1e30", "True", "False", "9" * 400)
EDGES = ("-1", "0")
WORDS = "expected|at most|only fp16|change nothing|cannot be split|apart"


def _takes_numbers(hint: Any) -> bool:
    """True of a field whose type has a number in it, at any depth but in other dataclasses."""
    if get_origin(hint) is Literal:
        return any(type(each) in (int, float) for each in get_args(hint))
    return hint in (int, float) or any(map(_takes_numbers, get_args(hint)))


def _numeric(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The path and the value of each numeric field of a recipe."""
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _numeric(value, f"{path}.")
        elif _takes_numbers(hints[field.name]):
            yield path, value


def _texts(value: Any, number: str) -> Iterator[str]:
    """The texts that put this number in the place of a field's value, or of one of a tuple's."""
    if not isinstance(value, tuple) or not value:
        yield number
    for index in range(len(value)) if isinstance(value, tuple) else ():
        inside = value[index]
        told = f"({inside[0]!r}, {number})" if isinstance(inside, tuple) else number
        yield f"({', '.join(told if at == index else repr(e) for at, e in enumerate(value))},)"


def _all_numeric() -> dict[tuple[str, str], tuple[Any, Any]]:
    """A recipe and the field's value for each numeric field of each kind of recipe."""
    found = {}
    for name in RECIPES:
        recipe = load_recipe(name)
        for path, value in _numeric(recipe):
            found[type(recipe).__name__, path] = (recipe, value)
    return found


def _value(recipe: Any, path: str) -> Any:
    for part in path.split("."):
        recipe = getattr(recipe, part)
    return recipe


def _finite(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_finite, value))
    return isinstance(value, str) or (not isinstance(value, bool) and math.isfinite(value))


def test_every_number_of_every_recipe_is_within_bounds_that_its_error_names() -> None:
    fields = _all_numeric()
    assert len(fields) > 197
    wrong = []
    for (kind, path), (recipe, value) in fields.items():
        for number in (*NONSENSE, *EDGES):
            for text in _texts(value, number):
                try:
                    there = _value(override(recipe, [f"{path}={text}"]), path)
                except UserError as error:
                    told = str(error)
                    field = path.rpartition(".")[2].replace("loss_scale", "loss scale")
                    if field not in told or not re.search(WORDS, told):
                        wrong.append((kind, path, text, told))
                else:
                    if number in NONSENSE or not _finite(there):
                        wrong.append((kind, path, text, there))
    assert not wrong, wrong


@pytest.mark.parametrize("name", ["selsa", "faster-rcnn", "reid", "siamese_rpn"])
def test_a_model_that_cannot_be_built_is_refused_as_its_fields_are_set(name: str) -> None:
    recipe = load_recipe(f"{name}_tiny_sample")
    built = refused = 0
    for path, value in _numeric(recipe.model, "model."):
        sevens = repr((7,) * max(len(value), 1)) if isinstance(value, tuple) else "7"
        try:
            changed = override(recipe, [f"{path}={sevens}"]).for_training().without_data()
        except UserError:
            refused += 1
        else:
            built += 1
            with torch.device("meta"):  # shapes alone
                changed.build_model()
    assert built > 5
    assert refused > 1


def _bounded(kind: Any) -> Iterator[tuple[type, str, Any]]:
    """All fields of a dataclass and of those that stand in its fields' types, at any depth."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        yield kind, field.name, hints[field.name]
    for each in (inside for field in dataclasses.fields(kind) for inside in _leaves(hints, field)):
        if isinstance(each, type) and dataclasses.is_dataclass(each):
            yield from _bounded(each)


def _leaves(hints: dict[str, Any], field: dataclasses.Field[Any]) -> Iterator[Any]:
    waiting = [hints[field.name]]
    while waiting:
        hint = waiting.pop()
        waiting += get_args(hint)
        yield hint


def test_no_field_is_a_number_without_bounds() -> None:
    without = {
        f"{owner.__name__}.{name}"
        for recipe in {type(load_recipe(name)): None for name in RECIPES}
        for owner, name, hint in _bounded(recipe)
        if (hint in (int, float) or _takes_numbers(hint))
        and not any(type(each).__name__ == "Bounds" for each in _leaves({name: hint}, _Named(name)))
        and get_origin(hint) is not Literal
    }
    assert without == {"Precision.loss_scale"}  # takes text too, and says itself what it takes


@dataclasses.dataclass
class _Named:
    name: str


DESCRIBED = [
    ("a whole number of 9000 digits, hexadecimal", "training.epochs=0x" + "f" * 9000),
    ("a whole number of 9000 digits", "training.epochs=" + "9" * 9000),
    ("a float out of a whole number", "training.lr=" + "9" * 4000),
    ("lists within lists", "training.milestones=" + "[" * 3000 + "]" * 3000),
    ("minus upon minus", "training.lr=" + "-" * 20000 + "1"),
    ("what cannot be a key", "training.lr={[]: 1}"),
    ("half a character", "name=\udcff"),
    ("NUL", "name=a\0b"),
    ("NUL in the field", "na\0me=a"),
    ("a field of 100,000 letters", "x" * 100_000 + "=1"),
    ("a field of 100,000 dots", "." * 100_000 + "=1"),
    ("no field", "=1"),
    ("no equals sign", "x" * 100_000),
    ("a warning of Python's grammar", "training.lr=1if"),
    ("an escape that is none", "training.lr='\\d'"),
    ("the precision as a number", "precision=5"),
    ("a whole group", "training={}"),
    ("a group within itself", "training.lr={'a': {'b': 1}}"),
    ("True within a precision", "precision={'name': 'fp16', 'loss_scale': True}"),
    ("True within a ramp", "training.ramps=({'epochs': True, 'start': 1, 'end': 1},)"),
]


@pytest.mark.parametrize("text", [text for _, text in DESCRIBED], ids=[s for s, _ in DESCRIBED])
def test_a_text_that_sets_nothing_is_a_users_error_in_a_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        override(load_recipe("selsa_tiny_sample"), [text])
    assert len(str(caught.value)) < 600


def test_values_and_texts_give_the_same_recipe() -> None:
    recipe = load_recipe("selsa_tiny_sample")
    values = {"training.lr": 0.5, "data.image_scale": (96, 64), "precision.keep_fp32": ("neck",)}
    texts = ["training.lr=0.5", "data.image_scale=96,64", "precision.keep_fp32=neck"]
    assert override(recipe, values) == override(recipe, texts) != recipe
    assert override(recipe, "training.lr=0.5") == override(recipe, {"training.lr": 0.5})
    assert override(recipe, {"precision": Precision("fp16", 8.0)}).precision.loss_scale == 8.0


def test_a_name_is_no_recipe_to_change() -> None:
    with pytest.raises(UserError, match=r"expected the recipe, load_recipe\('reid_tiny_sample'\)"):
        override("reid_tiny_sample", {"training.lr": 0.5})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"training.learning_rate": 0.5}, "the nearest are training.lr,"),
        ({"precision": "fp16"}, "precision='fp16': expected a group of fields; .*with_precision"),
        ({"training.lrr": 0.5}, "no recipe field 'training.lrr'; the nearest are training.lr"),
        ({"data.image_scale.side": 3}, "no recipe field 'data.image_scale.side'"),
        ({"training.lr": "fast"}, "training.lr='fast': expected"),
        ({"training": {"epochs": 1}}, "training.lr is missing"),
    ],
)
def test_a_value_that_no_field_takes_is_a_users_error(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        override(load_recipe("selsa_tiny_sample"), changes)


TINY = [load_recipe(f"{name}_tiny_sample") for name in ("selsa", "siamese_rpn", "reid", "tracktor")]
LITERALS = st.recursive(
    st.one_of(
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=4),
        st.booleans(),
        st.none(),
        st.complex_numbers(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=2),
    ),
    max_leaves=6,
)
ANYTHING = st.text(st.characters(codec=None), max_size=30)


@settings(max_examples=1000, deadline=None)
@given(data=st.data())
def test_any_text_gives_a_recipe_or_a_users_error(data: st.DataObject) -> None:
    recipe = data.draw(st.sampled_from(TINY))
    paths = list(field_paths(dataclasses.asdict(recipe)))
    path = data.draw(st.one_of(st.sampled_from(paths), ANYTHING))
    text = data.draw(st.one_of(LITERALS.map(repr), ANYTHING))
    try:
        changed = override(recipe, [f"{path}={text}"])
    except UserError as error:
        str(error).encode()
    else:
        type(recipe).from_dict(changed.to_dict())
