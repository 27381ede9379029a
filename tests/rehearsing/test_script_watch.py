"""The models of optimizers are found, and a watch ends after so many steps."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from halftrack.rehearsing.script_watch import EnoughSteps, ScriptWatch, models_of


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))


def test_the_outermost_module_is_the_model() -> None:
    model = Outer()
    assert models_of(model.inner.parameters()) == [model]
    assert models_of(model.inner[1].parameters()) == [model]


def test_a_wrapper_of_several_devices_is_not() -> None:
    model = Outer()
    wrapped = nn.DataParallel(model)
    assert models_of(wrapped.parameters()) == [model]


def test_the_fewest_models_that_hold_all_are_found() -> None:
    first, second = Outer(), nn.Linear(2, 2)
    shares = nn.ModuleList([second])  # and holds no more
    learned = [*first.parameters(), *second.parameters()]
    assert models_of(learned) == [first, shares]
    assert models_of([torch.ones(1)]) == []
    gc.collect()


def test_steps_are_counted_and_told_until_they_are_enough() -> None:
    model, told = Outer(), list[tuple[int, int]]()
    made = Optimizer.__init__
    watched = ScriptWatch(steps=2, every=1, progress=lambda *each: told.append(each))
    with watched:
        optimizer = SGD(model.parameters(), lr=0.1)
        model.inner(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        model.inner(torch.ones(1, 2)).sum().backward()
        with pytest.raises(EnoughSteps):
            optimizer.step()
    assert told == [(1, 2), (2, 2)]
    assert watched.watch is not None
    assert len(watched.watch.report.steps) == 2
    assert Optimizer.__init__ is made


def test_another_optimizer_of_the_same_model_changes_nothing_and_a_model_is_added() -> None:
    model, other, again = Outer(), Outer(), nn.Linear(2, 2)
    with ScriptWatch(steps=9, every=1) as watched:
        SGD(model.inner[0].parameters(), lr=0.1)
        watch = watched.watch
        SGD(model.inner[1].parameters(), lr=0.1)
        assert watched.models == [model]
        optimizer = SGD([*other.parameters(), *again.parameters()], lr=0.1)
        assert watched.models == [model, other, again]
        with torch.autocast("cpu", dtype=torch.float16):
            other.inner(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    assert watched.watch is watch
    assert watch is not None
    assert {"Outer_2.inner.0", "Outer_2.inner.1"} <= set(watch.report.ranges.activations)


def test_parameters_of_no_module_are_watched_too() -> None:
    weight = nn.Parameter(torch.ones(2))
    with ScriptWatch(steps=9, every=1) as watched:
        optimizer = SGD([weight], lr=0.1)
        weight.sum().backward()
        optimizer.step()
    assert watched.models == []
    assert watched.watch is not None
    assert len(watched.watch.report.steps) == 1


def test_without_an_optimizer_there_is_nothing_to_tell() -> None:
    with ScriptWatch(steps=1, every=1) as watched:
        pass
    assert watched.watch is None
