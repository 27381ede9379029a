"""The islands found are those planted, none can be spared, and few rehearsals tell."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from halftrack.precision import Islands, Precision, find_islands

Judge = Callable[[tuple[str, ...]], bool]


class Product(nn.Module):
    """Two layers and a product of what they say, which belongs to neither."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(4, 4)
        self.right = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mm(self.left(x), self.right(x).t()).softmax(dim=1) @ x


def tree(widths: tuple[int, ...]) -> nn.Module:
    """Modules within modules, as many in each as its level has."""
    if not widths:
        return nn.Linear(1, 1)
    return nn.Sequential(*[tree(widths[1:]) for _ in range(widths[0])])


def covers(islands: tuple[str, ...], path: str) -> bool:
    return any(path == island or path.startswith(f"{island}.") for island in islands)


def needs(*paths: str) -> Judge:
    """Clean where each path is in fp32, by itself or within an island."""
    return lambda islands: all(covers(islands, path) for path in paths)


def rehearsed(model: nn.Module, x: Tensor) -> Judge:
    """Clean where neither the result nor any gradient of a half-precision step is lost."""

    def is_clean(keep_fp32: tuple[str, ...]) -> bool:
        trial = copy.deepcopy(model)
        precision = Precision("fp16", 1.0, keep_fp32)
        precision.keep_in_fp32(trial)
        with precision.arithmetic("cpu"):
            with precision.autocast("cpu"):
                loss = trial(x).float().mean()
            loss.backward()
        values = [loss, *(p.grad for p in trial.parameters() if p.grad is not None)]
        return all(bool(value.isfinite().all()) for value in values)

    return is_clean


@pytest.mark.parametrize(
    "planted",
    [
        ("0",),
        ("2.1.0",),
        ("0.0.0", "0.0.1"),
        ("0.1.1", "1.0", "2.2.0"),
        ("0.0.0", "1.1.1", "2.0.1", "2.2.1"),
    ],
)
def test_the_islands_are_the_planted_ones(planted: tuple[str, ...]) -> None:
    found = find_islands(tree((3, 3, 2)), needs(*planted))
    assert found.keep_fp32 == planted


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from([n for n, _ in tree((3, 3, 2)).named_modules() if n]), max_size=5))
def test_any_planted_set_is_found_without_what_lies_within_another(planted: set[str]) -> None:
    outer = {path for path in planted if not any(path.startswith(f"{other}.") for other in planted)}
    found = find_islands(tree((3, 3, 2)), needs(*planted))
    assert found.keep_fp32 == tuple(sorted(outer))


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 2**7 - 1), min_size=1))
def test_no_island_can_be_spared_whatever_the_judge_says(clean_at: set[int]) -> None:
    model = tree((2, 2))
    paths = [path for path, _ in model.named_modules()][1:]

    def is_clean(islands: tuple[str, ...]) -> bool:
        bits = sum(2**place for place, path in enumerate(paths) if path in islands)
        return bits in clean_at or set(islands) == {"0", "1"}

    found = find_islands(model, is_clean).keep_fp32
    assert found is not None
    assert is_clean(found)
    for spared in found:
        assert not is_clean(tuple(path for path in found if path != spared))


def test_a_layer_that_overflows_before_a_norm_is_the_only_island() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU()),
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU()),
    )
    with torch.no_grad():
        model[1][0].weight.mul_(2.0**17)
    found = find_islands(model, rehearsed(model, torch.randn(8, 4)))
    assert found.keep_fp32 == ("1.0",)


def test_a_layer_that_would_cast_what_an_island_returns_is_an_island_too() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    with torch.no_grad():
        model[0].weight.mul_(2.0**17)
        model[1].weight.mul_(2.0**-17)
    found = find_islands(model, rehearsed(model, torch.randn(8, 4)))
    assert found.keep_fp32 == ("0", "1")


def test_a_module_whose_own_product_overflows_is_kept_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), Product(), nn.Linear(4, 4))
    with torch.no_grad():
        for layer in (model[1].left, model[1].right):
            layer.weight.mul_(2.0**9)
    found = find_islands(model, rehearsed(model, torch.randn(4, 4)))
    assert found.keep_fp32 == ("1",)


def test_where_nothing_goes_wrong_there_are_no_islands_and_one_rehearsal() -> None:
    assert find_islands(tree((3, 3)), lambda _: True) == Islands(keep_fp32=(), rehearsals=1)


def test_where_fp32_is_no_better_no_islands_are_named() -> None:
    found = find_islands(tree((3, 3)), lambda _: False)
    assert found == Islands(keep_fp32=None, rehearsals=2)
    assert "no fp32 islands help" in str(found)


def test_what_the_outermost_module_computes_is_beyond_islands() -> None:
    torch.manual_seed(0)
    model = Product()
    with torch.no_grad():
        model.left.weight.mul_(2.0**9)
        model.right.weight.mul_(2.0**9)
    assert find_islands(model, rehearsed(model, torch.randn(4, 4))).keep_fp32 is None
    assert find_islands(nn.ReLU(), lambda _: False).keep_fp32 is None


def test_a_shared_module_is_known_by_its_first_path() -> None:
    shared = nn.Linear(1, 1)
    model = nn.Sequential(nn.Sequential(nn.ReLU(), shared), nn.Sequential(shared, nn.ReLU()))
    found = find_islands(model, needs("0.1"))
    assert found.keep_fp32 == ("0.1",)
    Precision("fp16", 1.0, found.keep_fp32).keep_in_fp32(model)


def test_the_judge_is_asked_each_question_once_and_few_of_them() -> None:
    model, asked = tree((4, 4, 4, 4)), []

    def is_clean(islands: tuple[str, ...]) -> bool:
        asked.append(islands)
        return covers(islands, "2.1.3.0")

    found = find_islands(model, is_clean)
    assert len(asked) == len(set(asked)) == found.rehearsals
    leaves = sum(not list(module.children()) for module in model.modules())
    assert found.rehearsals <= 2 * math.log2(leaves) + 8


def test_no_question_names_a_module_within_another() -> None:
    def is_clean(islands: tuple[str, ...]) -> bool:
        assert not any(
            one != other and covers((one,), other) for one in islands for other in islands
        )
        return needs("0.1.1", "2.0")(islands)

    assert find_islands(tree((3, 3, 2)), is_clean).keep_fp32 == ("0.1.1", "2.0")


def test_the_islands_are_said_as_the_recipe_takes_them() -> None:
    found = Islands(keep_fp32=("neck.convs.0",), rehearsals=9)
    assert str(found) == "precision.keep_fp32=('neck.convs.0',)"
